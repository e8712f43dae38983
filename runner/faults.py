"""Faults that a trial's journals show by themselves, whichever way the trial ends."""

import itertools
import math
import statistics
from collections.abc import Mapping

from flyball.collectors.journal import RankJournal, Record
from flyball.runner.outcome import Outcome, OutcomeKind

_LEAST_STEPS = 3
"""A batch or a divergence is judged on at least this many step records."""
_MOST_SKIPPED = 12
"""A loss scaler that starts at 2**16 has fallen to nothing useful after this many skips."""


def fault(journals: Mapping[int, RankJournal], *, final: bool) -> Outcome | None:
    """Return why the trial cannot count, or None; ``final`` when no more records will come."""
    for rank, journal in sorted(journals.items()):
        found = _foreign_write(rank, journal) or _wrong_batch(rank, journal, final)
        found = found or _diverged(rank, journal, final) or _unwatched(rank, journal)
        if found is not None:
            return found
    return None


def _unwatched(rank: int, journal: RankJournal) -> Outcome | None:
    """A probe that went silent: without it nothing more is known, and no step must not look like a hang."""
    record = journal.last("probe_off")
    if record is None:
        return None
    reason = f"the probe switched itself off: {record.get('reason')}"
    return Outcome(kind=OutcomeKind.CRASHED, reason=reason, rank=rank)


def _foreign_write(rank: int, journal: RankJournal) -> Outcome | None:
    record = journal.last("foreign_write")
    if record is None:
        return None
    reason = (
        f"the script writes to {record.get('path')} ({record.get('operation')}), outside the trial's folder; "
        "give its output option as {trial_dir}, or let the user allow the folder"
    )
    return Outcome(kind=OutcomeKind.CRASHED, reason=reason, rank=rank)


def _wrong_batch(rank: int, journal: RankJournal, final: bool) -> Outcome | None:
    """Samples that entered a forward against the micro batch, on the median: a last short batch is fine."""
    header = journal.header
    micro_batch = header.get("micro_batch") if header else None
    fed = [
        step["samples"] / step["forwards"]
        for step in journal.steps(header.get("engine", 0) if header else 0)
        if step.get("samples") and step.get("forwards")
    ]
    if header and header.get("samples_from") == "config":
        return None
    if not isinstance(micro_batch, int) or len(fed) < (1 if final else _LEAST_STEPS):
        return None
    median = statistics.median(fed)
    if math.isclose(median, micro_batch):
        return None
    reason = (
        f"the script feeds {median:g} samples a forward where its config says {micro_batch}; read the batch "
        "size from the config, or name its option: --map train_micro_batch_size_per_gpu=--its-option; "
        "where rows are packed or paired on purpose: --samples-from config"
    )
    return Outcome(kind=OutcomeKind.INVALID_CONFIG, reason=reason, rank=rank)


def _diverged(rank: int, journal: RankJournal, final: bool) -> Outcome | None:
    """Several non-finite losses in a row up to now, or nothing but them.

    Under fp16 a step that the loss scaler skipped is forgiven for a while: the scale is still falling. Other
    precisions have nothing that could mend it, though ZeRO skips their steps too.
    """
    known = [step for step in journal.of_kind("step") if isinstance(step.get("loss"), int | float)]
    trailing = list(itertools.takewhile(lambda step: not math.isfinite(step["loss"]), reversed(known)))
    scaled = _loss_scaling(journal.header)
    lasting = trailing if not scaled else [step for step in trailing if not step.get("skipped")]
    enough = len(lasting) >= _LEAST_STEPS or len(trailing) >= _MOST_SKIPPED
    if not enough and not (final and lasting and len(trailing) == len(known)):
        return None
    first = trailing[-1]
    reason = f"the loss is {first['loss']} from step {first.get('step')} on"
    return Outcome(kind=OutcomeKind.DIVERGED, reason=reason, rank=rank)


def _loss_scaling(header: Record | None) -> bool:
    section = ((header or {}).get("config") or {}).get("fp16")
    return isinstance(section, Mapping) and bool(section.get("enabled"))
