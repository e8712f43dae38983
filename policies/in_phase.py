"""The samples that series have while their run is in a phase: all that rules with ``while`` look at.

Each evaluation records, beside what was read, what each series of such a rule stands at while its rank, GPU
or run is in the rule's phase. Windows over these records hold no sample of a pause. In Prometheus the same is
a recording rule in front of the alerts, so that both have the same samples at the same times.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache

from flyball.collectors.base import Metric
from flyball.policies.phases import join_labels
from flyball.policies.rule import Operand, Rule
from flyball.policies.sample_grid import SampleGrid, present
from flyball.policies.selection import SelectionIndex
from flyball.policies.series import RowsSample, Series
from flyball.policies.windows import Moment

IsInPhase = Callable[[str, tuple[str, ...], Mapping[str, str]], bool]
"""Whether something is in a phase now: the phase, the labels it is joined by, the labels of the series."""


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


class Recorder:
    """The series that rules with ``while`` select, as they were read.

    Args:
        rules: as they were written.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._index: SelectionIndex[tuple[str, int | None]] = SelectionIndex()
        """Phases, with the number of the rule of whose left side a series is."""
        self._recorded: dict[SampleGrid, dict[Series, set[str]]] = {}
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
        self._recorded.setdefault(series.grid, {})[series] = {phase for phase, _ in found}
        for phase, number in found:
            self._read[recorded_metric(series.metric, phase), series.values] = series
            if number is not None:
                self._of_rules[number][series] = None

    def unbind(self, series: Series) -> None:
        """It is forgotten."""
        of_grid = self._recorded.get(series.grid, {})
        for phase in of_grid.pop(series, ()):
            self._read.pop((recorded_metric(series.metric, phase), series.values), None)
        if not of_grid:
            self._recorded.pop(series.grid, None)
        for every in self._of_rules.values():
            every.pop(series, None)

    def is_read(self, record: Series, at: Moment) -> bool:
        """Whether the series that a record is of has a current sample, in whatever phase."""
        series = self._read.get((record.metric, record.values))
        return series is not None and series.holds_at(at)

    def of_rule(self, number: int) -> Iterator[Series]:
        """The series on the left of a rule, as they are read."""
        return iter(self._of_rules.get(number, ()))

    def samples(self, at: Moment, is_in_phase: IsInPhase) -> Iterator[RowsSample]:
        """Yield the records of this time."""
        for grid, recorded in self._recorded.items():
            line = grid.line_at(at.time_ms)
            if line < 0 or int(grid.times[line]) < at.time_ms - at.lookback_ms:
                continue
            cells = grid.cells[line]
            values, there = cells.tolist(), present(cells).tolist()
            for series, phases in recorded.items():
                if not there[series.row]:
                    continue
                names = join_labels(series.metric)
                for phase in phases:
                    if is_in_phase(phase, names, series.labels):
                        of_series = values[series.row : series.row + series.width]
                        yield recorded_metric(series.metric, phase), series.values, of_series
