"""Which series stand under which rules: made once for each new series, not at each evaluation."""

from collections.abc import Iterator, Sequence

from flyball.policies.candidates import Batch, Candidate
from flyball.policies.recipe import Recipe
from flyball.policies.rule import Rule
from flyball.policies.selection import SelectionIndex
from flyball.policies.series import Series
from flyball.policies.windows import milliseconds

_LabelKey = frozenset[tuple[str, str]]
_BatchKey = tuple[object, ...]


class Plan:
    """The candidates of all rules, in batches, and the series that ``absent`` rules miss."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._index: SelectionIndex[tuple[int, bool]] = SelectionIndex()
        self._batches: dict[_BatchKey, Batch] = {}
        self._places: dict[int, dict[Candidate, _BatchKey]] = {}
        """By number of a rule."""
        self._of_series: dict[Series, set[Candidate]] = {}
        self._waiting: dict[tuple[int, bool], dict[_LabelKey, Series]] = {}
        """Sides of rules of two operands, by labels."""
        self.watched: dict[int, set[Series]] = {}
        """By number of an ``absent`` rule: the series that it selects."""
        for number, rule in enumerate(self._rules):
            self._index.add(rule.expression.left, (number, False))
            if rule.absent:
                self.watched[number] = set()
            elif rule.expression.right:
                self._index.add(rule.expression.right, (number, True))

    @property
    def index(self) -> SelectionIndex[tuple[int, bool]]:
        """Finds the rules that select a series, by number and whether on the right."""
        return self._index

    @property
    def batches(self) -> Iterator[Batch]:
        """All that have candidates."""
        return iter(self._batches.values())

    def bind(self, series: Series) -> None:
        """Put a series under every rule that selects it."""
        self._of_series[series] = set()
        for number, is_right in self._index.find(series.metric, series.labels):
            rule = self._rules[number]
            if rule.absent:
                self.watched[number].add(series)
            elif rule.expression.right is None:
                self._place(number, series, None)
            else:
                self._join(number, series, is_right)

    def unbind(self, series: Series) -> None:
        """Take a series out of everything."""
        for candidate in self._of_series.pop(series, set()):
            self._remove(candidate)
        for number, is_right in self._index.find(series.metric, series.labels):
            if number in self.watched:
                self.watched[number].discard(series)
            waiting = self._waiting.get((number, is_right), {})
            key = frozenset(series.labels.items())
            if waiting.get(key) is series:
                del waiting[key]

    def candidates(self, number: int) -> Iterator[tuple[Batch, Candidate]]:
        """Of one rule."""
        for candidate, key in self._places.get(number, {}).items():
            yield self._batches[key], candidate

    def _join(self, number: int, series: Series, is_right: bool) -> None:
        key = frozenset(series.labels.items())
        self._waiting.setdefault((number, is_right), {})[key] = series
        partner = self._waiting.get((number, not is_right), {}).get(key)
        if partner:
            self._place(number, *((partner, series) if is_right else (series, partner)))

    def _place(self, number: int, left: Series, right: Series | None) -> None:
        rule = self._rules[number]
        expression = rule.expression
        within = rule.within_seconds
        recipe = Recipe.of(expression.left, within)
        other = Recipe.of(expression.right, within) if expression.right else None
        other_grid = right.grid if right else None
        memory_ms = milliseconds(within)
        key = (recipe, left.grid, rule.comparison, expression.arithmetic, other, other_grid, memory_ms)
        if key not in self._batches:
            self._batches[key] = Batch(*key)
        candidate = Candidate(number, rule.threshold, left, right)
        self._batches[key].add(candidate)
        self._places.setdefault(number, {})[candidate] = key
        for each in (left, right):
            if each:
                self._of_series.setdefault(each, set()).add(candidate)

    def _remove(self, candidate: Candidate) -> None:
        key = self._places[candidate.rule].pop(candidate, None)
        if key is None:
            return
        self._batches[key].remove(candidate)
        if not self._batches[key].candidates:
            del self._batches[key]
        for each in (candidate.left, candidate.right):
            if each:
                self._of_series.get(each, set()).discard(candidate)
