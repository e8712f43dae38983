"""What a study says of the speed that its machine had."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flyball.tuners.base import Interval, Phase, TrialReport
from flyball.tuners.search.drift import Drift


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftReport:
    """The speed of the machine over a search, that of its first run being one."""

    noticed: bool
    """Whether it certainly moved."""
    furthest: Interval
    """Where it was furthest from one."""
    last: Interval
    """When the search ended."""
    course: tuple[tuple[int, float, float], ...]
    """Number of a run, seconds of the study in its middle, speed then."""
    remeasurements: int
    share: float
    """Of the time of the search, that re-measurements took."""

    @property
    def told(self) -> str | None:
        """Return it as a note; None where the machine kept its speed."""
        if not self.noticed:
            return None
        return (
            f"drift: in the search the machine was at {speed_text(self.furthest)} of its speed at the first "
            f"run, and at {speed_text(self.last)} at its end; {self.remeasurements} re-measurements, "
            "and rates were compared without it"
        )

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "noticed": self.noticed,
            "furthest": _interval(self.furthest),
            "last": _interval(self.last),
            "course": [
                {"trial": number, "seconds": round(seconds, 3), "speed": round(speed, 5)}
                for number, seconds, speed in self.course
            ],
            "remeasurements": self.remeasurements,
            "share": self.share,
        }


def drift_report(drift: Drift, reports: Sequence[TrialReport]) -> DriftReport:
    """Return what is said of the drift during a search.

    Args:
        drift: as the runs of the search show it.
        reports: every run of the study.
    """
    seconds = dict.fromkeys(Phase, 0.0)
    for each in reports:
        seconds[each.phase] += each.total_seconds
    again = seconds[Phase.REMEASUREMENT]
    whole = again + seconds[Phase.SEARCH]
    return DriftReport(
        noticed=drift.noticed,
        furthest=drift.furthest,
        last=drift.now,
        course=drift.course(),
        remeasurements=sum(each.phase is Phase.REMEASUREMENT for each in reports),
        share=again / whole if whole else 0.0,
    )


def drift_line(drift: Drift) -> str:
    """Return the line that says a drift while it is noticed."""
    return (
        f"drift: the machine runs at {speed_text(drift.now)} of its speed at the first run; "
        "rates are compared without it"
    )


def speed_text(speed: Interval) -> str:
    """Return a relative speed with its interval."""
    return f"{speed.point:.3f} ({speed.low:.3f} to {speed.high:.3f})"


def _interval(speed: Interval) -> dict[str, float]:
    return {"point": speed.point, "low": speed.low, "high": speed.high}
