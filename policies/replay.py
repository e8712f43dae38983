"""Plays written series to the engine as if sources had been read; tells the alerts after each evaluation."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flyball.collectors.base import Distribution, Sample
from flyball.history.alert_records import Alert
from flyball.policies.engine import Engine
from flyball.policies.rule import Rule
from flyball.policies.series_notation import Identity, Mark
from flyball.policies.template import fill

Point = float | Distribution | Mark


@dataclass(frozen=True, kw_only=True, slots=True)
class PlayedSeries:
    """One series, which is a source of its own."""

    identity: Identity
    points: tuple[Point, ...]
    """One for each reading, the first at time 0; after the last one the source is not read any more."""

    def sample(self, point: float | Distribution, time: float) -> Sample:
        """What a collector gives."""
        return Sample(metric=self.identity.metric, labels=self.identity.labels, value=point, time=time)


def replay(
    rules: Sequence[Rule],
    series: Sequence[PlayedSeries],
    *,
    interval_seconds: float,
    times: Iterable[float],
) -> Iterator[tuple[float, tuple[Alert, ...]]]:
    """Yield each time of evaluation with all alerts that are pending or firing after it.

    Args:
        rules: checked ones.
        series: no two of one identity.
        interval_seconds: from one reading to the next, of every series.
        times: ascending, in seconds; what is read at that time counts.
    """
    engine = Engine(rules, render=_filled)
    reading, length = 0, max((len(each.points) for each in series), default=0)
    for time in times:
        while reading < length and reading * interval_seconds <= time:
            _observe(engine, series, reading, reading * interval_seconds)
            reading += 1
        engine.evaluate(time)
        yield time, engine.active()


def _observe(engine: Engine, series: Iterable[PlayedSeries], reading: int, time: float) -> None:
    for number, each in enumerate(series):
        point = each.points[reading] if reading < len(each.points) else Mark.GAP
        if point is Mark.STALE:
            engine.observe(str(number), time, ())
        elif not isinstance(point, Mark):
            engine.observe(str(number), time, (each.sample(point, time),))


def _filled(text: str, labels: Mapping[str, str], value: float) -> str:
    return fill(text, labels=labels, value=value)
