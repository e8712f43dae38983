"""What the next production run of a study is for, seen from the runs that were made and those under way."""

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import Measurement, Phase
from flyball.tuners.verification.playoff import contenders, speed

REMEASURE_EVERY = 4
"""So many runs with other configurations, and the user's own is measured again: a machine drifts."""
MOST_INTERRUPTIONS = 2
"""A configuration whose runs were so often cut off is not tried again: it may be what ends them."""
MOST_FAILED_USES = 2
"""A recommendation that failed so often in use is withdrawn."""
AFTER_FAILURE = "own, after a failure"
USE = "use"
SEARCHING = (Phase.BASELINE, Phase.SEARCH, Phase.PLAY_OFF)


@dataclass(frozen=True, kw_only=True, slots=True)
class PastRun:
    """One run of the study."""

    number: int
    phase: Phase
    label: str
    digest: str
    outcome: OutcomeKind | None
    """None while it is under way."""
    measurement: Measurement | None = None

    @property
    def counts(self) -> bool:
        """Whether it is under way, or ended for a reason of its own."""
        return self.outcome is not OutcomeKind.INTERRUPTED

    @property
    def failed(self) -> bool:
        """Whether it ended, by itself, without a measurement."""
        return self.outcome is not None and self.counts and self.measurement is None

    @property
    def log_rate(self) -> float:
        """Of a measured run."""
        return math.log(self.measurement.merit.point) if self.measurement else -math.inf


def wants_own(runs: Sequence[PastRun], own: str) -> str | None:
    """Return why the user's own configuration is due, as a label, or None.

    Args:
        runs: by number.
        own: its digest.
    """
    mine = [run for run in runs if run.digest == own and run.counts and not run.failed]
    if not any(run.measurement for run in mine):
        return "own"
    failed = max((run.number for run in runs if run.failed and run.digest != own), default=-1)
    if failed > mine[-1].number:
        return AFTER_FAILURE
    since = [run for run in runs if run.number > mine[-1].number and run.counts and run.phase in SEARCHING]
    return "own, measured again" if len(since) >= REMEASURE_EVERY else None


def set_aside(runs: Sequence[PastRun], own: str) -> frozenset[str]:
    """Return the configurations that are not run any more: they failed, or were cut off too often."""
    cut_off = Counter(run.digest for run in runs if not run.counts)
    failed = {run.digest for run in runs if run.failed}
    often = {digest for digest, times in cut_off.items() if times >= MOST_INTERRUPTIONS}
    return frozenset((failed | often) - {own})


def relative_logs(runs: Sequence[PastRun], own: str) -> dict[str, list[float]]:
    """Return each configuration's log rates over those of the user's own runs just before and after it."""
    mine = [run for run in runs if run.digest == own and run.measurement]
    found: dict[str, list[float]] = {}
    for run in runs:
        if run.measurement and run.digest != own and run.phase in SEARCHING:
            before = [each.log_rate for each in mine if each.number < run.number][-1:]
            after = [each.log_rate for each in mine if each.number > run.number][:1]
            found.setdefault(run.digest, []).append(run.log_rate - fmean(before + after))
    return found


def play_off_next(logs: Mapping[str, Sequence[float]], runs: Sequence[PastRun]) -> str | None:
    """Return who runs again because the search's single runs cannot tell its best apart, or None.

    Args:
        logs: of those that may be recommended, from ``relative_logs``.
        runs: by number; those under way count.
    """
    standing = contenders(logs, 0.0)
    if len(standing) < 2:
        return None
    made = Counter(run.digest for run in runs if run.counts and run.phase in SEARCHING)
    return min(standing, key=lambda digest: made[digest])


def best_of(logs: Mapping[str, Sequence[float]]) -> str | None:
    """Return the fastest configuration, or None where none is faster than the user's own."""
    faster = {digest: speed(rows) for digest, rows in logs.items() if speed(rows) > 0}
    return max(faster, key=lambda digest: faster[digest]) if faster else None


def next_is_candidate(runs: Sequence[PastRun], candidate: str, own: str, *, seed: int) -> bool:
    """Return whose turn it is in a race: both run equally often, in an order drawn pair by pair."""
    race = [run for run in runs if run.phase is Phase.VERIFICATION and run.counts and not run.failed]
    new, mine = (sum(run.digest == digest for run in race) for digest in (candidate, own))
    if mine != new:
        return new < mine
    return random.Random(f"{seed}:{new}").random() < 0.5
