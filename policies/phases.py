"""In which phase a rank is: what joins the other series of a rank, GPU or run to ``run_info``."""

from collections.abc import Mapping

from flyball.collectors.base import Metric
from flyball.policies.series import Series
from flyball.policies.windows import Moment


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
        self._keys: dict[tuple[str | None, tuple[str, ...]], frozenset[tuple[str, ...]]] = {}

    def add(self, series: Series) -> None:
        """One that a source gives from now on."""
        self._series[series] = None
        self._at = None

    def discard(self, series: Series) -> None:
        """One that is forgotten."""
        self._series.pop(series, None)
        self._at = None

    def holds(self, phase: str | None, names: tuple[str, ...], labels: Mapping[str, str], at: Moment) -> bool:
        """Whether something with these labels is in the phase at this time; None for any phase."""
        if self._at is not at:
            self._at, self._keys = at, {}
        keys = self._keys.get((phase, names))
        if keys is None:
            keys = self._keys[phase, names] = frozenset(
                tuple([series.labels.get(name, "") for name in names])
                for series in self._series
                if phase in (None, series.labels.get("phase")) and series.holds_at(at)
            )
        return tuple([labels.get(name, "") for name in names]) in keys
