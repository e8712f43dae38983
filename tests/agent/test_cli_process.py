"""The installed commands as processes: start-up, pipes, signals, encodings."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "deepspeed", "transformers", "optuna", "sqlalchemy", "scipy", "numpy", "pydantic")

FINDS_TESTS = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}

# Runs autotune on a fake study that says "ready" and then waits for the signals of its parent.
STUDY = """
import os, sys, threading
from flyball.agent.cli import run
from flyball.agent.wiring import Wiring
from tests.agent.fakes import FakeStudy

def wait(observer, interruption):
    stopped = threading.Event()
    interruption.on_stop(stopped.set)
    observer.note("ready")
    if os.read(0, 1):  # the parent lets it finish
        return
    stopped.wait()
    from flyball.errors import Interrupted
    raise Interrupted("stopped by the user", mend="go on with autotune --resume")

sys.exit(run(["--", "x"], program="autotune", wiring=Wiring(run_study=FakeStudy(script=wait))))
"""


@pytest.mark.parametrize("entry", ["main", "autotune_main"])
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_load_nothing_heavy(entry: str, option: str) -> None:
    program = (
        "import sys\n"
        f"from flyball.agent.cli import {entry}\n"
        f"sys.argv = ['x', '{option}']\n"
        "try:\n"
        f"    {entry}()\n"
        "except SystemExit as leaving:\n"
        "    assert not leaving.code, leaving.code\n"
        f"loaded = [name for name in {HEAVY} if name in sys.modules]\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_the_command_of_a_plain_run_waits_for_nothing_heavy() -> None:
    heavy = [name for name in HEAVY if name != "pydantic"]  # typer itself reads options with it
    program = (
        "import os, sys\n"
        "from flyball.agent import run_attempt\n"
        "from flyball.agent.cli import run\n"
        "def begin(*_, **__):\n"
        f"    loaded = [name for name in {heavy} if name in sys.modules]\n"
        "    sys.stdout.write(f'starts with {loaded}')\n"
        "    sys.stdout.flush()\n"
        "    os._exit(0)\n"
        "run_attempt.run_in_place = begin\n"
        "run(['run', '--', 'true'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("starts with []", "")


@pytest.mark.parametrize("name", ["flyball", "autotune"])
def test_the_installed_scripts_answer(name: str) -> None:
    script = Path(sys.executable).with_name(name)
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("flyball ")
    done = subprocess.run([script, "--nope"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --nope: no such option")


def test_a_reader_that_has_gone_gets_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", "from flyball.agent.cli import main; main()", "--help"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.stderr == ""


def test_a_terminal_without_unicode_still_gets_its_lines(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from flyball.agent.cli import run\n"
        "from flyball.agent.wiring import Wiring\n"
        "from tests.agent.fakes import FakeStudy\n"
        "study = FakeStudy(script=lambda observer, interruption: observer.note('模型'), summary='1.3x …')\n"
        "sys.exit(run(['--', 'x'], program='autotune', wiring=Wiring(run_study=study)))\n"
    )
    environment = FINDS_TESTS | {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=True)
    assert r"note     \u6a21\u578b" in done.stdout
    assert done.stdout.endswith("1.3x \\u2026\n")


@pytest.fixture
def study(tmp_path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", STUDY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=FINDS_TESTS,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    assert process.stdout.readline().endswith("ready\n")
    return process


def test_the_first_ctrl_c_lets_it_report_and_exits_130(study: subprocess.Popen[str]) -> None:
    study.send_signal(signal.SIGINT)
    assert study.stdout is not None
    assert "SIGINT: finishing the running trial" in study.stdout.readline()
    out, err = study.communicate("x")
    assert (study.returncode, err) == (130, "")
    assert out == "verdict: recommended\n"


def test_the_second_ctrl_c_stops_it_and_says_how_to_go_on(study: subprocess.Popen[str]) -> None:
    study.send_signal(signal.SIGINT)
    assert study.stdout is not None
    assert "finishing" in study.stdout.readline()
    study.send_signal(signal.SIGINT)
    assert "stopping now" in study.stdout.readline()
    out, err = study.communicate()
    assert study.returncode == 130
    assert (out, err) == ("", "error: stopped by the user; go on with autotune --resume\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(("name", "words"), [("flyball", "flyball auto"), ("autotune", "autotune --tri")])
def test_shell_completion_offers_what_fits(shell: str, name: str, words: str) -> None:
    entry = "main" if name == "flyball" else "autotune_main"
    environment = os.environ | {
        f"_{name.upper()}_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": words,
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": words,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(
        [sys.executable, "-c", f"from flyball.agent.cli import {entry}; {entry}()"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert {"flyball auto": "autotune", "autotune --tri": "--trials"}[words] in done.stdout
