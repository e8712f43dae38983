"""Collectors on their own clocks: what happens while they answer, fail, stall, recover and are changed."""

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import pytest
from tests.agent.daemon_fakes import Bench, in_virtual_time, load

from flyball.agent.daemon.own_metrics import own_samples
from flyball.agent.daemon.states import Failing, Stalled, Starting, Up
from flyball.agent.daemon.watched import Limits
from flyball.collectors import catalog
from flyball.collectors.base import CollectorFailed, Distribution, Kind, Metric, Sample, Unavailable


def raising(error: BaseException) -> Callable[[], Iterable[Any]]:
    def answer() -> NoReturn:
        raise error

    return answer


def up_series(bench: Bench) -> dict[tuple[str, ...], float]:
    own = own_samples(bench.collection.watched, bench.store, reload_successful=True, now=0.0)
    return {one.labels: one.value for one in own if one.metric is catalog.COLLECTOR_UP}  # type: ignore[misc]


def test_each_collector_keeps_its_own_grid_without_drift() -> None:
    async def play(bench: Bench) -> None:
        bench.apply(bench.wanted("fast", interval_seconds=0.5), bench.wanted("slow", interval_seconds=20))
        await bench.until(60)

    bench = in_virtual_time(play)
    assert bench.told["fast"].asked == pytest.approx([0.5 * step for step in range(121)])
    assert bench.told["slow"].asked == pytest.approx([0, 20, 40, 60])


def test_a_late_collector_skips_what_it_missed_and_stays_on_its_grid() -> None:
    async def play(bench: Bench) -> None:
        bench.apply(bench.wanted("late"))
        await bench.until(2.5)
        bench.workers["late"].hold = True
        await bench.until(6.5)
        bench.workers["late"].let_go()
        await bench.until(9)

    assert in_virtual_time(play).told["late"].asked == pytest.approx([0, 1, 2, 6.501, 7, 8, 9], abs=0.01)


def test_a_stalled_collector_delays_no_other_and_recovers_by_itself() -> None:
    async def play(bench: Bench) -> None:
        bench.apply(bench.wanted("stuck"), bench.wanted("other"))
        await bench.until(0.5)
        assert isinstance(bench.state("stuck"), Up)
        bench.workers["stuck"].hold = True
        await bench.until(10.5)
        assert isinstance(bench.state("stuck"), Up)
        await bench.until(11.5)
        assert isinstance(bench.state("stuck"), Stalled)
        assert up_series(bench)[("stuck", "stalled")] == 0
        assert ("stuck", "") not in up_series(bench)
        assert bench.store.get("stuck") is not None
        await bench.until(31.5)
        assert bench.store.get("stuck") is None
        assert len(bench.told["other"].asked) == 32
        bench.workers["stuck"].let_go()
        await bench.until(33)
        assert isinstance(bench.state("stuck"), Up)
        assert bench.store.get("stuck") is not None

    bench = in_virtual_time(play)
    stalls = [values for event, values in bench.log.lines if event == "collector stalled"]
    assert stalls == [{"collector": "stuck", "reason": "stalled", "detail": "no answer within 10 s"}]
    assert ("collector recovered", {"collector": "stuck", "reason": "stalled"}) in bench.log.lines


@pytest.mark.parametrize(
    ("limits", "interval", "expected"),
    [(Limits(), 1.0, 10.0), (Limits(), 20.0, 60.0), (Limits(stall_seconds=2.0), 20.0, 2.0)],
)
def test_the_stall_limit_is_ten_seconds_or_three_intervals(
    limits: Limits, interval: float, expected: float
) -> None:
    assert limits.stall_after(interval) == expected


def test_back_off_doubles_up_to_a_minute_and_a_success_ends_it() -> None:
    async def play(bench: Bench) -> None:
        bench.apply(bench.wanted("broken"))
        await bench.until(0.5)
        bench.told["broken"].answer = raising(CollectorFailed("no_permission", "driver: denied"))
        await bench.until(250)
        state = bench.state("broken")
        assert isinstance(state, Failing)
        assert (state.reason, state.detail, state.back_off_seconds) == ("no_permission", "driver: denied", 60)
        assert up_series(bench) == {("broken", "no_permission"): 0}
        assert bench.collection.watched["broken"].failures == {"no_permission": 9}
        bench.told["broken"].answer = lambda: [load(1.0)]
        await bench.until(310)
        assert isinstance(bench.state("broken"), Up)
        await bench.until(313)

    asked = in_virtual_time(play).told["broken"].asked
    assert asked == pytest.approx([0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303, *range(304, 314)])


def test_a_repeated_fault_is_logged_once_and_so_is_one_that_comes_and_goes() -> None:
    async def play(bench: Bench) -> None:
        answers = itertools.cycle([raising(OSError("gone")), lambda: [load(1.0)]])
        bench.apply(bench.wanted("moody"))
        await bench.until(0.5)
        bench.told["moody"].answer = lambda: next(answers)()
        await bench.until(300)

    lines = in_virtual_time(play).log.lines
    assert [event for event, _ in lines] == ["collector up", "collector failing", "collector recovered"]
    assert lines[1][1]["detail"] == "OSError: gone"


def test_a_failure_drops_the_last_reading_at_once() -> None:
    async def play(bench: Bench) -> None:
        bench.apply(bench.wanted("one"))
        await bench.until(0.5)
        assert bench.store.get("one") is not None
        bench.told["one"].answer = raising(CollectorFailed("gpu_lost"))
        await bench.until(1.5)
        assert bench.store.get("one") is None

    in_virtual_time(play)


UNDECLARED = Metric(name="mine", kind=Kind.GAUGE, unit="", help="", labels=())
BAD = {
    "nan": load(math.nan),
    "infinite": load(math.inf),
    "text": load("much"),
    "undeclared": Sample(metric=UNDECLARED, labels=(), value=1.0, time=0.0),
    "labels": Sample(metric=catalog.HOST_LOAD, labels=("a", "b"), value=1.0, time=0.0),
    "label_type": Sample(metric=catalog.HOST_LOAD, labels=(3,), value=1.0, time=0.0),  # type: ignore[arg-type]
    "half_a_character": Sample(metric=catalog.HOST_LOAD, labels=("a\udcff",), value=1.0, time=0.0),
    "truth": load(True),
    "twice": load(2.0),
    "negative": Sample(metric=catalog.SAMPLES, labels=("run", "0"), value=-1.0, time=0.0),
    "buckets": Sample(
        metric=catalog.STEP_SECONDS,
        labels=("run", "0"),
        value=Distribution(counts=(1, 2), sum=1.0),
        time=0.0,
    ),
    "no_sample": 7,
}


@pytest.mark.parametrize("fault", sorted(BAD))
def test_a_bad_sample_is_dropped_with_a_reason_and_the_rest_is_kept(fault: str) -> None:
    async def play(bench: Bench) -> None:
        bench.apply(bench.wanted("odd"))
        await bench.until(0.5)
        bench.told["odd"].answer = lambda: [load(1.0), BAD[fault]]
        await bench.until(1.5)
        reading = bench.store.get("odd")
        assert reading is not None
        assert [sample.value for sample in reading.samples] == [1.0]
        assert up_series(bench) == {("odd", ""): 1, ("odd", "bad_sample"): 0}

    in_virtual_time(play)


def test_a_loss_may_be_nan() -> None:
    async def play(bench: Bench) -> None:
        loss = Sample(metric=catalog.LOSS, labels=("run", "0"), value=math.nan, time=0.0)
        bench.apply(bench.wanted("workload"))
        await bench.until(0.5)
        bench.told["workload"].answer = lambda: [loss]
        await bench.until(1.5)
        reading = bench.store.get("workload")
        assert reading is not None
        assert reading.samples == (loss,)
        assert up_series(bench) == {("workload", ""): 1}

    in_virtual_time(play)


def test_what_the_source_does_not_know_is_a_reason_and_no_series() -> None:
    async def play(bench: Bench) -> None:
        bench.apply(bench.wanted("gpu"))
        await bench.until(0.5)
        bench.told["gpu"].answer = lambda: [
            load(1.0, "a"),
            load(Unavailable(reason="gpm_denied", detail="x"), "b"),
        ]
        await bench.until(1.5)
        assert up_series(bench) == {("gpu", ""): 1, ("gpu", "gpm_denied"): 0}
        reading = bench.store.get("gpu")
        assert reading is not None
        assert len(reading.samples) == 1

    in_virtual_time(play)


def test_too_many_series_are_not_taken_even_without_end() -> None:
    async def play(bench: Bench) -> None:
        bench.limits = Limits(max_series=100)
        bench.apply(bench.wanted("flood"))
        await bench.until(0.5)
        bench.told["flood"].answer = lambda: (load(1.0, str(number)) for number in itertools.count())
        await bench.until(1.5)
        assert bench.state("flood").reason == "too_many_series"
        assert bench.store.get("flood") is None

    in_virtual_time(play)


def test_an_unknown_reason_does_not_become_a_label() -> None:
    async def play(bench: Bench) -> None:
        bench.apply(bench.wanted("chatty"))
        await bench.until(0.5)
        bench.told["chatty"].answer = raising(CollectorFailed("It broke: 17!", "really"))
        await bench.until(1.5)
        assert bench.state("chatty").reason == "failed"

    in_virtual_time(play)


def test_changed_collectors_restart_and_the_others_run_on() -> None:
    async def play(bench: Bench) -> None:
        kept, changed, gone = bench.wanted("kept"), bench.wanted("changed"), bench.wanted("gone")
        bench.apply(kept, changed, gone)
        await bench.until(0.5)
        bench.apply(bench.wanted("kept"), bench.wanted("changed", interval_seconds=5), bench.wanted("new"))
        assert isinstance(bench.state("changed"), Starting)
        assert bench.store.get("gone") is None
        await bench.until(3.5)

    bench = in_virtual_time(play)
    assert bench.made == ["kept", "changed", "gone", "changed", "new"]
    assert bench.told["gone"].closed == 1
    assert bench.told["kept"].asked == pytest.approx([0, 1, 2, 3])


@pytest.mark.parametrize("answer", [None, CollectorFailed("no_gpu")])
def test_all_were_tried_when_the_last_one_has_answered_or_failed(answer: Exception | None) -> None:
    async def play(bench: Bench) -> None:
        bench.apply(bench.wanted("quick"), bench.wanted("other"))
        assert not bench.collection.tried()
        await bench.until(0.5)
        assert bench.collection.tried()
        if answer is not None:
            bench.told["other"].answer = raising(answer)
        await bench.until(1.5)
        assert bench.collection.tried()

    in_virtual_time(play)


def test_readiness_names_what_is_awaited_and_what_is_required() -> None:
    async def play(bench: Bench) -> None:
        bench.apply(bench.wanted("must", required=True), bench.wanted("may"))
        assert bench.collection.unready() == (
            "must: waiting for the first reading",
            "may: waiting for the first reading",
        )
        await bench.until(0.5)
        assert bench.collection.unready() == ()
        for one in bench.told.values():
            one.answer = raising(CollectorFailed("gone"))
        await bench.until(1.5)
        assert bench.collection.unready() == ("must: failing: gone",)

    in_virtual_time(play)


def test_stopping_leaves_a_hanging_collector_behind() -> None:
    async def play(bench: Bench) -> None:
        bench.apply(bench.wanted("stuck"), bench.wanted("other"))
        await bench.until(0.5)
        bench.workers["stuck"].hold = True
        await bench.until(1.5)
        began = bench.loop.time()
        await bench.collection.stop(3.0)
        assert bench.loop.time() - began == pytest.approx(3.0)
        assert bench.told["other"].closed == 1
        assert all(worker.stopped for worker in bench.workers.values())

    in_virtual_time(play)
