"""One run timed from outside, with real processes that take no time."""

import sys
from pathlib import Path

import pytest
from tests.benchmarks._outside_run import Marks, OutsideRun, run_outside

from flyball.runner.process_tree import environment_of

STEPS = "for step in range(1, 9): print('step', step, 'loss 1.0', flush=True)\n"


def run(folder: Path, script: str, *, first: int = 2, last: int = 6, limit: float = 60.0) -> OutsideRun:
    return run_outside(
        [sys.executable, "-c", script],
        cwd=folder,
        folder=folder / "run",
        marks=Marks(first=first, last=last),
        limit_seconds=limit,
    )


def test_a_rate_is_the_steps_between_the_marks_over_the_clock(tmp_path):
    seen = run(tmp_path, STEPS)
    assert seen.steps_per_second == pytest.approx(4 / (seen.times[6] - seen.times[2]))
    assert seen.reason == ""
    assert 0 < seen.first_step_seconds <= seen.seconds


def test_a_run_ends_at_the_second_mark_with_all_its_processes(tmp_path):
    child = "import signal; signal.pause()"
    script = (
        "import pathlib, subprocess, sys, signal\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True)\n"
        "pathlib.Path('pid').write_text(str(child.pid))\n" + STEPS + "signal.pause()\n"
    )
    assert run(tmp_path, script).steps_per_second is not None
    assert environment_of(int((tmp_path / "pid").read_text())) == {}


def test_lines_that_are_no_steps_are_kept_in_the_log(tmp_path):
    run(tmp_path, "print('hello')\n" + STEPS)
    assert (tmp_path / "run" / "stdout.log").read_text().startswith("hello\nstep 1 ")


def test_an_end_before_the_mark_has_a_reason(tmp_path):
    seen = run(tmp_path, STEPS, last=20)
    assert seen.steps_per_second is None
    assert seen.reason == "ended with status 0 at step 8"


def test_out_of_memory_is_told_by_the_exceptions_type(tmp_path):
    seen = run(tmp_path, STEPS + "raise MemoryError('no room')", last=20)
    assert (seen.out_of_memory, seen.reason) == (True, "MemoryError: no room")


def test_another_exception_is_not(tmp_path):
    seen = run(tmp_path, "raise ValueError('out of range error')")
    assert (seen.out_of_memory, seen.reason) == (False, "ValueError: out of range error")


def test_a_run_that_makes_no_step_is_stopped_at_the_limit(tmp_path):
    seen = run(tmp_path, "import signal; signal.pause()", limit=1.0)
    assert seen.timed_out
    assert seen.steps_per_second is None


def test_a_command_that_does_not_exist_is_a_reason(tmp_path):
    seen = run_outside(
        ["no-such-launcher"], cwd=tmp_path, folder=tmp_path, marks=Marks(first=1, last=2), limit_seconds=5
    )
    assert "no-such-launcher" in seen.reason


def test_without_marks_a_command_runs_to_its_end(tmp_path):
    seen = run_outside(
        [sys.executable, "-c", STEPS], cwd=tmp_path, folder=tmp_path / "run", marks=None, limit_seconds=60
    )
    assert (seen.reason, seen.timed_out, seen.steps_per_second) == ("", False, None)


@pytest.mark.parametrize(("first", "last"), [(0, 3), (3, 3), (5, 2)])
def test_marks_rise_from_the_first_step_on(first, last):
    with pytest.raises(ValueError, match="steps"):
        Marks(first=first, last=last)
