"""The Slurm prologs: every job is probed, and no job fails for it."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.patience import PATIENCE_SECONDS

from flyball.runner.probe_install import install

SLURM = Path(__file__).parents[2] / "deploy" / "slurm"
PROLOG, TASK_PROLOG = SLURM / "prolog.sh", SLURM / "task_prolog.sh"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "shared runs"
    folder.mkdir()
    return folder


@pytest.fixture
def probe(tmp_path: Path) -> Path:
    folder = tmp_path / "the probe"
    install(folder, {"run": "node", "directory": "."})
    return folder


@pytest.fixture
def environment(runs: Path, probe: Path) -> dict[str, str]:
    """What Slurm's daemon would hand over, step 0 of job 17."""
    slurm = {"SLURM_JOB_ID": "17", "SLURM_STEP_ID": "0"}
    return {"PATH": os.defpath, "FLYBALL_PROBE": str(probe), "FLYBALL_RUNS": str(runs), **slurm}


def start(script: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [script], env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


def path_set_by(environment: dict[str, str]) -> str:
    done = start(TASK_PROLOG, environment)
    assert (done.returncode, done.stderr) == (0, "")
    name, _, value = done.stdout.removesuffix("\n").removeprefix("export ").partition("=")
    assert name == "PYTHONPATH"
    return value


@pytest.mark.parametrize("script", [PROLOG, TASK_PROLOG], ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("shellcheck"), script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_a_task_gets_settings_and_a_run_folder_of_its_own(environment: dict[str, str], runs: Path) -> None:
    run = runs / "slurm-17-0"
    assert path_set_by(environment) == str(run / ".probe" / "site")
    settings = json.loads((run / ".probe" / "settings.json").read_text())
    assert settings == {"run": run.name, "purpose": "run", "directory": str(run)}
    assert stat.S_IMODE(run.stat().st_mode) == 0o750
    assert not list(run.glob(".probe/settings.json.*"))


def test_the_batch_script_is_a_step_of_its_own(environment: dict[str, str], runs: Path) -> None:
    assert path_set_by({**environment, "SLURM_STEP_ID": "4294967291"}).startswith(f"{runs}/slurm-17-batch/")


@pytest.mark.parametrize("own", ["/home/a b/lib", "/one:/two", ":/one::/two:"])
def test_the_users_path_is_kept_as_it_is(environment: dict[str, str], own: str) -> None:
    assert path_set_by({**environment, "PYTHONPATH": own}).partition(":")[2] == own


def test_the_probe_of_the_step_around_is_replaced(environment: dict[str, str]) -> None:
    batch = path_set_by({**environment, "SLURM_STEP_ID": "4294967291", "PYTHONPATH": "/mine"})
    assert path_set_by({**environment, "PYTHONPATH": batch}) == f"{path_set_by(environment)}:/mine"


def test_the_probe_reads_the_steps_own_settings(environment: dict[str, str]) -> None:
    path = path_set_by({**environment, "PYTHONPATH": "/mine"})
    program = "from flyball.runner.probe.watch import SLOT; print(SLOT.probe.settings.run)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": path, "FLYBALL_PROBE_DEBUG": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("slurm-17-0\n", "")


def test_tasks_that_start_together_leave_whole_settings(environment: dict[str, str], runs: Path) -> None:
    started = [
        subprocess.Popen([TASK_PROLOG], env=environment, stdout=subprocess.PIPE, text=True) for _ in range(8)
    ]
    said = {process.communicate(timeout=PATIENCE_SECONDS)[0] for process in started}
    assert said == {f"export PYTHONPATH={runs}/slurm-17-0/.probe/site\n"}
    assert json.loads((runs / "slurm-17-0" / ".probe" / "settings.json").read_text())["run"] == "slurm-17-0"


@pytest.mark.parametrize(
    "fault",
    [
        {"FLYBALL_DISABLE": "1"},
        {"SLURM_JOB_ID": ""},
        {"SLURM_JOB_ID": "../../etc"},
        {"SLURM_STEP_ID": "a b"},
        {"FLYBALL_PROBE": "/nowhere"},
        {"FLYBALL_RUNS": "/proc/nowhere"},
        {"PATH": "/nowhere"},
        {"PYTHONPATH": "/one\n/two"},
    ],
    ids=lambda fault: next(iter(fault)),
)
def test_whatever_is_wrong_a_task_runs_unwatched(environment: dict[str, str], fault: dict[str, str]) -> None:
    bash = shutil.which("bash")
    assert bash
    done = subprocess.run(
        [bash, TASK_PROLOG], env=environment | fault, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_planted_link_is_not_followed(environment: dict[str, str], runs: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (runs / "slurm-17-0").symlink_to(tmp_path / "elsewhere")
    assert start(TASK_PROLOG, environment).stdout == ""
    assert list((tmp_path / "elsewhere").iterdir()) == []


def command(tmp_path: Path, body: str) -> str:
    script = tmp_path / "flyball"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    return str(script)


def test_the_prolog_installs_once(environment: dict[str, str], tmp_path: Path, probe: Path) -> None:
    log = tmp_path / "calls"
    environment["FLYBALL_COMMAND"] = command(tmp_path, f'echo "$@" >> "{log}"')
    assert [start(PROLOG, environment).returncode for _ in range(2)] == [0, 0]
    assert log.read_text() == f"probe install {probe} --run-dir {environment['FLYBALL_RUNS']}/node\n"


def test_the_prolog_installs_anew_after_an_upgrade(
    environment: dict[str, str], tmp_path: Path, probe: Path
) -> None:
    log = tmp_path / "calls"
    environment["FLYBALL_COMMAND"] = command(tmp_path, f'echo once >> "{log}"')
    start(PROLOG, environment)
    os.utime(probe / ".installed", (1, 1))
    start(PROLOG, environment)
    assert log.read_text() == "once\nonce\n"


def test_the_real_command_makes_what_a_task_needs(environment: dict[str, str], tmp_path: Path) -> None:
    environment |= {"FLYBALL_PROBE": str(tmp_path / "new"), "HOME": str(tmp_path)}
    environment["FLYBALL_COMMAND"] = str(Path(sys.executable).with_name("flyball"))
    assert start(PROLOG, environment).returncode == 0
    assert path_set_by(environment)


@pytest.mark.parametrize("body", ["exit 3", "kill -9 $$", "echo no room >&2; exit 1"])
def test_the_prolog_does_not_fail_the_job(environment: dict[str, str], tmp_path: Path, body: str) -> None:
    environment["FLYBALL_COMMAND"] = command(tmp_path, body)
    done = start(PROLOG, environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (Path(environment["FLYBALL_PROBE"]) / ".installed").exists()
