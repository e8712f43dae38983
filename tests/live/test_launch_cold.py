"""Cold trials of plain scripts: real processes, no torch."""

import os
import signal
import sys
from pathlib import Path

import pytest
from tests.patience import PATIENCE_SECONDS

from flyball.runner.base import Limits, TrialRequest, TrialResult
from flyball.runner.kept_process import LaunchError
from flyball.runner.launch_cold import ColdLauncher
from flyball.runner.outcome import OutcomeKind
from flyball.runner.process_tree import MARKER, marked, read_process

pytestmark = pytest.mark.live

SCRIPTS = Path(__file__).parent / "scripts"


def run(directory: Path, *arguments: str, enough: int = 10**9, limits: Limits | None = None) -> TrialResult:
    request = TrialRequest(
        directory=directory,
        command=[sys.executable, str(SCRIPTS / "pretend.py"), str(directory), *arguments],
        ds_config={"train_batch_size": 2},
        environment={"A_KNOB": "1"},
        limits=limits or Limits(startup_seconds=PATIENCE_SECONDS, total_seconds=2 * PATIENCE_SECONDS),
    )
    handle = ColdLauncher(cwd=directory.parent, grace_seconds=0.5).launch(request)
    result = handle.wait(
        lambda journals: "enough" if 0 in journals and len(journals[0].steps()) >= enough else None
    )
    assert not marked(lambda value: value.startswith(f"{os.getpid()}.")), "a process of the trial is left"
    return result


def is_gone(pid: int) -> bool:
    process = read_process(pid)
    return process is None or process.state in "ZX"


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        ((), OutcomeKind.COMPLETED, "after 5 steps"),
        (("--exit", "3"), OutcomeKind.CRASHED, "exit status 3 after 5 steps"),
        (("--exit", "3", "--silent"), OutcomeKind.CRASHED, "exit status 3 before the first step"),
        (("--silent",), OutcomeKind.CRASHED, "without calling DeepSpeed"),
        (("--signal", str(signal.SIGSEGV.value)), OutcomeKind.CRASHED, "segmentation fault (SIGSEGV)"),
        (("--signal", str(signal.SIGKILL.value)), OutcomeKind.CRASHED, "killed (SIGKILL)"),
        (("--raise", "out of luck"), OutcomeKind.CRASHED, "RuntimeError: out of luck"),
        (("--raise", "CUDA out of memory. Tried"), OutcomeKind.OUT_OF_MEMORY, "CUDA out of memory"),
    ],
)
def test_tells_the_outcomes_of_real_processes_apart(
    tmp_path: Path, arguments: tuple[str, ...], kind: OutcomeKind, says: str
) -> None:
    outcome = run(tmp_path / "0", *arguments).outcome
    assert (outcome.kind, says in outcome.reason) == (kind, True), outcome


def test_ends_a_trial_that_has_said_enough_and_keeps_its_record(tmp_path: Path) -> None:
    result = run(tmp_path / "0", "--steps", "1000", enough=5)
    assert result.outcome.kind is OutcomeKind.COMPLETED
    assert result.startup_seconds is not None
    assert 0 < result.startup_seconds < result.total_seconds
    assert "A_KNOB=1" in (tmp_path / "0" / "cmd.txt").read_text()


def test_nothing_of_the_users_environment_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "hunter2-hunter2")
    run(tmp_path / "0")
    written = [path for path in (tmp_path / "0").rglob("*") if path.is_file()]
    assert not [path for path in written if b"hunter2-hunter2" in path.read_bytes()]


def test_a_stubborn_trial_with_a_grandchild_of_its_own_session_leaves_nothing(tmp_path: Path) -> None:
    note = tmp_path / "0" / "pid"
    run(tmp_path / "0", "--escape", str(note), "--stubborn", "--forever", enough=5)
    assert is_gone(int(note.read_text()))


def test_a_grandchild_of_a_trial_that_ended_by_itself_is_gone_too(tmp_path: Path) -> None:
    note = tmp_path / "0" / "pid"
    assert run(tmp_path / "0", "--escape", str(note)).outcome.kind is OutcomeKind.COMPLETED
    assert is_gone(int(note.read_text()))


def test_a_script_that_hangs_is_ended(tmp_path: Path) -> None:
    limits = Limits(hang_factor=2.0, hang_floor_seconds=0.5)
    assert run(tmp_path / "0", "--forever", limits=limits).outcome.kind is OutcomeKind.HUNG


def test_a_hundred_megabytes_of_output_are_bounded_on_disk(tmp_path: Path) -> None:
    assert run(tmp_path / "0", "--print-megabytes", "100").outcome.kind is OutcomeKind.COMPLETED
    log = tmp_path / "0" / "stdout.log"
    assert log.stat().st_size < 3 << 20
    text = log.read_bytes()
    assert b"[flyball left out " in text
    assert text.endswith(b"x\n")


def test_a_command_that_cannot_be_executed_is_said_in_one_line(tmp_path: Path) -> None:
    script = tmp_path / "no_interpreter.py"
    script.write_text("#!/nowhere/python\n")
    script.chmod(0o755)
    request = TrialRequest(directory=tmp_path / "0", command=[str(script)], ds_config={})
    with pytest.raises(LaunchError, match="cannot start"):
        ColdLauncher(cwd=tmp_path).launch(request)


def test_the_marker_is_unique_for_a_trial(tmp_path: Path) -> None:
    assert MARKER == "FLYBALL_TRIAL"
    launcher = ColdLauncher(cwd=tmp_path)
    seen = set()
    for number in range(2):
        directory = tmp_path / str(number)
        command = [sys.executable, str(SCRIPTS / "pretend.py"), str(directory), "--forever"]
        handle = launcher.launch(TrialRequest(directory=directory, command=command, ds_config={}))
        seen |= {process.pid for process in marked(lambda value: value.startswith(f"{os.getpid()}."))}
        handle.kill("the test has seen it")
        assert handle.wait(lambda journals: None).outcome.kind is OutcomeKind.INTERRUPTED
    assert len(seen) == 2
