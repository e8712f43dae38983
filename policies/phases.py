"""In which phase a rank is: what joins the other series of a rank, GPU or run to ``run_info``."""

from collections.abc import Mapping
from typing import Final

from flyball.collectors.base import Metric
from flyball.policies.series import Series, standing
from flyball.policies.windows import Moment

UNDER_WAY: Final = ("stepping", "evaluating", "checkpointing")
"""Phases that a run changes between; it is starting and finished once."""


def join_labels(metric: Metric) -> tuple[str, ...]:
    """By which labels a metric's series are joined: the GPU's, else the rank's, else the run's."""
    if "uuid" in metric.labels:
        return ("uuid",)
    return ("run", "rank") if "rank" in metric.labels and "run" in metric.labels else ("run",)


Key = tuple[str, ...]
"""Values of the labels by which something is joined."""


def join_key(names: tuple[str, ...], labels: Mapping[str, str]) -> Key:
    """By what a series with these labels is joined."""
    return tuple([labels.get(name, "") for name in names])


class Phases:
    """The series of ``run_info``."""

    def __init__(self) -> None:
        self._series: dict[Series, None] = {}
        self._at: Moment | None = None
        self._standing: dict[str, list[Series]] = {}
        """By phase, those that hold at that time."""
        self._keys: dict[tuple[tuple[str, ...], tuple[str, ...]], frozenset[Key]] = {}

    def add(self, series: Series) -> None:
        """One that a source gives from now on."""
        self._series[series] = None
        self._at = None

    def discard(self, series: Series) -> None:
        """One that is forgotten."""
        self._series.pop(series, None)
        self._at = None

    def holds(
        self, phases: tuple[str, ...], names: tuple[str, ...], labels: Mapping[str, str], at: Moment
    ) -> bool:
        """Whether something with these labels is in one of the phases at this time; empty for any phase."""
        return join_key(names, labels) in self.keys(phases, names, at)

    def keys(self, phases: tuple[str, ...], names: tuple[str, ...], at: Moment) -> frozenset[Key]:
        """By what all is joined that is in one of the phases at this time; empty for any phase."""
        if self._at is not at:
            self._at, self._keys, self._standing = at, {}, {}
            for series in standing(self._series, at):
                self._standing.setdefault(series.labels.get("phase", ""), []).append(series)
        keys = self._keys.get((phases, names))
        if keys is None:
            keys = self._keys[phases, names] = frozenset(
                join_key(names, series.labels)
                for phase in phases or self._standing
                for series in self._standing.get(phase, ())
            )
        return keys
