"""The samples that series have while their run is in a phase: all that rules with ``while`` look at.

Each evaluation records, beside what was read, what each series of such a rule stands at while its rank, GPU
or run is in the rule's phase. Windows over these records hold no sample of a pause. In Prometheus the same is
a recording rule in front of the alerts, so that both have the same samples at the same times.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from flyball.collectors.base import Metric
from flyball.policies.phases import Key, Phases, join_key, join_labels
from flyball.policies.rule import Operand, Rule
from flyball.policies.sample_grid import SampleGrid
from flyball.policies.selection import SelectionIndex
from flyball.policies.series import RowsSample, Series, standing
from flyball.policies.windows import Moment


def recorded_name(phase: str, name: str) -> str:
    """What a metric, or a part of a histogram, is called by its records."""
    return f"{phase}:{name}"


@cache
def recorded_metric(metric: Metric, phase: str) -> Metric:
    """The metric of the records; one and the same for one metric and phase."""
    return replace(metric, name=recorded_name(phase, metric.name))


def of_records(rule: Rule) -> Rule:
    """A rule that looks at the records of its phase; one that looks at none as it is."""
    if not is_recorded(rule):
        return rule

    def recorded(operand: Operand) -> Operand:
        return replace(operand, metric=recorded_metric(operand.metric, rule.phase))

    expression = rule.expression
    right = None if expression.right is None else recorded(expression.right)
    return replace(rule, expression=replace(expression, left=recorded(expression.left), right=right))


def is_recorded(rule: Rule) -> bool:
    """Whether a rule looks at records; a series that is missed has none."""
    return bool(rule.phase) and not rule.absent


@dataclass(frozen=True, slots=True)
class _Record:
    """What is recorded of a series."""

    metric: Metric
    phases: tuple[str]
    names: tuple[str, ...]
    key: Key
    """Values of ``names``, by which the series' phase is known."""

    @classmethod
    def of(cls, series: Series, phase: str) -> "_Record":
        names = join_labels(series.metric)
        return cls(recorded_metric(series.metric, phase), (phase,), names, join_key(names, series.labels))


class Recorder:
    """The series that rules with ``while`` select, as they were read.

    Args:
        rules: as they were written.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._index: SelectionIndex[tuple[str, int | None]] = SelectionIndex()
        """Phases, with the number of the rule of whose left side a series is."""
        self._recorded: dict[Series, tuple[_Record, ...]] = {}
        self._of_rules: dict[int, dict[Series, None]] = defaultdict(dict)
        self._read: dict[tuple[Metric, tuple[str, ...]], Series] = {}
        """By the metric that was read and the values of its labels."""
        for number, rule in enumerate(rules):
            if is_recorded(rule):
                self._index.add(rule.expression.left, (rule.phase, number))
                if rule.expression.right:
                    self._index.add(rule.expression.right, (rule.phase, None))

    def is_needed(self, metric: Metric) -> bool:
        """Whether any series of a metric is recorded."""
        return self._index.selects(metric)

    def selects(self, metric: Metric, labels: Mapping[str, str]) -> bool:
        """Whether a series is recorded."""
        return bool(self._index.find(metric, labels))

    def bind(self, series: Series) -> None:
        """From now on there is this series."""
        found = self._index.find(series.metric, series.labels)
        if not found:
            return
        self._recorded[series] = tuple(
            _Record.of(series, phase) for phase in sorted({each for each, _ in found})
        )
        for record in self._recorded[series]:
            self._read[record.metric, series.values] = series
        for _, number in found:
            if number is not None:
                self._of_rules[number][series] = None

    def unbind(self, series: Series) -> None:
        """It is forgotten."""
        for record in self._recorded.pop(series, ()):
            self._read.pop((record.metric, series.values), None)
        for every in self._of_rules.values():
            every.pop(series, None)

    def is_read(self, record: Series, at: Moment) -> bool:
        """Whether the series that a record is of has a current sample, in whatever phase."""
        series = self._read.get((record.metric, record.values))
        return series is not None and series.holds_at(at)

    def of_rule(self, number: int) -> Iterator[Series]:
        """The series on the left of a rule, as they are read."""
        return iter(self._of_rules.get(number, ()))

    def samples(self, at: Moment, phases: Phases) -> Iterator[RowsSample]:
        """Yield the records of this time."""
        lines: dict[SampleGrid, list[float]] = {}
        for series in standing(self._recorded, at):
            line = lines.get(series.grid)
            if line is None:
                line = lines[series.grid] = series.grid.cells[series.grid.line_at(at.time_ms)].tolist()
            for record in self._recorded[series]:
                if record.key in phases.keys(record.phases, record.names, at):
                    yield record.metric, series.values, line[series.row : series.row + series.width]
