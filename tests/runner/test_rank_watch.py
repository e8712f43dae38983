import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.runner.fakes import FakeClock

from flyball.runner.probe.heartbeat import Heartbeat, heartbeat_name, read_heartbeats, remove_heartbeats
from flyball.runner.rank_watch import RankWatch


def beat(folder: Path, rank: int = 0, **fields: Any) -> None:
    """What a living rank has written."""
    known = {
        "rank": rank,
        "pid": os.getpid(),
        "step": 5,
        "longest_seconds": 1.0,
        "phase": "stepping",
        "watched": True,
        "clock": 1000.0,
    }
    (folder / heartbeat_name(rank)).write_text(json.dumps({**known, **fields}))


def after(folder: Path, seconds: float, **given: Any) -> RankWatch:
    """A watch that looked twice a second for so long."""
    clock = FakeClock()
    watch = RankWatch(folder=folder, clock=clock, began=clock.now, _seen=clock.now, **given)
    for _ in range(round(seconds * 2)):
        clock.sleep(0.5)
        if watch.hung is None:
            watch.look()
    return watch


def test_five_minutes_without_a_step_are_a_hang(tmp_path: Path) -> None:
    beat(tmp_path)
    assert after(tmp_path, 299).hung is None
    assert after(tmp_path, 302).hung == "a hang after step 5: no step for 300 s"


def test_long_steps_have_more_time(tmp_path: Path) -> None:
    beat(tmp_path, longest_seconds=60.0)
    assert after(tmp_path, 599).hung is None
    assert after(tmp_path, 602).hung == "a hang after step 5: no step for 600 s"


def test_the_user_may_say_how_long(tmp_path: Path) -> None:
    beat(tmp_path, longest_seconds=60.0)
    assert after(tmp_path, 21, hang_seconds=20.0).hung == "a hang after step 5: no step for 20 s"


@pytest.mark.parametrize("phase", ["evaluating", "checkpointing", "saving", "compiling"])
def test_what_is_no_step_is_no_hang(tmp_path: Path, phase: str) -> None:
    beat(tmp_path)
    beat(tmp_path, 1, phase=phase)
    assert after(tmp_path, 1000).hung is None


def test_a_rank_that_is_gone_no_longer_evaluates(tmp_path: Path) -> None:
    beat(tmp_path)
    beat(tmp_path, 1, phase="evaluating", pid=2**22 + 1)
    assert after(tmp_path, 400).hung is not None


def test_a_probe_that_switched_itself_off_sees_no_evaluation_and_so_no_hang(tmp_path: Path) -> None:
    beat(tmp_path)
    beat(tmp_path, 1, watched=False)
    assert after(tmp_path, 1000).hung is None


def test_a_rank_in_its_first_step_while_another_has_made_it_hangs_with_it(tmp_path: Path) -> None:
    beat(tmp_path, step=1)
    beat(tmp_path, 1, step=None, phase="starting")
    assert after(tmp_path, 400).hung is not None


def test_a_first_start_may_take_as_long_as_it_takes(tmp_path: Path) -> None:
    beat(tmp_path, step=None, phase="starting")
    assert after(tmp_path, 5000).hung is None


def test_another_start_may_take_three_times_as_long_as_the_one_before(tmp_path: Path) -> None:
    beat(tmp_path, step=None, phase="starting")
    assert after(tmp_path, 599, usual_start_seconds=200.0).hung is None
    assert after(tmp_path, 602, usual_start_seconds=200.0).hung == "no first step for 600 s"


def test_time_for_which_all_were_stopped_does_not_count(tmp_path: Path) -> None:
    beat(tmp_path)
    clock = FakeClock()
    watch = RankWatch(folder=tmp_path, clock=clock, began=clock.now, _seen=clock.now)
    clock.sleep(3600.0)
    watch.look()
    assert watch.hung is None


def test_the_first_step_is_told_once_and_the_furthest_is_known(tmp_path: Path) -> None:
    told: list[float] = []
    clock = FakeClock()
    watch = RankWatch(folder=tmp_path, clock=clock, began=clock.now, _seen=clock.now, first_step=told.append)
    beat(tmp_path, step=None, phase="starting")
    watch.look()
    assert (told, watch.start_seconds) == ([], None)
    beat(tmp_path, step=51, clock=1012.5)
    watch.look()
    beat(tmp_path, step=52, clock=1013.5)
    watch.look()
    assert told == [1012.5]
    assert (watch.start_seconds, watch.furthest_step) == (12.5, 52)


def test_a_heartbeat_tells_step_phase_and_the_longest_step(tmp_path: Path) -> None:
    heart = Heartbeat(str(tmp_path), 3)
    (first,) = read_heartbeats(str(tmp_path))
    assert (first["rank"], first["step"], first["phase"]) == (3, None, "starting")
    heart.step(7, watched=True)
    heart.begin("evaluating")
    heart.begin("checkpointing")
    assert read_heartbeats(str(tmp_path))[0]["phase"] == "checkpointing"
    heart.end("checkpointing")
    assert read_heartbeats(str(tmp_path))[0]["phase"] == "evaluating"
    heart.end("evaluating")
    heart.step(8, watched=False)
    (last,) = read_heartbeats(str(tmp_path))
    assert (last["step"], last["phase"], last["watched"]) == (8, "stepping", False)
    assert 0.0 <= last["longest_seconds"] < 60.0
    remove_heartbeats(str(tmp_path))
    assert read_heartbeats(str(tmp_path)) == []
