"""What the agent feeds to the rules: each reading once, and a time that never goes back."""

import pytest
from tests.agent.daemon_fakes import EPOCH, load

from flyball.agent.daemon.evaluation import Evaluation, EvaluationTime
from flyball.agent.daemon.readings import Reading
from flyball.collectors import catalog
from flyball.history.alert_records import AlertStatus
from flyball.policies.rule import Comparison, Expression, Operand, Rule


class Clocks:
    def __init__(self) -> None:
        self.wall, self.steady = EPOCH, 50.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.steady

    def sleep(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


def reading(value: float) -> Reading:
    return Reading(samples=(load(value),), missing=(), unavailable=(), duration_seconds=0.0)


def rule(for_seconds: float = 2.0) -> Rule:
    return Rule(
        alert="Busy",
        expression=Expression(left=Operand(metric=catalog.HOST_LOAD)),
        comparison=Comparison.ABOVE,
        threshold=1.0,
        for_seconds=for_seconds,
    )


@pytest.mark.parametrize(("step", "expected"), [(-3600.0, 11.0), (3600.0, 3610.0)])
def test_time_goes_on_when_the_wall_clock_is_set_back_and_jumps_ahead_with_it(
    step: float, expected: float
) -> None:
    clocks = Clocks()
    time = EvaluationTime(clocks)
    clocks.sleep(10.0)
    clocks.wall += step
    assert time.now() == EPOCH + (10.0 if step < 0 else 3610.0)
    clocks.sleep(1.0)
    assert time.now() == pytest.approx(EPOCH + (expected if step < 0 else expected + 1.0))


def test_an_alert_fires_after_its_time_and_ends_with_its_reading() -> None:
    clocks = Clocks()
    evaluation = Evaluation([rule()], clocks)
    found = evaluation.round({"host": reading(2.0)}, [])
    assert [each.alert.status for each in found.transitions] == [AlertStatus.PENDING]
    clocks.sleep(2.0)
    found = evaluation.round({"host": reading(3.0)}, [])
    assert [(each.alert.status, each.alert.value) for each in found.transitions] == [
        (AlertStatus.FIRING, 3.0)
    ]
    assert [each.labels["host"] for each in found.active] == ["here"]
    clocks.sleep(1.0)
    found = evaluation.round({}, [])
    assert [each.alert.status for each in found.transitions] == [AlertStatus.RESOLVED]
    assert found.active == ()


def test_a_reading_that_is_still_the_last_one_is_not_a_new_one() -> None:
    clocks = Clocks()
    evaluation = Evaluation([rule(for_seconds=1000.0)], clocks)
    last = reading(2.0)
    evaluation.round({"host": last}, [])
    clocks.sleep(299.0)
    assert len(evaluation.round({"host": last}, []).active) == 1
    clocks.sleep(2.0)
    # Prometheus would look back no further than 5 minutes either.
    assert evaluation.round({"host": last}, []).active == ()


def test_what_stood_before_a_restart_is_not_told_again() -> None:
    clocks = Clocks()
    before = Evaluation([rule()], clocks)
    before.round({"host": reading(2.0)}, [])
    clocks.sleep(2.0)
    stood = before.round({"host": reading(2.0)}, []).active
    clocks.sleep(30.0)
    after = Evaluation([rule()], clocks)
    assert after.restore(stood, last_evaluated=clocks.time() - 30.0) == stood
    assert after.round({"host": reading(2.0)}, []).transitions == ()
    clocks.sleep(1.0)
    over = after.round({"host": reading(0.5)}, []).transitions
    assert [each.alert.active_time for each in over] == [stood[0].active_time]


def test_rules_that_are_taken_out_end_their_alerts() -> None:
    clocks = Clocks()
    evaluation = Evaluation([rule(for_seconds=0.0)], clocks)
    evaluation.round({"host": reading(2.0)}, [])
    clocks.sleep(1.0)
    found = evaluation.change([])
    assert [each.alert.status for each in found.transitions] == [AlertStatus.RESOLVED]
