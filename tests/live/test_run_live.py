"""``flyball run`` over real processes: the command's terminal, signals and end are its own."""

import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path

import pytest
from tests.live.test_workload import TINY, WORKLOAD, free_port
from tests.patience import PATIENCE_SECONDS

from flyball.database import open_database
from flyball.history.records import RunRecord
from flyball.history.run_log import RunLog

pytestmark = pytest.mark.live

FLYBALL = Path(sys.executable).with_name("flyball")
SAYS_SIGNALS = """
import os, signal, sys
numbers = list(map(int, sys.argv[1:]))
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
os.write(1, b"ready\\n")
number = 0
while number != numbers[-1]:
    number = signal.sigwait(numbers)
    os.write(1, f"got {number}\\n".encode())
os._exit(7)
"""
"""Says each signal that is named on its command line; the last one ends it."""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def environment(state: Path, **more: str) -> Mapping[str, str]:
    return {**os.environ, "FLYBALL_STATE_DIR": str(state), **more}


def flyball(state: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FLYBALL, "run", *words],
        env=environment(state, **more),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


def runs(state: Path) -> list[RunRecord]:
    with open_database(f"sqlite:///{state}/history.db", for_reading=True) as database:
        return RunLog(database).runs()


def started(state: Path, *words: str, options: tuple[str, ...] = ("-q",)) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [FLYBALL, "run", *options, "--", *words],
        env=environment(state),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize(
    ("command", "status"),
    [(["true"], 0), (["sh", "-c", "exit 3"], 3), ([sys.executable, "-c", "raise SystemExit(255)"], 255)],
)
def test_the_exit_status_is_the_commands(state: Path, command: list[str], status: int) -> None:
    done = flyball(state, "--", *command)
    assert done.returncode == status
    assert f"exit status {status}" in done.stderr
    (kept,) = runs(state)
    assert (kept.exit_status, kept.signal, kept.command) == (status, None, tuple(command))
    assert kept.finished_time is not None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGPIPE])
def test_a_command_that_a_signal_ends_ends_flyball_by_it(state: Path, number: signal.Signals) -> None:
    done = flyball(state, "--", "sh", "-c", f"kill -{number.value} $$")
    assert done.returncode == -number
    assert f"killed by {number.name}" in done.stderr
    (kept,) = runs(state)
    assert (kept.exit_status, kept.signal) == (None, number)


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGHUP,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGALRM,
        signal.SIGQUIT,
        signal.SIGWINCH,
        signal.SIGPIPE,
        signal.SIGRTMIN + 3,
    ],
)
def test_a_signal_is_sent_on_and_nothing_else_happens(state: Path, number: int) -> None:
    wanted = [str(int(number)), str(int(signal.SIGTERM))]
    with started(state, sys.executable, "-c", SAYS_SIGNALS, *wanted) as process:
        assert line_of(process) == "ready"
        process.send_signal(number)
        assert line_of(process) == f"got {int(number)}"
        process.send_signal(signal.SIGTERM)
        assert line_of(process) == f"got {int(signal.SIGTERM)}"
        assert process.wait(PATIENCE_SECONDS) == 7


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_does_not_catch_the_signal_dies_of_it_and_so_does_flyball(
    state: Path, number: signal.Signals
) -> None:
    with started(state, "sh", "-c", "echo ready; exec sleep 300") as process:
        assert line_of(process) == "ready"
        process.send_signal(number)
        assert process.wait(PATIENCE_SECONDS) == -number


def test_what_flyball_is_told_to_ignore_the_command_ignores(state: Path) -> None:
    shows = "import signal; print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)"
    words = [str(FLYBALL), "run", "-q", "--", sys.executable, "-c", shows]
    done = subprocess.run(
        ["sh", "-c", f"trap '' HUP; exec {shlex.join(words)}"],
        env=environment(state),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "True\n"


def test_the_signal_mask_and_what_stands_open_are_the_commands_too(state: Path) -> None:
    shows = (
        "import os, signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []), os.read(FD, 5), "
        "[n for n in range(3, 64) if n != FD and os.path.exists(f'/proc/self/fd/{n}')][:-1])"
    )
    reader, writer = os.pipe()
    os.write(writer, b"hello")
    shows = shows.replace("FD", str(reader))
    done = subprocess.run(
        [FLYBALL, "run", "-q", "--", sys.executable, "-c", shows],
        env=environment(state),
        pass_fds=[reader],
        capture_output=True,
        text=True,
        check=True,
    )
    os.close(reader)
    os.close(writer)
    assert done.stdout == "set() b'hello' []\n"


def test_only_pythonpath_changes_and_the_users_own_stays_behind(state: Path) -> None:
    done = flyball(state, "--name", "job", "--", "env", "-0", PYTHONPATH="/theirs:/more")
    seen = dict(pair.split("=", 1) for pair in done.stdout.rstrip("\0").split("\0"))
    assert seen.pop("PYTHONPATH") == f"{state}/runs/job/site:/theirs:/more"
    assert seen == {name: value for name, value in environment(state).items() if name != "PYTHONPATH"}


def test_standard_input_and_output_pass_untouched(state: Path) -> None:
    data = bytes(range(256)) * 4096
    done = subprocess.run(
        [FLYBALL, "run", "-q", "--", "cat"],
        env=environment(state),
        input=data,
        capture_output=True,
        check=True,
    )
    assert done.stdout == data
    assert done.stderr == b""


def test_kill_9_of_flyball_leaves_the_command_running_to_its_end(state: Path, tmp_path: Path) -> None:
    gate, witness = tmp_path / "gate", tmp_path / "witness"
    os.mkfifo(gate)
    script = f"echo ready $$; read line < {gate}; echo $line > {witness}.new; mv {witness}.new {witness}"
    process = started(state, "sh", "-c", script)
    with process:
        word, pid = line_of(process).split()
        assert word == "ready"
        process.kill()
        assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
        with gate.open("w") as file:
            file.write("go on\n")
        end = os.pidfd_open(int(pid)) if Path(f"/proc/{pid}").exists() else None
        if end is not None:
            assert select.select([end], [], [], PATIENCE_SECONDS)[0]
            os.close(end)
    assert witness.read_text() == "go on\n"


@pytest.mark.parametrize("broken", ["state folder", "history", "summary file"])
def test_what_breaks_in_flyball_is_one_line_and_no_business_of_the_commands(
    state: Path, broken: str, tmp_path: Path
) -> None:
    if broken == "state folder":
        state.write_text("a file")
        done = flyball(state, "--db", f"sqlite:///{tmp_path}/h.db", "--", "sh", "-c", "echo out; exit 4")
        assert "the run is not watched" in done.stderr
    elif broken == "history":
        state.mkdir()
        (state / "history.db").write_bytes(b"this is no database" * 100)
        done = flyball(state, "--", "sh", "-c", "echo out; exit 4")
        assert "the run is not in the history" in done.stderr
    else:
        done = flyball(state, "--json", "/dev/full", "--", "sh", "-c", "echo out; exit 4")
        assert "/dev/full was not written: No space left on device" in done.stderr
    assert (done.returncode, done.stdout) == (4, "out\n")
    assert "Traceback" not in done.stderr


class Job:
    """A shell with job control on a terminal of its own."""

    def __init__(self, state: Path) -> None:
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execve(
                "/bin/bash", ["bash", "--norc", "--noprofile", "-i"], {**environment(state), "PS1": "$ "}
            )
        self.text = ""

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def until(self, pattern: str) -> str:
        """What comes up to a pattern; the same text is not read twice."""
        while (found := re.search(pattern, self.text)) is None:
            assert select.select([self.terminal], [], [], PATIENCE_SECONDS)[0], self.text
            self.text += os.read(self.terminal, 4096).decode(errors="replace")
        before, self.text = self.text[: found.end()], self.text[found.end() :]
        return before

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGHUP)
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)


@pytest.fixture
def job(state: Path) -> Iterator[Job]:
    with closing(Job(state)) as opened:
        yield opened


def test_ctrl_c_reaches_the_command_once_and_the_shell_has_its_terminal_back(
    job: Job, tmp_path: Path
) -> None:
    script = tmp_path / "says.py"
    script.write_text(SAYS_SIGNALS)
    job.type(f"{FLYBALL} run -q -- {sys.executable} {script} 2 3\n")
    job.until(r"ready\r\n")
    job.type("\x03")
    assert job.until(r"got 2\r\n").count("got 2") == 1
    job.type("\x1c")
    assert "got 2" not in job.until(r"got 3\r\n")
    job.type("echo status $?\n")
    job.until(r"status 7\r\n")


def test_the_command_reads_the_terminal_and_ctrl_z_and_fg_work(job: Job) -> None:
    job.type(f"{FLYBALL} run -q -- sh -c 'echo re''ady; read one; echo it was $one'\n")
    job.until(r"ready\r\n")
    job.type("\x1a")
    job.until(r"Stopped")
    job.type("echo shell $((1 + 1))\n")
    job.until(r"shell 2\r\n")
    job.type("fg\n")
    job.until(r"it was \$one'\r\n")
    job.type("hello\n")
    job.until(r"it was hello\r\n")
    job.type("echo status $?\n")
    job.until(r"status 0\r\n")


def test_a_run_of_two_ranks_is_watched_from_its_first_step_to_its_end(state: Path, tmp_path: Path) -> None:
    port = free_port()
    command = [
        *(str(Path(sys.executable).with_name("deepspeed")), "--num_gpus", "2", "--master_port", port),
        *(str(WORKLOAD / "train.py"), *TINY, "--steps", "12"),
        *("--deepspeed", "--deepspeed_config", str(WORKLOAD / "ds_config.json")),
    ]
    summary = tmp_path / "summary.json"
    try:
        done = flyball(state, "--name", "real", "--json", str(summary), "--", *command)
    finally:
        for left in Path("/dev/shm").glob(f"deepspeed_allreduce_buffer_{os.getuid()}_*_{port}_*"):
            left.unlink()
    assert done.returncode == 0, done.stderr[-3000:]
    known = json.loads(summary.read_text())
    assert (known["ranks"], known["steps"], known["exit_status"]) == ([0, 1], 12, 0)
    assert known["samples"] == 12 * json.loads((WORKLOAD / "ds_config.json").read_text())["train_batch_size"]
    assert known["samples_per_second"]["point"] > 0
    assert {path.name for path in (state / "runs" / "real").glob("rank-*")} == {
        "rank-0.jsonl",
        "rank-1.jsonl",
    }
    (kept,) = runs(state)
    assert kept.summary is not None
    assert kept.summary["samples_per_second"] == known["samples_per_second"]
    assert "samples/s" in done.stderr
    assert max(map(len, done.stderr.splitlines()[-8:])) <= 80 + len(str(state))
