"""What a study cost, and after how long it has paid for itself."""

from dataclasses import replace

import pytest
from tests.tuners.statistics_fakes import interval, trial

from flyball.tuners.base import Interval, Phase
from flyball.tuners.explaining.study_cost import payback, study_cost

REPORTS = [
    replace(trial(0, phase=Phase.BASELINE), startup_seconds=40.0, total_seconds=100.0),
    replace(trial(1), startup_seconds=10.0, total_seconds=100.0, waited_seconds=30.0),
    replace(trial(2, rate=None), startup_seconds=None, total_seconds=20.0),
    replace(trial(3, phase=Phase.ABLATION), startup_seconds=10.0, total_seconds=60.0),
]


def test_device_hours_are_ranks_times_wall_time_with_start_up_apart() -> None:
    cost = study_cost(REPORTS, devices=8, device="cuda", spent_seconds=360.0)
    seconds = {phase: hours * 3600 for phase, hours in cost.hours.items()}
    assert seconds == pytest.approx(
        {"baseline": 60, "search": 80, "ablation": 50, "start-up": 90, "between runs": 80}
    )
    assert cost.wall_hours == pytest.approx(0.1)
    assert (cost.unit, cost.device_hours) == ("GPU hours", pytest.approx(0.8))
    assert sum(cost.by_phase().values()) == pytest.approx(0.8)


def test_on_a_cpu_the_hours_are_those_of_ranks() -> None:
    assert study_cost([], devices=2, device="cpu", spent_seconds=0.0).unit == "rank hours"


def test_the_study_has_paid_for_itself_when_the_time_saved_is_the_time_it_took() -> None:
    cost = study_cost(REPORTS, devices=8, device="cuda", spent_seconds=3600.0)
    found = payback(cost, Interval(point=1.25, low=1.2, high=1.5))
    assert found is not None
    assert (found.point, found.low, found.high) == pytest.approx((4.0, 2.0, 5.0))


@pytest.mark.parametrize(
    ("gain", "known"),
    [(None, False), (interval(1.0), False), (Interval(point=1.02, low=0.99, high=1.05), True)],
    ids=["no gain", "a gain of nothing", "a gain that may be nothing"],
)
def test_without_a_certain_gain_there_is_no_bound(gain: Interval | None, known: bool) -> None:
    found = payback(study_cost(REPORTS, devices=1, device="cpu", spent_seconds=360.0), gain)
    assert (found is not None) is known
    assert found is None or found.high is None
