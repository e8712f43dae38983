"""The default policies on a run that was recorded: quiet while it is well, from its start to its end."""

from pathlib import Path
from typing import Any

from tests.policies.quiet_replay import Replay

MINUTE = 60.0


def test_a_recorded_run_raises_nothing_from_its_start_to_its_end(tmp_path: Path) -> None:
    replay = Replay(root=tmp_path / "runs")
    replay.live(MINUTE)
    replay.start()
    replay.live(11 * MINUTE)
    replay.finish()
    replay.live(2 * MINUTE)
    assert replay.fired == {}
    assert replay.phases == {"starting", "stepping", "evaluating", "checkpointing", "finished"}


def test_the_same_run_is_not_quiet_where_its_steps_become_slow(tmp_path: Path) -> None:
    def slower(record: dict[str, Any], seconds: float) -> bool:
        if record["kind"] == "step" and seconds > 6 * MINUTE:
            record["seconds"] *= 3
        return True

    replay = Replay(root=tmp_path / "runs", change=slower)
    replay.start()
    replay.live(15 * MINUTE)
    assert set(replay.fired) == {"StepTimeRegressed"}


def test_trials_raise_nothing_whatever_they_do(tmp_path: Path) -> None:
    def slower(record: dict[str, Any], seconds: float) -> bool:
        if record["kind"] == "step":
            record["loss"] = float("nan")
        return True

    replay = Replay(root=tmp_path / "runs", change=slower, purpose="trial")
    replay.start()
    replay.live(5 * MINUTE)
    assert replay.fired == {}
    assert replay.phases == set()
