"""Measures picks against one another in rounds that each run all of them once, in a new order."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.benchmarks._outside_run import OutsideRun
from tests.benchmarks.peers.candidates import BASELINE, FLYBALL, JSON_ALONE, OWN, Candidate

from flyball.tuners.base import Interval
from flyball.tuners.verification.statistics import log_ratio, ratio_interval

RunOnce = Callable[[Candidate, int], OutsideRun]
"""One run of a candidate in a round; its rate is in steps of the optimizer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Of the fullest rank, in one run with the probe that is not timed."""

    peak_reserved_bytes: int | None = None
    device_bytes: int | None = None
    reason: str = ""
    """Why it is not known."""

    @property
    def share(self) -> float | None:
        """Peak reserved over the device's memory."""
        known = self.peak_reserved_bytes is not None and self.device_bytes
        return self.peak_reserved_bytes / self.device_bytes if known else None  # type: ignore[operator]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One candidate with what came of it."""

    candidate: Candidate
    rates: tuple[float | None, ...] = ()
    """Samples/s by round; None where the run failed."""
    reason: str = ""
    """Of its last failed run."""
    memory: Memory = field(default_factory=Memory)

    @property
    def samples_per_second(self) -> Interval | None:
        """Geometric mean over the rounds, with its interval."""
        logs = [log_ratio(rate, 1.0) for rate in self.rates if rate]
        return ratio_interval(logs) if logs else None

    def over(self, other: "Row") -> Interval | None:
        """Ratio to another row, paired by round."""
        pairs = zip(self.rates, other.rates, strict=False)
        logs = [log_ratio(mine, theirs) for mine, theirs in pairs if mine and theirs]
        return ratio_interval(logs) if logs else None


def remeasure(candidates: Sequence[Candidate], run: RunOnce, *, rounds: int, seed: int = 0) -> dict[str, Row]:
    """Run every distinct candidate once a round; return rows by identity."""
    distinct = {candidate.identity: candidate for candidate in reversed(candidates)}
    rates: dict[str, list[float | None]] = {key: [] for key in distinct}
    reasons: dict[str, str] = {}
    shuffled = random.Random(seed)
    for number in range(rounds):
        for key in shuffled.sample(list(distinct), len(distinct)):
            seen = run(distinct[key], number)
            steps = seen.steps_per_second
            rates[key].append(steps * distinct[key].global_batch if steps else None)
            if not steps:
                reasons[key] = seen.reason
    return {
        key: Row(candidate=candidate, rates=tuple(rates[key]), reason=reasons.get(key, ""))
        for key, candidate in distinct.items()
    }


def rows_of(candidates: Sequence[Candidate], measured: Mapping[str, Row]) -> list[Row]:
    """Return a row for every candidate; those that are one experiment share its runs."""
    return [
        Row(
            candidate=candidate,
            rates=measured[candidate.identity].rates,
            reason=measured[candidate.identity].reason,
            memory=measured[candidate.identity].memory,
        )
        for candidate in candidates
    ]


def row_at(rows: Sequence[Row], name: str, seed: int | None, batch: str) -> Row | None:
    """Return what a candidate did at a kind of global batch; its own may be the user's anyway."""
    mine = [row for row in rows if (row.candidate.name, row.candidate.seed) == (name, seed)]
    exact = next((row for row in mine if row.candidate.batch == batch), None)
    if exact is not None or batch == OWN:
        return exact
    return next((row for row in mine if row.candidate.batch == OWN), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratios:
    """What a row is held against; None where one of the two was not measured."""

    over_baseline: Interval | None
    flyball_over: Interval | None
    json_over: Interval | None
    """flyball's JSON alone over it."""


def ratios(rows: Sequence[Row], name: str, seed: int | None, batch: str) -> Ratios:
    """Return what a candidate is held against at one kind of batch; flyball's study of the same seed."""
    row = row_at(rows, name, seed, batch)
    baseline = row_at(rows, BASELINE, None, OWN)
    flyball, alone = (row_at(rows, peer, seed, batch) for peer in (FLYBALL, JSON_ALONE))
    other = name not in (BASELINE, FLYBALL, JSON_ALONE)
    return Ratios(
        over_baseline=row.over(baseline) if row and baseline and name != BASELINE else None,
        flyball_over=flyball.over(row) if row and flyball and other else None,
        json_over=alone.over(row) if row and alone and other else None,
    )
