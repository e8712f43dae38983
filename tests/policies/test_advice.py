"""Elastic batching: min(256, max(32, queue length * 8)), held."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flyball.collectors import catalog
from flyball.collectors.base import Sample, Unavailable
from flyball.policies.advice import (
    Advice,
    AdviceSettings,
    BatchSizeAdvisor,
    BatchSizeSettings,
    wanted_batch_size,
)

SEED = BatchSizeSettings()


@pytest.mark.parametrize(
    ("queue_length", "running", "expected"),
    [
        (0, None, 32),
        (4, None, 32),
        (5, None, 40),
        (31, None, 248),
        (32, None, 256),
        (10**15, None, 256),
        (0, 100, 100),
        (20, 100, 160),
        (0, 1000, 256),
    ],
)
def test_the_rule_of_one_moment(queue_length: int, running: int | None, expected: int) -> None:
    assert wanted_batch_size(queue_length, running, SEED) == expected


def test_bounds_and_factor_are_settable() -> None:
    own = BatchSizeSettings(minimum=1, maximum=10, factor=0.5)
    assert [wanted_batch_size(length, None, own) for length in (0, 7, 100)] == [1, 3, 10]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"minimum": 64, "maximum": 32}, "minimum 64 is above maximum 32"),
        ({"minimum": 0}, "greater than or equal to 1"),
        ({"factor": 0}, "greater than 0"),
        ({"factor": math.inf}, "finite number"),
        ({"hold_seconds": -1}, "greater than or equal to 0"),
        ({"hold_seconds": math.nan}, "greater than or equal to 0|finite number"),
        ({"min": 1}, "Extra inputs"),
    ],
)
def test_settings_without_sense_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        AdviceSettings.model_validate({"batch_size": wrong})


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        # It rises at once.
        ([(0, 0), (1, 10)], [32, 80]),
        # It falls when less was enough for the hold, and no sooner.
        ([(0, 20), (1, 0), (5.9, 0), (6, 0)], [160, 160, 160, 32]),
        # A queue that comes back in between begins the hold anew.
        ([(0, 20), (1, 0), (4, 20), (5, 0), (9.9, 0), (10, 0)], [160, 160, 160, 160, 160, 32]),
        # It falls to the most that was wanted meanwhile, then holds that.
        ([(0, 20), (1, 10), (6, 0), (10.9, 0), (11, 0)], [160, 160, 80, 80, 32]),
        # A clock that was set back begins the hold anew.
        ([(100, 20), (101, 0), (50, 0), (54.9, 0), (55, 0)], [160, 160, 160, 160, 32]),
    ],
)
def test_the_hold(seen: list[tuple[float, int]], expected: list[int]) -> None:
    advisor = BatchSizeAdvisor(SEED)
    assert [advisor.observe(time, "a", length) for time, length in seen] == expected


def test_as_the_queue_drains_no_request_is_stranded() -> None:
    advisor = BatchSizeAdvisor(SEED)
    advisor.observe(0.0, "a", 20)
    assert advisor.observe(60.0, "a", 0, 120) == 160
    assert advisor.observe(120.0, "a", 0, 120) == 120
    assert advisor.observe(121.0, "a", 0, 2) == 120
    assert advisor.observe(126.0, "a", 0, 2) == 32


def test_runs_do_not_touch_one_another_and_are_forgotten() -> None:
    advisor = BatchSizeAdvisor(SEED)
    advisor.observe(1.0, "b", 10)
    advisor.observe(2.0, "a", 20)
    assert advisor.advice() == {"a": 160, "b": 80}
    assert advisor.answers() == (
        Advice(run="a", batch_size=160, queue_length=20, time=2.0),
        Advice(run="b", batch_size=80, queue_length=10, time=1.0),
    )
    advisor.keep({"a", "c"})
    assert advisor.advice() == {"a": 160}
    advisor.keep(())
    assert (advisor.advice(), advisor.answers(), advisor.samples(3.0)) == ({}, (), [])


def queue(run: str, rank: str, value: float | Unavailable, metric: Any = catalog.QUEUE_LENGTH) -> Sample:
    return Sample(metric=metric, labels=(run, rank), value=value, time=1.0)


def test_of_a_collection_the_longest_queue_of_a_run_counts_and_other_runs_are_forgotten() -> None:
    advisor = BatchSizeAdvisor(SEED)
    advisor.observe(0.0, "gone", 10)
    advisor.update(
        [
            queue("a", "0", 3.0),
            queue("a", "1", 12.0),
            queue("b", "0", 1.0),
            queue("b", "0", 70.0, catalog.RUNNING_REQUESTS),
            queue("c", "0", Unavailable(reason="gone")),
            queue("d", "0", 9.0, catalog.RUNNING_REQUESTS),
            queue("e", "0", 9.0, catalog.LOSS),
        ],
        5.0,
    )
    assert advisor.advice() == {"a": 96, "b": 70}
    assert [(each.metric, each.labels, each.value, each.time) for each in advisor.samples(6.0)] == [
        (catalog.BATCH_SIZE_ADVICE, ("a",), 96.0, 6.0),
        (catalog.BATCH_SIZE_ADVICE, ("b",), 70.0, 6.0),
    ]


observations = st.lists(
    st.tuples(
        st.floats(min_value=0, max_value=10),
        st.integers(min_value=0, max_value=100),
        st.none() | st.integers(min_value=0, max_value=400),
    ),
    min_size=1,
    max_size=60,
)
settings_drawn = st.builds(
    lambda minimum, more, factor, hold: BatchSizeSettings(
        minimum=minimum, maximum=minimum + more, factor=factor, hold_seconds=hold
    ),
    st.integers(min_value=1, max_value=64),
    st.integers(min_value=0, max_value=300),
    st.floats(min_value=0.1, max_value=50),
    st.floats(min_value=0, max_value=20),
)


@given(settings_drawn, observations)
def test_it_keeps_its_bounds_and_its_hold_and_never_falls_below_what_runs_or_the_rule(
    own: BatchSizeSettings, seen: list[tuple[float, int, int | None]]
) -> None:
    advisor = BatchSizeAdvisor(own)
    time = changed = 0.0
    last, wishes = 0, list[tuple[float, int]]()
    for passed, length, running in seen:
        time += passed
        size = advisor.observe(time, "a", length, running)
        wish = wanted_batch_size(length, running, own)
        assert own.minimum <= size <= own.maximum
        assert size >= min(running or 0, own.maximum)
        assert size >= wish
        wishes.append((time, wish))
        lately = [each for at, each in wishes if time - at < own.hold_seconds]
        assert size >= max(lately, default=0), "a smaller size had not been enough for long"
        assert size in {each for _, each in wishes}, "nothing is advised that the rule never said"
        if size < last:
            assert time - changed >= own.hold_seconds, "it flaps"
        if size != last:
            last, changed = size, time


@given(st.integers(min_value=0, max_value=100), st.integers(min_value=0, max_value=300))
def test_what_stays_the_same_is_followed_after_one_hold(queue_length: int, running: int) -> None:
    advisor = BatchSizeAdvisor(SEED)
    advisor.observe(0.0, "a", 100)
    advisor.observe(1.0, "a", queue_length, running)
    assert advisor.observe(6.0, "a", queue_length, running) == wanted_batch_size(queue_length, running, SEED)
