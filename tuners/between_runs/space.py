"""The space of a study over production runs: without the knobs that a production run must not turn."""

from dataclasses import replace

from flyball.tuners.job.job import Job, script_text
from flyball.tuners.job.script_reading import names_batch
from flyball.tuners.knobs.batch import MICRO
from flyball.tuners.knobs.knob import Knob
from flyball.tuners.options import StudyOptions
from flyball.tuners.space.space import Entry, Space
from flyball.tuners.study.setup import space_of

CHANGES_NUMERICS = "changes numerics, which a production run must not"
OF_BATCH = ("micro_batch", "pipeline_chunks")
BATCH_UNSEEN = (
    "the script was not seen to take its batch from the config, and would train with another global batch; "
    "name its option with --map train_micro_batch_size_per_gpu=--your-batch-size-option"
)
CHANGES_CHECKPOINT = "changes what a checkpoint holds, so that the next run might not load it"


def production_space(options: StudyOptions, job: Job) -> Space:
    """Return the space of a job; what is not turned in production is left out, with the reason.

    Raises:
        SpaceError: the space file is malformed.
    """
    found = space_of(options, job)
    left_out = dict(found.left_out)
    entries: list[Entry] = []
    for entry in found.entries:
        why = _forbidden(entry.knob, job)
        if why is None:
            entries.append(entry)
        else:
            left_out[entry.knob.name] = why
    return replace(found, entries=tuple(entries), left_out=left_out)


def _forbidden(knob: Knob, job: Job) -> str | None:
    if knob.changes_numerics:
        return CHANGES_NUMERICS
    if knob.changes_checkpoint:
        return CHANGES_CHECKPOINT
    return BATCH_UNSEEN if knob.name in OF_BATCH and not _takes_batch(job) else None


def _takes_batch(job: Job) -> bool:
    """Whether the script's batch follows the config: in production nobody tries that out."""
    return MICRO in job.command.maps or names_batch(script_text(job.command))
