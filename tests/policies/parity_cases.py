"""Random rules over random series: what flyball and Prometheus must think the same of.

Everything of a case comes from its seed. Numbers are drawn so that comparisons are met exactly, windows end
on samples and between them, and sources go silent for longer than they are remembered.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from flyball.collectors.base import Distribution, Kind, Metric
from flyball.collectors.catalog import RUN_INFO
from flyball.policies.replay import PlayedSeries
from flyball.policies.rule import (
    QUANTILES,
    Aggregate,
    Arithmetic,
    Comparison,
    Expression,
    Match,
    Matcher,
    Operand,
    Rule,
    Severity,
)
from flyball.policies.series_notation import Identity, Mark

RANK, LINK, GPU, HOST = ("run", "rank"), ("run", "src"), ("host", "gpu", "uuid"), ("host",)


def _metric(name: str, kind: Kind, labels: tuple[str, ...], bounds: tuple[float, ...] = ()) -> Metric:
    return Metric(name=name, kind=kind, unit="", help="", labels=labels, bounds=bounds, finite=False)


GAUGES = {
    labels: (_metric(f"{name}_a", Kind.GAUGE, labels), _metric(f"{name}_b", Kind.GAUGE, labels))
    for name, labels in (("rank", RANK), ("link", LINK), ("gpu", GPU), ("host", HOST))
}
COUNTERS = {
    labels: (
        _metric(f"{name}_a_total", Kind.COUNTER, labels),
        _metric(f"{name}_b_total", Kind.COUNTER, labels),
    )
    for name, labels in (("rank", RANK), ("gpu", GPU))
}
HISTOGRAMS = {
    labels: tuple(
        _metric(f"{name}_seconds", Kind.HISTOGRAM, labels, bounds)
        for name, bounds in ((f"{place}_few", (0.1, 0.5, 2.0)), (f"{place}_signed", (-1.0, 0.0, 1.5)))
    )
    for place, labels in (("rank", RANK), ("link", LINK))
}
VALUES: Mapping[str, Sequence[str]] = {
    "run": ("one", "two"),
    "rank": ("0", "1"),
    "src": ("0", "1"),
    "host": ("n1", ""),
    "gpu": ("0", "1"),
    "uuid": ("GPU-0", "GPU-1", ""),
    "phase": ("stepping", "evaluating"),
    "reason": ("", "not_probed"),
}
MORE_VALUES: Mapping[str, Sequence[str]] = {
    "rank": tuple(map(str, range(30))),
    "src": tuple(map(str, range(30))),
    "gpu": tuple(map(str, range(8))),
    "uuid": tuple(f"GPU-{number}" for number in range(8)),
    "host": tuple(f"n{number}" for number in range(30)),
}
OF_GAUGES = (
    *(Aggregate.LAST, Aggregate.AVG, Aggregate.MIN, Aggregate.MAX),
    *(Aggregate.P50, Aggregate.P90, Aggregate.P99),
)
OF_COUNTERS = (Aggregate.RATE, Aggregate.INCREASE, Aggregate.RATE, Aggregate.LAST)
OF_HISTOGRAMS = (
    *(Aggregate.AVG, Aggregate.P50, Aggregate.P90, Aggregate.P99),
    *(Aggregate.RATE, Aggregate.INCREASE),
)
TEMPLATES = (
    "{{ labels.run }}/{{ labels.gpu }}: {{ value }}",
    "{{ value | percent }} of {{ labels.host }}",
    "{{ value | number }}, {{ value | duration }}, {{ value | bytes }}",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A rule, or two that look at the same, and everything that they see."""

    seed: str
    rules: tuple[Rule, ...]
    series: tuple[PlayedSeries, ...]
    interval_seconds: float
    """From one reading to the next."""
    evaluation_seconds: float
    """From one evaluation to the next."""

    @property
    def evaluation_times(self) -> list[float]:
        """All of them, some minutes past the last reading."""
        length = max(len(each.points) for each in self.series) * self.interval_seconds
        count = math.ceil((length + 400) / self.evaluation_seconds)
        return [number * self.evaluation_seconds for number in range(count + 1)]


def make_case(seed: str) -> Case:
    """The case that belongs to a seed."""
    return _Maker(Random(seed)).case(seed)


class _Maker:
    def __init__(self, random: Random) -> None:
        self.random = random
        self.interval: float = random.choice((5, 10, 15, 30, 60))
        self.readings = random.randint(8, 24)
        # Few and whole values are met exactly and repeat; others have all digits that a float has.
        self.whole = random.random() < 0.6
        self.odd = random.random() < 0.25
        # Many series that are read together, or a few of which each is read by itself.
        self.joint = random.random() < 0.2
        # From a dozen samples on Prometheus' sort leaves it open which of two equal ones comes first.
        self.signed_zeros = True
        self.unread = {number for number in range(self.readings) if random.random() < 0.1}

    def case(self, seed: str) -> Case:
        rule = self.rule()
        expression = rule.expression
        aggregates = {each.aggregate for each in (expression.left, expression.right) if each}
        self.signed_zeros = not rule.phase or aggregates.isdisjoint(QUANTILES)
        metrics = [expression.left.metric]
        if expression.right and expression.right.metric is not expression.left.metric:
            metrics.append(expression.right.metric)
        if rule.phase:
            metrics.append(RUN_INFO)
        rules = (rule, self.sibling(rule)) if self.random.random() < 0.3 else (rule,)
        every = [series for metric in metrics for series in self.all_series(metric)]
        if rule.phase and self.random.random() < 0.7:
            every = [*self.pausing(every), *(each for each in every if each.identity.metric is not RUN_INFO)]
        return Case(
            seed=seed,
            rules=rules,
            series=tuple(every),
            interval_seconds=self.interval,
            evaluation_seconds=self.random.choice((self.interval, self.interval, 15, 20, 37, 60)),
        )

    # Rules

    def rule(self) -> Rule:
        random = self.random
        absent = random.random() < 0.12
        expression = self.absent() if absent else self.expression()
        comparison = random.choice(tuple(Comparison))
        if comparison in (Comparison.NAN, Comparison.EQUAL) and random.random() < 0.5:
            comparison = random.choice((Comparison.ABOVE, Comparison.BELOW))
        joined = {"uuid", "run"} & set(expression.left.metric.labels)
        phase = "stepping" if joined and random.random() < 0.4 else ""
        return Rule(
            alert="Case",
            expression=expression,
            comparison=comparison,
            threshold=self.threshold(expression),
            absent=absent,
            phase=phase,
            within_seconds=self.window() if phase and not absent and random.random() < 0.7 else 0.0,
            for_seconds=self.hold(),
            keep_firing_for_seconds=self.hold(),
            severity=random.choice(tuple(Severity)),
            labels=random.choice(({}, {"team": "blue"}, {"team": 'a "b" \\ {{ c }}'})),
            annotations={"summary": random.choice(TEMPLATES)},
        )

    def sibling(self, rule: Rule) -> Rule:
        """One of the same expression, which is worked out together with it."""
        threshold = self.threshold(rule.expression)
        phase = rule.phase if self.random.random() < 0.5 else ""
        within = self.random.choice((0.0, rule.within_seconds)) if phase else 0.0
        changed = replace(rule, alert="Other", threshold=threshold, for_seconds=self.hold(), phase=phase)
        return replace(changed, within_seconds=within)

    def hold(self) -> float:
        return self.random.choice(
            (0, 0, 0, self.interval, self.interval, 2 * self.interval, 4 * self.interval, 47.5)
        )

    def expression(self) -> Expression:
        random = self.random
        labels, metrics, aggregates = self.family()
        left = self.operand(random.choice(metrics), aggregates)
        kind = random.random()
        if kind < 0.55:
            return Expression(left=left)
        if kind < 0.75:
            return self.baseline(left)
        other = random.choice(random.choice([metrics, GAUGES.get(labels, metrics)]))
        right = self.operand(other, _aggregates(other))
        return Expression(left=left, arithmetic=random.choice(tuple(Arithmetic)), right=right)

    def baseline(self, left: Operand) -> Expression:
        right = Operand(
            metric=left.metric,
            matchers=left.matchers,
            aggregate=Aggregate.AVG if left.aggregate is Aggregate.LAST else left.aggregate,
            window_seconds=left.window_seconds + self.window(),
            offset_seconds=left.window_seconds + left.offset_seconds,
        )
        if left.metric.kind is Kind.COUNTER and right.aggregate is Aggregate.AVG:
            return Expression(left=left)
        return Expression(left=left, arithmetic=Arithmetic.DIVIDED_BY, right=right)

    def absent(self) -> Expression:
        labels, metrics, _ = self.family()
        metric = metrics[0]
        window = self.window() if self.random.random() < 0.4 else 0.0
        aggregate = Aggregate.AVG if window else Aggregate.LAST
        operand = Operand(
            metric=metric,
            matchers=self.matchers(labels),
            aggregate=aggregate,
            window_seconds=window,
            offset_seconds=self.window() if self.random.random() < 0.2 else 0.0,
        )
        return Expression(left=operand)

    def family(self) -> tuple[tuple[str, ...], Sequence[Metric], Sequence[Aggregate]]:
        families: tuple[tuple[Mapping[tuple[str, ...], Sequence[Metric]], Sequence[Aggregate]], ...] = (
            (GAUGES, OF_GAUGES),
            (COUNTERS, OF_COUNTERS),
            (HISTOGRAMS, OF_HISTOGRAMS),
        )
        metrics, aggregates = self.random.choice(families)
        labels = self.random.choice(tuple(metrics))
        return labels, metrics[labels], aggregates

    def operand(self, metric: Metric, aggregates: Sequence[Aggregate]) -> Operand:
        aggregate = self.random.choice(aggregates)
        window = 0.0 if aggregate is Aggregate.LAST else self.window()
        return Operand(
            metric=metric,
            matchers=self.matchers(metric.labels),
            aggregate=aggregate,
            window_seconds=window,
            offset_seconds=self.window() if self.random.random() < 0.1 else 0.0,
        )

    def window(self) -> float:
        whole = self.random.choice((1, 2, 3, 5, 9)) * self.interval
        return whole + self.random.choice((0, 0, 0, 1, 3.5, self.interval / 2, self.interval - 0.001))

    def matchers(self, labels: Sequence[str]) -> tuple[Matcher, ...]:
        return tuple(self.matcher(label) for label in labels if self.random.random() < 0.15)

    def matcher(self, label: str) -> Matcher:
        match = self.random.choice(tuple(Match))
        value = self.random.choice(VALUES[label])
        if match in (Match.REGEX, Match.NOT_REGEX):
            value = self.random.choice((f"{value}.*", f"{value}|x", ".+", ""))
        return Matcher(label=label, match=match, value=value)

    def threshold(self, expression: Expression) -> float:
        choices = (0.0, 0.25, 0.5, 1.0, 2.0, -0.5, 1e-3, 3e5) if not self.whole else (0.0, 0.5, 1.0, 1.5, 2.0)
        if expression.left.aggregate is Aggregate.RATE:
            choices = (0.0, 1 / self.interval, 0.5 / self.interval, 0.01, 0.2)
        return self.random.choice(choices)

    # Series

    def all_series(self, metric: Metric) -> Iterable[PlayedSeries]:
        pools = {**VALUES, **MORE_VALUES} if self.joint else VALUES
        chosen: set[tuple[str, ...]] = set()
        for _ in range(self.random.choice((2, 5, 40)) if self.joint else self.random.randint(1, 3)):
            chosen.add(tuple(self.random.choice(pools[label]) for label in metric.labels))
        for labels in sorted(chosen):
            values = self.values(metric)
            points = tuple(values() if mark is None else mark for mark in self.marks())
            identity = Identity(metric=metric, labels=labels)
            yield PlayedSeries(identity=identity, points=points, source="one" if self.joint else "")

    def pausing(self, every: Sequence[PlayedSeries]) -> Iterator[PlayedSeries]:
        """``run_info`` of runs that leave and enter their phases, in short bursts or in long ones.

        A run is in one phase at a time, and most series have a run that they belong to.
        """
        owned = {
            tuple((label, value) for label, value in self.owner(series))
            for series in every
            if series.identity.metric is not RUN_INFO
        }
        for owner in sorted(owned):
            labels = dict(owner)
            phases = self.phases()
            for phase in sorted(set(phases) - {""}):
                told = {label: labels.get(label, VALUES[label][0]) for label in RUN_INFO.labels}
                values = tuple((told | {"phase": phase, "reason": ""})[label] for label in RUN_INFO.labels)
                points = [1.0 if each == phase else Mark.STALE if each else self.silence for each in phases]
                identity = Identity(metric=RUN_INFO, labels=values)
                yield PlayedSeries(identity=identity, points=tuple(points))

    def owner(self, series: PlayedSeries) -> Iterator[tuple[str, str]]:
        """The labels by which a series may be joined."""
        for label, value in zip(series.identity.metric.labels, series.identity.labels, strict=True):
            if label in ("run", "rank", "uuid"):
                yield label, value

    def phases(self) -> list[str]:
        """In which phase a run is at each reading; empty where it was not read."""
        self.silence = self.random.choice((Mark.GAP, Mark.STALE))
        lengths = self.random.choice(((1,), (1, 1, 2), (1, 2, 3, 5), (4, 8)))
        pauses = self.random.choice(
            (("evaluating",), ("checkpointing",), ("evaluating", "checkpointing", ""))
        )
        found = ["starting"] * self.random.choice((0, 0, 1, 3))
        while len(found) < self.readings:
            found += ["stepping"] * self.random.choice(lengths)
            found += [self.random.choice(pauses)] * self.random.choice(lengths)
            if self.random.random() < 0.05:
                found += ["finished"] * self.random.choice(lengths)
        return found[: self.readings]

    def marks(self) -> Iterable[Mark | None]:
        """Where there is a value, and what stands where there is none."""
        marks = self.gaps()
        if not self.joint:
            return marks
        return [
            Mark.GAP if number in self.unread else mark and Mark.STALE for number, mark in enumerate(marks)
        ]

    def gaps(self) -> Iterator[Mark | None]:
        left = self.readings
        while left > 0:
            kind = self.random.random()
            length = min(left, self.random.choice((1, 2, 4, 8, 16)))
            if kind < 0.15:
                yield from [Mark.GAP] * length
            elif kind < 0.25:
                yield Mark.STALE
                yield from [self.random.choice((Mark.GAP, Mark.STALE))] * (length - 1)
            else:
                yield from [None] * length
            left -= length

    def values(self, metric: Metric) -> Callable[[], float | Distribution]:
        if metric is RUN_INFO:
            return lambda: 1.0
        if metric.kind is Kind.COUNTER:
            return self.counter()
        if metric.kind is Kind.HISTOGRAM:
            return self.histogram(metric)
        return self.gauge

    def gauge(self) -> float:
        random = self.random
        if self.odd and random.random() < 0.3:
            value = random.choice((math.nan, math.nan, math.inf, -math.inf, 0.0, -0.0))
            return value if self.signed_zeros else value + 0.0
        if self.whole:
            return random.choice((0.0, 0.5, 0.5, 1.0, 2.0, -1.0))
        return random.choice((random.random(), random.gauss(0.5, 1), random.lognormvariate(0, 12)))

    def counter(self) -> Callable[[], float]:
        total = self.random.choice((0.0, 0.0, 3.0, 1e9))

        def rise() -> float:
            nonlocal total
            if self.random.random() < 0.1:
                total = 0.0
            total += self.random.choice((0, 0, 1, 2, 5)) if self.whole else self.random.expovariate(0.3)
            return total

        return rise

    def histogram(self, metric: Metric) -> Callable[[], Distribution]:
        counts = [0] * (len(metric.bounds) + 1)
        total = 0.0

        def observe() -> Distribution:
            nonlocal counts, total
            if self.random.random() < 0.08:
                counts, total = [0] * len(counts), 0.0
            for _ in range(self.random.choice((0, 0, 1, 3, 10))):
                value = self.random.choice((0.05, 0.1, 0.3, 0.5, 1.0, 3.0, self.random.lognormvariate(-1, 1)))
                if metric.bounds[0] < 0 and self.random.random() < 0.4:
                    value = -value
                place = next((n for n, bound in enumerate(metric.bounds) if value <= bound), len(counts) - 1)
                counts[place] += 1
                total += value
            return Distribution(counts=tuple(counts), sum=total)

        return observe


def _aggregates(metric: Metric) -> Sequence[Aggregate]:
    return {Kind.GAUGE: OF_GAUGES, Kind.COUNTER: OF_COUNTERS, Kind.HISTOGRAM: OF_HISTOGRAMS}[metric.kind]
