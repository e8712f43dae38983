"""In which phase a rank is: what joins the other series of a rank, GPU or run to ``run_info``."""

from collections.abc import Mapping, Sequence

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

    def holds(self, phase: str | None, names: Sequence[str], labels: Mapping[str, str], at: Moment) -> bool:
        """Whether something with these labels is in the phase at this time; None for any phase."""
        if self._at != at:
            self._at, self._keys = at, {}
        joined = tuple(names)
        if (phase, joined) not in self._keys:
            self._keys[phase, joined] = frozenset(
                tuple(series.labels.get(name, "") for name in joined)
                for series in self._series
                if phase in (None, series.labels.get("phase")) and series.holds_at(at)
            )
        return tuple(labels.get(name, "") for name in joined) in self._keys[phase, joined]
