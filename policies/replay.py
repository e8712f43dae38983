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
    """One series."""

    identity: Identity
    points: tuple[Point, ...]
    """One for each reading, the first at time 0; after the last one the source is not read any more."""
    source: str = ""
    """Series of one source are read together, so that a gap of one is a gap of all; empty for its own."""

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
    sources = _sources(series)
    reading, length = 0, max((len(each.points) for each in series), default=0)
    for time in times:
        while reading < length and reading * interval_seconds <= time:
            for name, members in sources.items():
                _observe(engine, name, members, reading, reading * interval_seconds)
            reading += 1
        engine.evaluate(time)
        yield time, engine.active()


def _sources(series: Iterable[PlayedSeries]) -> Mapping[str, Sequence[PlayedSeries]]:
    sources: dict[str, list[PlayedSeries]] = {}
    for number, each in enumerate(series):
        sources.setdefault(each.source or f"series {number}", []).append(each)
    return sources


def _observe(engine: Engine, name: str, members: Iterable[PlayedSeries], reading: int, time: float) -> None:
    points = [(each, each.points[reading] if reading < len(each.points) else Mark.GAP) for each in members]
    if any(point is not Mark.GAP for _, point in points):
        samples = [each.sample(point, time) for each, point in points if not isinstance(point, Mark)]
        engine.observe(name, time, samples)


def _filled(text: str, labels: Mapping[str, str], value: float) -> str:
    return fill(text, labels=labels, value=value)
