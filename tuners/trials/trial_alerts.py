"""Which alerts fired in a trial: kept with it, told to nobody.

They are worked out from the trial's journals and from what was read of its GPUs, once it is over: a trial is
measured as it would be without rules. flyball.tuners.trials.trial_rules says how a rule is judged on so
short a run.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from flyball.collectors.base import Metric, Reading
from flyball.collectors.gpu_recorder import GpuRecorder
from flyball.collectors.journal import RankJournal
from flyball.collectors.journal_replay import journal_readings
from flyball.history.alert_records import Alert, AlertStatus
from flyball.policies.engine import Engine
from flyball.policies.rule import Rule
from flyball.tuners.measurement.journal_facts import Span, gpu_uuids, stepping_spans
from flyball.tuners.measurement.series import busiest_engine, number
from flyball.tuners.trials.trial_rules import (
    NOT_TOLD,
    STEPPING,
    FittedRule,
    fitted,
    gpu_metrics,
    judged_rules,
)

INTERVAL_SECONDS = 1.0
"""From one reading of the journals to the next, as the collectors'."""
FEWEST_READINGS = 10
"""Of a run that is shorter than so many intervals, more are taken."""
MOST_READINGS = 600
"""Of a long run, fewer are taken, so that judging it costs a second or two and no more."""
MOST_ALERTS = 64
"""Kept of one trial."""
_AFTER_SECONDS = 0.001
"""The reading of the end comes after the last one before."""

Sourced = tuple[str, Reading]
"""A source's name and what it gave."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """The part of a run that rules are judged on; times are seconds since the epoch."""

    spans: tuple[Span, ...]
    """When its steps were measured: what ``while: stepping`` means."""
    end: float
    """When its last record was written, at the end of the spans or later."""

    @property
    def begin(self) -> float:
        """When it begins."""
        return self.spans[0][0] if self.spans else self.end

    def times(self) -> Iterator[float]:
        """When the journals are read: steadily within each span, then once everything has ended."""
        stepping = sum(end - begin for begin, end in self.spans)
        interval = max(min(INTERVAL_SECONDS, stepping / FEWEST_READINGS), stepping / MOST_READINGS)
        for begin, end in self.spans:
            steps = max(1, round((end - begin) / interval)) if interval > 0 else 1
            yield from (begin + (end - begin) * step / steps for step in range(steps + 1))
        yield self.over

    @property
    def over(self) -> float:
        """When its processes are known to have ended."""
        return self.end + _AFTER_SECONDS

    def is_stepping(self, time: float) -> bool:
        """Whether a time lies in one of the spans."""
        return any(begin <= time <= end for begin, end in self.spans)


def watched(journals: Mapping[int, RankJournal], *, warmup_steps: int) -> Watched | None:
    """Return the part of a run that is judged; None of one that wrote nothing.

    Args:
        journals: by rank, whole.
        warmup_steps: leading steps that do not count.
    """
    ends = [number(record.get("time")) for journal in journals.values() for record in journal.records]
    if not ends:
        return None
    engine = busiest_engine(journals.values())
    first = journals[min(journals)]
    steps = first.steps(engine)
    before = number(steps[0].get("step")) - number(steps[0].get("count", 1)) if steps else 0.0
    spans = tuple(stepping_spans(first, engine, after_step=before + warmup_steps))
    return Watched(spans=spans, end=max(max(ends), spans[-1][1] if spans else 0.0))


class TrialRules:
    """Judges trials by rules.

    Args:
        rules: checked ones, no two of one name.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = judged_rules(rules)
        self.gpu_metrics: frozenset[Metric] = gpu_metrics(rules)
        """What must be recorded of the GPUs while a trial runs."""

    def fired(
        self,
        journals: Mapping[int, RankJournal],
        gpus: GpuRecorder | None,
        *,
        run: str,
        warmup_steps: int = 0,
    ) -> tuple[Alert, ...] | None:
        """Return what fired in a run, in the rules' order, each alert once; None of one that wrote nothing.

        Args:
            journals: by rank, whole.
            gpus: what was recorded beside the run.
            run: its name, as the alerts' labels and texts have it.
            warmup_steps: leading steps that do not count.
        """
        part = watched(journals, warmup_steps=warmup_steps)
        if part is None:
            return None
        readings = list(_readings(journals, gpus, run, part))
        steps = [each for each in readings if part.is_stepping(each[1].time)]
        stepping = sum(end - begin for begin, end in part.spans)
        # They are played the measured steps alone, so that there is no phase to look at.
        of_steps = [
            replace(rule, phase="", within_seconds=0.0) for rule in self._rules if rule.phase == STEPPING
        ]
        of_all = [rule for rule in self._rules if rule.phase != STEPPING]
        found = [
            *_judged(of_steps, steps, stepping, last=1),
            # Taken together, a run is judged as it was last alive and once it has ended.
            *_judged(of_all, readings, part.over - part.begin, last=2),
        ]
        order = {rule.alert: place for place, rule in enumerate(self._rules)}
        once = {(alert.rule, alert.fingerprint): alert for alert in reversed(found)}
        ordered = sorted(once.values(), key=lambda alert: (order[alert.rule], sorted(alert.labels.items())))
        return tuple(ordered[:MOST_ALERTS])


def _readings(
    journals: Mapping[int, RankJournal], gpus: GpuRecorder | None, run: str, part: Watched
) -> Iterator[Sourced]:
    headers = [record for journal in journals.values() for record in journal.of_kind("header")]
    uuids = gpu_uuids(dict(enumerate(headers)))
    of_gpus = gpus.readings(uuids) if gpus is not None and uuids else []
    indices = {one.label("uuid"): one.label("gpu") for each in of_gpus for one in each.samples}
    of_ranks = journal_readings(
        journals, run=run, times=part.times(), over_time=part.over, gpu_indices=indices
    )
    sourced = chain(
        (("gpus", each) for each in of_gpus if part.begin <= each.time <= part.over),
        (("ranks", _told(each)) for each in of_ranks),
    )
    # What the GPUs gave at a time is there when the rules are evaluated at that time.
    return iter(sorted(sourced, key=lambda each: (each[1].time, each[0])))


def _told(reading: Reading) -> Reading:
    return replace(reading, samples=tuple(one for one in reading.samples if one.metric not in NOT_TOLD))


def _judged(
    rules: Iterable[Rule], readings: Sequence[Sourced], seconds: float, *, last: int
) -> Iterator[Alert]:
    if not readings or seconds <= 0:
        return
    ready = [fitted(rule, seconds) for rule in rules]
    yield from _fired(_chosen(ready, is_of_the_whole=False), readings, ())
    times = [reading.time for source, reading in readings if source == "ranks"][-last:]
    yield from _fired(_chosen(ready, is_of_the_whole=True), readings, times)


def _chosen(ready: Iterable[FittedRule], *, is_of_the_whole: bool) -> list[Rule]:
    return [each.rule for each in ready if each.is_of_the_whole is is_of_the_whole]


def _fired(rules: Sequence[Rule], readings: Sequence[Sourced], times: Sequence[float]) -> Iterator[Alert]:
    """What fires at some times, or at all where none is named."""
    if not rules:
        return
    engine = Engine(rules)
    for source, reading in readings:
        engine.observe(source, reading.time, reading.samples)
        if source != "ranks" or (times and reading.time not in times):
            continue
        for transition in engine.evaluate(reading.time):
            if transition.alert.status is AlertStatus.FIRING:
                yield transition.alert
