"""In which phase a rank is: what joins the other series of a rank, GPU or run to ``run_info``."""

from collections.abc import Mapping
from typing import Final

from flyball.collectors.base import Metric
from flyball.policies.series import Series
from flyball.policies.windows import Moment

UNDER_WAY: Final = ("stepping", "evaluating", "checkpointing")
"""Phases that a run changes between; it is starting and finished once."""


def join_labels(metric: Metric) -> tuple[str, ...]:
    """By which labels a metric's series are joined: the GPU's, else the rank's, else the run's."""
    if "uuid" in metric.labels:
        return ("uuid",)
    return ("run", "rank") if "rank" in metric.labels and "run" in metric.labels else ("run",)


class Phases:
    """The series of ``run_info``."""

    def __init__(self) -> None:
        self._series: dict[Series, None] = {}
        self._at: Moment | None = None
        self._keys: dict[tuple[tuple[str, ...], tuple[str, ...]], frozenset[tuple[str, ...]]] = {}

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
        if self._at is not at:
            self._at, self._keys = at, {}
        keys = self._keys.get((phases, names))
        if keys is None:
            keys = self._keys[phases, names] = frozenset(
                tuple([series.labels.get(name, "") for name in names])
                for series in self._series
                if (not phases or series.labels.get("phase") in phases) and series.holds_at(at)
            )
        return tuple([labels.get(name, "") for name in names]) in keys
