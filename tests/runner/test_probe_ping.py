"""The in-band ping-pong: every link in turn, never alone, and never a rank that waits for ever."""

import subprocess
import sys
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from tests.patience import PATIENCE_SECONDS
from tests.runner.probe_fakes import read

from flyball.runner.probe.agreement import Agreement
from flyball.runner.probe.exchange import one_way, pairs
from flyball.runner.probe.ping import ROUNDS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[Any]]:
    """The journals of both ranks, by scenario; torch is imported once for all of them."""
    folder = tmp_path_factory.mktemp("ping")
    scenarios = ["healthy", *ENDS]
    done = subprocess.run(
        [sys.executable, "-m", "tests.runner.ping_two_ranks", str(folder), *scenarios],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {each: [read(folder / each / str(rank)) for rank in range(2)] for each in scenarios}


def observed(journal: Any) -> dict[tuple[int, int], int]:
    """Observations by link."""
    counts: dict[tuple[int, int], int] = {}
    for record in journal.of_kind("communication"):
        for found in record["p2p"]:
            assert (found["source"], found["size_class"]) == ("in_band", "8KiB")
            link = (found["src"], found["dst"])
            counts[link] = counts.get(link, 0) + sum(found["counts"])
    return counts


def witnessed(journal: Any) -> list[Mapping[str, Any]]:
    return [record["value"] for record in journal.of_kind("witness") if record["knob"] == "ping"]


def test_both_directions_of_a_link_are_measured_in_turn(played: Mapping[str, list[Any]]) -> None:
    first, second = played["healthy"]
    assert observed(first) == {(0, 1): 3 * ROUNDS}
    assert observed(second) == {(1, 0): 3 * ROUNDS}
    assert witnessed(first) == [{"every_steps": 1, "ranks": 2}]
    # The time of the ping-pong is no step's: it would show as seconds of the steps.
    assert first.of_kind("probe_off") == []


ENDS = {
    "one switches off": ("another rank has stopped", "the probe is off"),
    "a fault": ("another rank has stopped", "broken on purpose"),
    "steps are not the same": ("did not come within 0.5 s", ""),
    "settings differ": ("do not agree", "do not agree"),
    "one is not watched": ("do not agree", ""),
}


@pytest.mark.parametrize("scenario", ENDS)
def test_where_one_rank_does_otherwise_all_stop_and_train_on(
    scenario: str, played: Mapping[str, list[Any]]
) -> None:
    for journal, reason in zip(played[scenario], ENDS[scenario], strict=True):
        if reason:
            assert reason in witnessed(journal)[-1]["reason"]
        assert journal.last("step")["step"] >= 2


@pytest.mark.parametrize("ranks", range(1, 10))
def test_a_tournament_covers_every_pair_once_and_the_next_one_the_other_way(ranks: int) -> None:
    turns = max(ranks + ranks % 2 - 1, 0)
    covered = []
    for turn in range(turns):
        found = pairs(ranks, turn)
        playing = [rank for pair in found for rank in pair]
        assert len(playing) == len(set(playing))
        covered += found
    assert sorted(covered) == list(combinations(range(ranks), 2))
    back = [pair[::-1] for turn in range(turns, 2 * turns) for pair in pairs(ranks, turn)]
    assert sorted(back) == sorted(covered)


@pytest.mark.parametrize(
    ("size", "acknowledgement", "expected"), [(8, 0.25, [1.0]), (9, 0.25, [1.75]), (9, 3.0, [1.0])]
)
def test_one_way_time_is_half_a_round_trip_or_what_the_answer_leaves(
    size: int, acknowledgement: float, expected: list[float]
) -> None:
    assert one_way([2.0], size, acknowledgement) == expected


class Clock:
    """Moves while somebody sleeps; ``then`` happens during the first sleep."""

    def __init__(self, then: Any = None) -> None:
        self.now, self.then = 0.0, then

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        then, self.then = self.then, None
        if then is not None:
            then()


def agreement(store: Any, rank: int, clock: Clock, *, world_size: int = 2) -> Agreement:
    return Agreement(store, rank, world_size, clock=clock.time, sleep=clock.sleep)


def test_two_that_come_within_the_time_meet() -> None:
    store, answers = dist.HashStore(), []
    late = agreement(store, 1, Clock())
    first = agreement(store, 0, Clock(then=lambda: answers.append(late.meet("here", 5.0))))
    assert first.meet("here", 5.0)
    assert answers == [True]


def test_who_comes_too_late_hears_the_same_as_who_gave_up() -> None:
    store, clock = dist.HashStore(), Clock()
    assert not agreement(store, 0, clock).meet("here", 5.0)
    assert 5.0 <= clock.now < 5.1
    assert not agreement(store, 1, Clock()).meet("here", 5.0)


class LastMoment:
    """A store in which the peer arrives between the end of waiting and giving up."""

    def __init__(self) -> None:
        self.store = dist.HashStore()
        self.peer: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def add(self, key: str, amount: int) -> int:
        if amount > 1:
            self.peer()
        return int(self.store.add(key, amount))


def test_one_that_comes_at_the_last_moment_is_met() -> None:
    store, answers = LastMoment(), []
    late = agreement(store.store, 1, Clock())
    store.peer = lambda: answers.append(late.meet("here", 5.0))
    assert agreement(store, 0, Clock()).meet("here", 5.0)
    assert answers == [True]


@pytest.mark.parametrize(("other", "answer"), [("100 gloo 1", True), ("50 gloo 1", False), (None, False)])
def test_all_do_it_or_none(other: str | None, answer: bool) -> None:
    store = dist.HashStore()
    if other is not None:
        store.set("said/1", other)
    assert agreement(store, 0, Clock()).all_say("100 gloo 1", 30.0) is answer
    assert agreement(store, 1, Clock()).all_say("100 gloo 1", 30.0) is answer


def test_without_rank_0_nobody_does_it() -> None:
    store, clock = dist.HashStore(), Clock()
    assert not agreement(store, 1, clock, world_size=3).all_say("100 gloo 1", 30.0)
    assert clock.now < 61
    store.set("said/2", "100 gloo 1")
    assert not agreement(store, 0, Clock(), world_size=3).all_say("100 gloo 1", 30.0)
