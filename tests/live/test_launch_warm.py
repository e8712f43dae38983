"""Warm trials of a script without torch: the traps of forking, one by one."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.patience import PATIENCE_SECONDS

from flyball.runner.base import Limits, TrialRequest, TrialResult
from flyball.runner.command import Command, parse_command
from flyball.runner.launch_cold import ColdLauncher
from flyball.runner.launch_warm import WarmLauncher
from flyball.runner.outcome import OutcomeKind
from flyball.runner.process_tree import descendants, read_process

pytestmark = pytest.mark.live

SCRIPTS = Path(__file__).parent / "scripts"
LIMITS = Limits(startup_seconds=PATIENCE_SECONDS, total_seconds=2 * PATIENCE_SECONDS)


class Study:
    """A warm launcher and the trials it has run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "ds.json").write_text("{}")
        tokens = [sys.executable, str(SCRIPTS / "mirror.py"), "{trial_dir}", "--value", "{ds_config}"]
        self.command: Command = parse_command(tokens, config=folder / "ds.json", cwd=folder)
        self.launcher = WarmLauncher(self.command, ColdLauncher(cwd=folder, grace_seconds=0.5))
        self._count = 0

    def run(
        self, arguments: dict[str, str] | None = None, environment: dict[str, str] | None = None
    ) -> TrialResult:
        self.directory = self.folder / "trials" / str(self._count)
        self._count += 1
        rendered = self.command.render(
            trial_dir=self.directory, config_path=self.directory / "ds_config.json", arguments=arguments or {}
        )
        request = TrialRequest(
            directory=self.directory,
            command=rendered,
            ds_config={},
            environment=environment or {"A_KNOB": "0"},
            limits=LIMITS,
        )

        def seen(journals: object) -> None:
            (self.directory / "seen").touch()

        return self.launcher.launch(request).wait(seen)

    def read(self, name: str) -> Any:
        return json.loads((self.directory / name).read_text())


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Study]:
    monkeypatch.setenv("PYTHONPATH", str(SCRIPTS / "modules"))
    made = Study(tmp_path)
    yield made
    made.launcher.close()


def test_a_forked_script_sees_what_a_fresh_interpreter_would_show_it(study: Study) -> None:
    cold = study.run()
    first = study.directory
    seen, unequal = study.read("report.json"), study.read("unequal.json")
    warm = study.run()
    assert (cold.launcher, warm.launcher) == ("cold", "warm"), warm.notes
    text = json.dumps(seen).replace(str(first), str(study.directory))
    assert study.read("report.json") == json.loads(text)
    own = study.read("unequal.json")
    assert own["random"] != unequal["random"]
    assert own["port"] != unequal["port"]
    assert own["session"] == own["pid"]
    assert (study.directory / "stdout.log").read_text() == "last words without a newline"
    assert (study.directory / "atexit").exists()
    assert (study.directory / "thread").exists(), "threads are joined before the process leaves"


def test_two_forks_differ_in_their_random_numbers(study: Study) -> None:
    numbers = [(study.run(), study.read("unequal.json")["random"])[1] for _ in range(3)]
    assert len(set(numbers)) == 3


def test_arguments_and_environment_of_a_trial_reach_the_fork(study: Study) -> None:
    study.run(environment={"A_KNOB": "0", "ONLY_FIRST": "1"})
    result = study.run({"--value": "mine"}, {"A_KNOB": "0", "OMP_NUM_THREADS": "2"})
    assert result.launcher == "warm", result.notes
    report = study.read("report.json")
    assert report["value"] == "mine"
    assert report["environment"]["OMP_NUM_THREADS"] == "2"
    assert "ONLY_FIRST" not in report["environment"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"--exit": "3"}, "exit status 3 after 3 steps"),
        ({"--raise": "out of luck"}, "RuntimeError: out of luck"),
    ],
)
def test_a_fork_fails_as_a_fresh_interpreter_does(study: Study, arguments: dict[str, str], says: str) -> None:
    study.run()
    result = study.run(arguments)
    assert result.launcher == "warm", result.notes
    assert result.outcome.kind is OutcomeKind.CRASHED
    assert says in result.outcome.reason
    if "--raise" in arguments:
        printed = (study.directory / "stderr.log").read_text()
        assert "fork_server" not in printed
        assert printed.count("Traceback (most recent call last)") == 1


@pytest.mark.parametrize(
    ("module", "says"),
    [
        ("starts_a_thread", "an import started the thread background"),
        ("starts_a_native_thread", "1 native threads came with one of: starts_a_native_thread"),
        ("opens_a_socket", "an import opened 2 sockets"),
    ],
)
def test_what_cannot_be_forked_safely_runs_cold_and_says_why(study: Study, module: str, says: str) -> None:
    study.run({"--modules": module})
    for _ in range(2):
        result = study.run({"--modules": module})
        assert result.launcher == "cold"
        assert result.outcome.kind is OutcomeKind.COMPLETED
        assert any(says in note for note in result.notes), result.notes


def test_a_module_that_is_not_there_is_left_to_the_script(study: Study) -> None:
    study.run({"--modules": "decimal,no_such_module"})
    result = study.run({"--modules": "decimal,no_such_module"})
    assert result.launcher == "warm"
    assert any("no_such_module" in note for note in result.notes)


def test_what_the_first_step_imported_is_there_before_the_fork(study: Study) -> None:
    study.run()
    assert study.run().launcher == "warm"
    assert study.read("unequal.json")["imported"] == ["decimal", "fractions"]


def test_late_imports_that_make_forking_unsafe_are_left_out(study: Study) -> None:
    study.run({"--late-modules": "fractions,starts_a_thread"})
    for _ in range(2):
        result = study.run({"--late-modules": "fractions,starts_a_thread"})
        assert result.launcher == "warm", result.notes
        assert study.read("unequal.json")["imported"] == ["decimal"]


def test_import_time_variables_get_a_server_of_their_own_and_few_are_kept(study: Study) -> None:
    study.run()
    for number in range(4):
        assert study.run(environment={"CUDA_KNOB": str(number)}).launcher == "warm"
    servers = [p for p in descendants(os.getpid()) if _runs(p.pid, "fork_server.py")]
    assert len(servers) == 2
    study.launcher.close()
    assert all(_is_gone(process.pid) for process in servers)


def test_a_server_that_was_killed_is_replaced(study: Study) -> None:
    study.run()
    assert study.run().launcher == "warm"
    server = next(p for p in descendants(os.getpid()) if _runs(p.pid, "fork_server.py"))
    os.kill(server.pid, signal.SIGKILL)
    while not _is_gone(server.pid):
        pass
    assert study.run().outcome.kind is OutcomeKind.COMPLETED


def _runs(pid: int, name: str) -> bool:
    try:
        return name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _is_gone(pid: int) -> bool:
    process = read_process(pid)
    return process is None or process.state in "ZX"
