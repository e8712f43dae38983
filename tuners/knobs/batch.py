"""Micro batch, accumulation and pipeline chunks at a fixed global batch; the global batch when asked for."""

from collections.abc import Sequence

from flyball.tuners.base import Assignment, Value
from flyball.tuners.config.reading import read
from flyball.tuners.knobs.knob import Applied, Draft, Knob, Situation, whole_numbers
from flyball.tuners.legality.context import pipelined, replicas_of

MICRO = "train_micro_batch_size_per_gpu"
ACCUMULATION = "gradient_accumulation_steps"
GLOBAL = "train_batch_size"
MAX_CHUNKS = 8
MOST_VALUES = 8
LEARNING_RATE_RULE = (
    "the global batch changed: scale the learning rate with it, linearly for SGD "
    "(Goyal et al., arXiv 1706.02677), by the square root for Adam (Malladi et al., arXiv 2205.10287)"
)


def micro_batches(situation: Situation) -> tuple[int, ...]:
    """Return the divisors of a replica's share of the global batch, at most ``MOST_VALUES`` of them."""
    return thinned(divisors(share(situation)))


def chunk_counts(situation: Situation) -> tuple[int, ...]:
    """Return the pipeline chunk counts from 1 to 8 that divide a replica's share of the global batch."""
    return tuple(count for count in divisors(share(situation)) if count <= MAX_CHUNKS)


def global_batches(situation: Situation) -> tuple[int, ...]:
    """Return half, one, two and four times the user's global batch."""
    batch = situation.batch
    if batch is None:
        return ()
    least = replicas_of(situation.config, situation.context)
    return tuple(
        size
        for size in (batch.global_batch // 2, *(batch.global_batch * factor for factor in (1, 2, 4)))
        if size >= least
    )


def share(situation: Situation) -> int:
    """Return the samples of one replica in one optimizer step; 0 where the batch is unknown."""
    batch = situation.batch
    return batch.micro * batch.accumulation if batch else 0


def divisors(number: int) -> tuple[int, ...]:
    """Return the divisors of ``number``, ascending; none for 0."""
    low = [candidate for candidate in range(1, int(number**0.5) + 1) if number % candidate == 0]
    return tuple(sorted({*low, *(number // candidate for candidate in low)})) if number else ()


def thinned(numbers: tuple[int, ...]) -> tuple[int, ...]:
    """Keep at most ``MOST_VALUES``, spread evenly in rank, the largest always among them."""
    if len(numbers) <= MOST_VALUES:
        return numbers
    step = (len(numbers) - 1) / (MOST_VALUES - 1)
    return tuple(numbers[round(index * step)] for index in range(MOST_VALUES))


def upper_middle(values: Sequence[Value]) -> Value:
    """Return the value two thirds up: large enough to show the gain, with room before memory ends."""
    return values[(2 * len(values)) // 3]


def write_batch(draft: Draft, value: Value) -> None:
    """Write micro batch, accumulation and global batch so that the batch equation holds.

    A combination without a whole accumulation is written as it comes and refused by the legality rules.
    """
    batch = draft.base.batch
    if batch is None:
        return
    assignment = draft.assignment
    total = int(assignment.get("global_batch", batch.global_batch))
    replicas = batch.global_batch // (batch.micro * batch.accumulation)
    if "pipeline_chunks" in assignment:
        accumulation = int(assignment["pipeline_chunks"])
        micro = total // replicas // accumulation
    else:
        micro = int(assignment.get("micro_batch", batch.micro))
        accumulation = max(1, total // replicas // micro)
    for key, number in ((MICRO, micro), (ACCUMULATION, accumulation), (GLOBAL, total)):
        write_size(draft, key, number)


def write_size(draft: Draft, key: str, number: int) -> None:
    """Write one batch key into the config, and to the user's option where the two must move together."""
    option = draft.base.context.maps.get(key)
    if option:
        draft.arguments[option] = str(number)
    written = read(draft.base.config, key)
    if key == GLOBAL and (written is None or written == "auto"):
        return
    if written == "auto" and option:
        return  # transformers fills it in from the option, and refuses a number that disagrees
    draft.write(key, number)


def _micro(situation: Situation) -> int | None:
    return situation.batch.micro if situation.batch else None


def _chunks(situation: Situation) -> int | None:
    return situation.batch.accumulation if situation.batch else None


def _global(situation: Situation) -> int | None:
    return situation.batch.global_batch if situation.batch else None


def _no_micro_batch(situation: Situation) -> str | None:
    if situation.batch is None:
        return "the batch is not known before the command has run"
    if pipelined(situation.config, situation.context):
        return "a pipeline's micro batch follows from pipeline_chunks"
    return None


def _no_chunks(situation: Situation) -> str | None:
    if not pipelined(situation.config, situation.context):
        return "the job is not a pipeline"
    return None if situation.batch else "the batch is not known before the command has run"


def _no_batch(situation: Situation) -> str | None:
    return None if situation.batch else "the batch is not known before the command has run"


def _on_request(situation: Situation) -> bool:
    return False


def scaling_note(base: Situation, assignment: Assignment) -> str | None:
    """Return the learning-rate rule where an assignment leaves the user's global batch."""
    batch = base.batch
    changed = batch is not None and assignment.get("global_batch", batch.global_batch) != batch.global_batch
    return LEARNING_RATE_RULE if changed else None


KNOBS: tuple[Knob, ...] = (
    Knob(
        name="global_batch",
        applied=Applied.CONFIG,
        path=GLOBAL,
        summary="samples of one optimizer step over all replicas; only when a space file asks for it",
        reason="fewer, larger optimizer steps spend less time communicating; the learning rate must follow",
        read=_global,
        values=global_batches,
        apply=write_batch,
        accepts=whole_numbers(1),
        pointless=_no_batch,
        by_default=_on_request,
        changes_numerics=True,
        weight=2.0,
        witness="the samples a step counted at the engine's forward",
    ),
    Knob(
        name="micro_batch",
        applied=Applied.CONFIG,
        path=MICRO,
        summary="samples of one forward pass of a rank; accumulation follows, the global batch stays",
        reason="larger forward passes use the processor better and start fewer of them a step",
        read=_micro,
        values=micro_batches,
        apply=write_batch,
        accepts=whole_numbers(1),
        pointless=_no_micro_batch,
        weight=4.0,
        promising=upper_middle,
        witness="the samples a forward counted at the engine",
    ),
    Knob(
        name="pipeline_chunks",
        applied=Applied.CONFIG,
        path=ACCUMULATION,
        summary="micro-batches that fill the pipeline in one step; the micro batch follows",
        reason="more chunks shrink the pipeline's bubble, fewer make each pass larger",
        read=_chunks,
        values=chunk_counts,
        apply=write_batch,
        accepts=whole_numbers(1),
        pointless=_no_chunks,
        weight=4.0,
        promising=upper_middle,
        witness="the forwards of a step counted at the engine",
    ),
)
