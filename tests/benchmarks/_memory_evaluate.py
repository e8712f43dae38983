"""Holds the memory model against recorded peaks: what it would reject, how far its predictions are off."""

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from tests.benchmarks._memory_cases import GIB
from tests.benchmarks._runs import verdict

from flyball.tuners.legality.context import Context
from flyball.tuners.memory.activations import Kind
from flyball.tuners.memory.model import MemoryModel
from flyball.tuners.memory.subject import Subject

ASKED_MEDIAN = 0.15
ORDERS = 20
TRIALS = (1, 2, 4, 8)
FITTING = "completed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """One line of a recording, as a study would see it."""

    name: str
    model: str
    subject: Subject
    header: dict[str, Any]
    fits: bool
    limit: int
    allocated: int
    reserved: int
    resting: int | None
    """After the last step."""
    kept: int | None
    """That the last forward pass left."""


def read(path: Path) -> list[Recorded]:
    """Every configuration that ran or ran out of memory."""
    lines = [json.loads(text) for text in path.read_text("utf-8").splitlines()]
    headers = {line["model"]: line["header"] for line in lines if "header" in line}
    found = []
    for line in lines:
        if line["outcome"] == "failed":
            print(f"left out: {line['name']}: {line['message']}")
            continue
        config = line["ds_config"]
        kind = Kind(
            element=2 if "bf16" in config or "fp16" in config else 4,
            checkpointing=line["checkpointing"],
            compiled=False,
        )
        micro = config["train_micro_batch_size_per_gpu"]
        found.append(
            Recorded(
                name=line["name"],
                model=line["model"],
                subject=Subject(config=config, micro_batch=micro, kind=kind),
                header=headers[line["model"]],
                fits=line["outcome"] == FITTING,
                limit=line["limit_bytes"],
                allocated=line["peak_allocated"],
                reserved=line["peak_reserved"],
                resting=line.get("after_step"),
                kept=line["after_forward"] - line["before_forward"] if "after_forward" in line else None,
            )
        )
    return found


def model_of(lines: Iterable[Recorded], known: Sequence[Recorded]) -> MemoryModel:
    """What a study knows of a model after some runs, which may be none."""
    header = next(iter(lines)).header
    # Batch and number format are each configuration's own, not those of the run that was seen.
    facts = {**header, "micro_batch": None, "parameters_by_type": {"float32": header["parameters"]}}
    model = MemoryModel(context=Context(world_size=1, device="cuda").observed(facts))
    model.tokens_a_sample = header["sequence_length"]
    for each in known:
        model.add(
            each.subject,
            each.allocated,
            each.reserved,
            resting_bytes=each.resting,
            kept_bytes=each.kept,
        )
    return model


def evaluate_file(path: Path) -> bool:
    """Print everything; whether both figures are met."""
    lines = read(path)
    groups = {
        name: [each for each in lines if each.model == name]
        for name in dict.fromkeys(each.model for each in lines)
    }
    fitting = [each for each in lines if each.fits]
    print(f"{len(lines)} configurations of {len(groups)} models, {len(lines) - len(fitting)} did not fit\n")
    rejected = sum(_bounds(name, group) for name, group in groups.items())
    by_chance = sum(rejected_in_studies(group) for group in groups.values())
    errors = {k: [error for group in groups.values() for error in errors_after(group, k)] for k in TRIALS}
    left_out = {name: list(_left_out(group)) for name, group in groups.items()}
    print("\nmedian error of the predicted peak (reserved)")
    for name, group in groups.items():
        by_trials = "  ".join(f"{k} trials {median(list(errors_after(group, k))):.1%}" for k in TRIALS)
        print(f"  {name:<16} {by_trials}  all others {median(error for _, error in left_out[name]):.1%}")
    by_trials = "  ".join(f"{k} trials {median(every):.1%}" for k, every in errors.items())
    everything = [error for found in left_out.values() for _, error in found]
    print(f"  {'all':<16} {by_trials}  all others {median(everything):.1%}")
    tail = "  ".join(f"{k} trials {quantiles(every, n=10)[-1]:.1%}" for k, every in errors.items())
    print(f"  {'nine of ten in':<16} {tail}  all others {quantiles(everything, n=10)[-1]:.1%}\n")
    hardest = max(_hardest(group) for group in groups.values())
    print(f"  the single run that tells least: {hardest[0]:.1%} from {hardest[1]}\n")
    for each, error in sorted(
        (pair for found in left_out.values() for pair in found), key=lambda pair: -pair[1]
    )[:8]:
        print(f"  {error:6.1%}  {each.reserved / GIB:6.2f} GiB  {each.name}")
    print()
    found = f"{rejected}, and {by_chance} in random studies of {TRIALS} runs"
    bound = verdict("0 feasible configurations rejected", found, met=rejected + by_chance == 0)
    worst = max(median(errors[1]), median(everything))
    error = verdict(
        f"median error below {ASKED_MEDIAN:.0%}",
        f"{median(errors[1]):.1%} from one run, {median(everything):.1%} from all others",
        met=worst < ASKED_MEDIAN,
    )
    return bound and error


def _bounds(name: str, group: Sequence[Recorded]) -> int:
    """Print how near the bounds come; return how many that fit would be rejected."""
    rejected, shares, caught = 0, [], []
    for each in group:
        others = [other for other in group if other is not each and other.fits]
        bounds = [model_of(group, known).least_bytes(each.subject) or 0 for known in ([], others)]
        predicted = model_of(group, others).predict(each.subject)
        if each.fits:
            rejected += any(bound > min(each.limit, each.allocated) for bound in bounds)
            shares.append([bound / each.allocated for bound in bounds])
            for bound in bounds:
                if bound > each.allocated:
                    print(
                        f"  above the peak: {each.name}: {bound / GIB:.2f} of {each.allocated / GIB:.2f} GiB"
                    )
        else:
            over = bool(predicted and predicted.reserved_bytes > each.limit)
            caught.append((*(bound > each.limit for bound in bounds), over))
    analytic, learned = (median(pair[place] for pair in shares) for place in (0, 1))
    counted, with_others, over_limit = (sum(each[place] for each in caught) for place in range(3))
    print(
        f"{name}: bound over peak allocated: median {analytic:.2f} counted, {learned:.2f} with all others; "
        f"of {len(caught)} that did not fit {counted} and {with_others} are rejected, "
        f"{over_limit} predicted over the limit"
    )
    return rejected


def _studies(group: Sequence[Recorded], trials: int) -> Iterator[tuple[MemoryModel, list[Recorded]]]:
    """What studies know after so many runs, each in a random order, and what they have not run."""
    fitting = [each for each in group if each.fits]
    shuffled = random.Random(trials)
    for _ in range(ORDERS):
        order = shuffled.sample(fitting, len(fitting))
        yield model_of(group, order[:trials]), order[trials:]


def rejected_in_studies(group: Sequence[Recorded]) -> int:
    """How often the bound lies above a peak that was measured."""
    return sum(
        (model.least_bytes(each.subject) or 0) > each.allocated
        for trials in TRIALS
        for model, rest in _studies(group, trials)
        for each in rest
    )


def errors_after(group: Sequence[Recorded], trials: int) -> Iterator[float]:
    """Of everything not yet run, after so many runs in random orders."""
    for model, rest in _studies(group, trials):
        yield from (_error(model, each) for each in rest)


def _hardest(group: Sequence[Recorded]) -> tuple[float, str]:
    """The median error from the one run that tells least of the others, and its name."""
    fitting = [each for each in group if each.fits]
    found = []
    for first in fitting:
        model = model_of(group, [first])
        found.append((median(_error(model, each) for each in fitting if each is not first), first.name))
    return max(found)


def _left_out(group: Sequence[Recorded]) -> Iterator[tuple[Recorded, float]]:
    for each in group:
        if each.fits:
            others = [other for other in group if other is not each and other.fits]
            yield each, _error(model_of(group, others), each)


def _error(model: MemoryModel, each: Recorded) -> float:
    predicted = model.predict(each.subject)
    assert predicted is not None
    return abs(predicted.reserved_bytes - each.reserved) / each.reserved
