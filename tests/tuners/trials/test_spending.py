"""What a study may still spend: the forecast decides how much is searched, played off and verified."""

from dataclasses import replace

import pytest
from tests.tuners.fake_job import FakeClock
from tests.tuners.statistics_fakes import configuration, trial

from flyball.tuners.base import Phase, TrialReport
from flyball.tuners.trials.spending import Spending
from flyball.tuners.verification.plan import Rules


def ran(total: float, *, own: bool = False, launcher: str = "warm", **other: float) -> TrialReport:
    config = configuration({"own": own})
    return replace(trial(), configuration=config, total_seconds=total, launcher=launcher, **other)


NEW = ran(3.0).configuration.digest


def spending(budget: float | None, *reports: TrialReport) -> tuple[Spending, FakeClock]:
    clock = FakeClock()
    made = Spending(clock=clock, budget_seconds=budget)
    made.begin()
    first = ran(20.0, own=True, launcher="cold", startup_seconds=16.0)
    made.note(replace(first, phase=Phase.BASELINE))
    for report in reports:
        made.note(report)
    return made, clock


def test_waiting_for_imports_is_no_part_of_a_run() -> None:
    made, _ = spending(600.0, ran(12.0, waited_seconds=9.0), ran(3.0), ran(3.0))
    assert made.run_seconds() == 3.0


def test_the_users_own_runs_are_forecast_by_how_long_they_step() -> None:
    made, _ = spending(600.0, *[ran(3.0, startup_seconds=2.0)] * 4)
    assert made.own_seconds() == 2.0 + 4.0
    made.note(ran(5.0, own=True, startup_seconds=2.0))
    assert made.own_seconds() == 5.0


def test_a_declared_verification_ends_within_the_budget() -> None:
    runs = [ran(3.0, startup_seconds=2.0)] * 4
    for budget in (150.0, 200.0, 300.0, 500.0):
        made, _ = spending(budget, *runs)
        rules = made.declare([NEW])
        assert 6 <= rules.max_rounds <= Rules().max_rounds
        left = made.left()
        assert left is not None
        if rules.max_rounds > 6:
            assert made.rounds_seconds(rules.max_rounds, 1) + 2 * made.cold_seconds() < left
    rounds = [spending(budget, *runs)[0].declare([NEW]).max_rounds for budget in (150.0, 200.0, 300.0, 500.0)]
    assert rounds == sorted(rounds)
    unlimited = spending(None, *runs)[0].declare([NEW])
    assert unlimited.max_rounds == Rules().max_rounds
    assert unlimited.error_rate < Rules().error_rate


def test_rounds_for_the_json_alone_are_not_set_aside_where_it_is_no_other_experiment() -> None:
    made, _ = spending(300.0, *[ran(3.0, startup_seconds=2.0)] * 4)
    made.json_alone = True
    kept_back, spared = (made.declare([NEW], json_alone=each).max_rounds for each in (True, False))
    assert spared >= kept_back + 3


def test_runs_that_decide_are_forecast_by_their_own_length() -> None:
    made, _ = spending(600.0, *[ran(10.0, startup_seconds=2.0)] * 4)
    assert made.seconds_of(NEW) == 10.0
    more = made.declare([NEW]).max_rounds
    made.deciding_seconds = 1.5
    assert made.seconds_of(NEW) == made.own_seconds() == 3.5
    assert made.declare([NEW]).max_rounds > more


def test_search_and_play_off_leave_what_verification_needs() -> None:
    made, clock = spending(200.0, *[ran(3.0, startup_seconds=2.0)] * 4)
    while made.may_search():
        clock.sleep(3.0)
        made.note(ran(3.0, startup_seconds=2.0))
    while made.may_play_off(["one", "other"]):
        clock.sleep(6.0)
    left = made.left()
    assert left is not None
    assert left > made.rounds_seconds(6, 1) + 2 * made.cold_seconds()
    assert made.affordable(2) >= 1


def test_search_ends_early_where_runs_are_long() -> None:
    """As seen on a GPU: a cold run of a minute, compiled runs of 80 s, plain ones of 19 s."""
    clock = FakeClock()
    made = Spending(clock=clock, budget_seconds=530.0)
    made.begin()

    def note(total: float, startup: float, **other: object) -> None:
        clock.sleep(total)
        made.note(replace(ran(total, startup_seconds=startup), **other))  # type: ignore[arg-type]

    own = ran(60.0, own=True).configuration
    note(60.0, 44.0, configuration=own, launcher="cold", phase=Phase.BASELINE)
    note(39.0, 3.5, phase=Phase.SEARCH, waited_seconds=20.0)
    assert made.may_search()
    note(82.0, 79.0, phase=Phase.SEARCH)
    assert not made.may_search()
    left = made.left()
    assert left is not None
    assert left > 13 * 20.0 + 2 * made.cold_seconds()
    assert made.own_seconds() == pytest.approx(19.5)


def test_a_play_off_takes_at_most_twice_as_long_as_the_search_did() -> None:
    made, _ = spending(None, *[ran(3.0)] * 4)
    assert made.may_play_off(list("abcdefgh"))
    made.note(replace(ran(15.0), phase=Phase.PLAY_OFF))
    assert made.may_play_off(list("abc"))
    assert not made.may_play_off(list("abcd"))


def test_a_play_off_longer_than_the_search_leaves_every_look_its_runs() -> None:
    runs = [ran(3.0)] * 4
    long, short = spending(1000.0, *runs)[0], spending(240.0, *runs)[0]
    assert long.may_play_off(list("abcde"))
    assert short.may_play_off(list("abcd"))
    assert not short.may_play_off(list("abcde"))


def first_run(parts: dict[str, float] | None) -> tuple[Spending, FakeClock]:
    """A first run of 30 s, 27 of them its start, of which so much is known."""
    clock = FakeClock()
    made = Spending(clock=clock, budget_seconds=600.0)
    made.begin()
    clock.sleep(30.0)
    report = ran(30.0, own=True, launcher="cold", startup_seconds=27.0)
    measured = report.measurement
    assert measured is not None
    told = {} if parts is None else {"startup": parts}
    made.note(replace(report, phase=Phase.BASELINE, measurement=replace(measured, telemetry=told)))
    return made, clock


def test_a_later_cold_run_takes_what_the_first_one_did_without_what_it_built() -> None:
    assert first_run({"op_builds": 12.0, "imports": 9.0})[0].cold_seconds() == 18.0
    assert first_run({"imports": 9.0})[0].cold_seconds() == 30.0
    unknown = first_run(None)[0]
    assert unknown.cold_seconds() == unknown.run_seconds() == 3.0 + 27.0 / 4


def test_a_later_cold_run_imports_as_fast_as_the_warm_server_did() -> None:
    made, clock = first_run({"op_builds": 12.0, "imports": 9.0})
    clock.sleep(1.0 + 8.0)  # a second of thinking, a run that waited for four
    made.note(ran(8.0, startup_seconds=1.0, waited_seconds=4.0))
    assert made.cold_seconds() == 18.0 - (9.0 - 5.0)
    clock.sleep(4.0)
    made.note(ran(4.0, startup_seconds=1.0))
    assert made.cold_seconds() == 18.0 - (9.0 - 5.0), "the server has imported already"
    made.note(ran(16.5, launcher="cold", startup_seconds=13.0))
    assert made.cold_seconds() == 16.5


def test_imports_that_the_server_was_slower_at_spare_nothing() -> None:
    made, clock = first_run({"imports": 9.0})
    clock.sleep(20.0)
    made.note(ran(20.0, startup_seconds=1.0, waited_seconds=16.0))
    assert made.cold_seconds() == 30.0


def test_what_built_operators_does_not_make_the_next_run_look_long() -> None:
    made, clock = first_run({"op_builds": 20.0})
    assert made.run_seconds() == 3.0 + 7.0 / 4
    clock.sleep(600.0 - 30.0 - 15.0)
    assert made.may_search(), "three runs of 4.75 s are held"


@pytest.mark.parametrize(("left", "searches"), [(53.0, False), (50.0, True), (40.0, True), (3.0, False)])
def test_where_no_half_of_a_verification_is_held_the_search_takes_the_rest(
    left: float, searches: bool
) -> None:
    """Seven own runs and six of 3.5 s, half of which are 22.75 s, and two cold ones of 14 s."""
    made, clock = first_run({"op_builds": 16.0})
    made.note(ran(3.5, startup_seconds=1.0, phase=Phase.SEARCH))
    clock.sleep(600.0 - made.spent() - left)
    assert made.cold_seconds() == 14.0
    assert made.verification_is_lost() is (left < 52.25)
    assert made.may_search() is searches


@pytest.mark.parametrize(("late", "goes_on"), [(5.0, True), (30.0, False)])
def test_a_verification_under_way_may_overdraw_a_little(late: float, goes_on: bool) -> None:
    made, clock = spending(200.0, *[ran(3.0, startup_seconds=2.0)] * 4)
    clock.sleep(200.0 - 2 * 3.0 - 2 * made.cold_seconds() + late)
    assert made.may_continue(2) is goes_on


def test_another_cold_pair_is_made_only_where_the_budget_holds_it() -> None:
    made, clock = spending(100.0)
    clock.sleep(100.0 - 2 * made.cold_seconds() - 1.0)
    assert made.may_confirm_again()
    clock.sleep(2.0)
    assert not made.may_confirm_again()
