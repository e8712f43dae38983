"""``flyball top`` on a terminal: what is typed, what the kernel signals, and what is left behind."""

import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from fcntl import ioctl
from pathlib import Path

import pytest

# Takes the terminal on its standard streams for its own, as a shell's job has it.
PROGRAM = """
import fcntl, os, sys, termios, threading
from dataclasses import replace
from pathlib import Path
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from flyball.agent.cli import run
from flyball.clock import SystemClock
from tests.agent.top_fakes import FakeGpu, Machine
machine = Machine(Path(sys.argv[1]), *(FakeGpu(uuid=f"GPU-{index}") for index in range(4)))
machine.write_run("nightly", *(0.25 for _ in range(100)))
wiring = machine.wiring()
exec(sys.argv[2])
sys.exit(run(["top", "--runs", str(machine.host.root)], wiring=wiring))
"""
SHOWN, GONE = "\x1b[?1049h", "\x1b[?1049l"
NO_CURSOR, CURSOR = "\x1b[?25l", "\x1b[?25h"


class Session:
    """``flyball top`` in a terminal of its own."""

    def __init__(self, folder: Path, change: str = "", columns: int = 80, rows: int = 24) -> None:
        self.master, self._slave = pty.openpty()
        self.resize(columns, rows)
        self.modes = termios.tcgetattr(self._slave)
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), change],
            stdin=self._slave,
            stdout=self._slave,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            # Whatever size the shell exported: the terminal's own counts.
            env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"},
        )
        self.written = ""

    def resize(self, columns: int, rows: int) -> None:
        ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, wanted: str) -> str:
        """Wait until something was written since the last call; return all that was."""
        written = ""
        while wanted not in written:
            written += os.read(self.master, 65536).decode(errors="replace")
        self.written += written
        return written

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def leaves_with(self, status: int) -> str:
        """Wait for the end; return stderr. The terminal must be as it was."""
        self.until(GONE)
        _, err = self.process.communicate()
        assert self.process.returncode == status, err
        assert self.is_as_before()
        return err

    def is_as_before(self) -> bool:
        return termios.tcgetattr(self._slave) == self.modes

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        os.close(self._slave)
        os.close(self.master)


Start = Callable[..., Session]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    sessions: list[Session] = []

    def begin(change: str = "", **size: int) -> Session:
        sessions.append(Session(tmp_path, change, **size))
        return sessions[-1]

    yield begin
    for session in sessions:
        session.close()


def text(written: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written)


@pytest.mark.parametrize("key", ["q", "Q", "\x03", "\x04"])
def test_q_and_ctrl_c_leave_with_status_0_and_the_terminal_as_it_was(start: Start, key: str) -> None:
    session = start()
    first = session.until("... and ")
    assert first.index(SHOWN) < first.index("nightly")
    session.type(key)
    assert session.leaves_with(0) == ""
    assert session.written.rindex(CURSOR) > session.written.rindex(NO_CURSOR)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_as_q_does(start: Start, number: int) -> None:
    session = start()
    session.until("nightly")
    session.process.send_signal(number)
    assert session.leaves_with(0) == ""


def test_other_keys_do_nothing(start: Start) -> None:
    session = start()
    session.until("nightly")
    session.type("xyz")
    session.type("\x1b[A")
    session.type("q")
    assert session.leaves_with(0) == ""


def test_a_change_of_size_is_drawn_at_once(start: Start) -> None:
    session = start(columns=80)
    assert "NVLink MB" not in text(session.until("straggler"))
    session.resize(130, 40)
    session.until("NVLink MB/s in/out")
    session.type("q")
    session.leaves_with(0)


@pytest.mark.parametrize(("rows", "expected"), [(12, 1), (24, 7), (50, 33)])
def test_ranks_fill_what_the_terminal_has_and_no_more(start: Start, rows: int, expected: int) -> None:
    session = start(rows=rows)
    session.until("straggler")
    session.type("q")
    session.leaves_with(0)
    shown = len(re.findall(r"^ +\d+ +\d +stepping", text(session.written), flags=re.MULTILINE))
    assert shown == expected


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(start: Start) -> None:
    session = start()
    session.until("nightly")
    session.type("\x1a")
    _, status = os.waitpid(session.process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    assert GONE in session.until(GONE)
    assert session.is_as_before()
    session.process.send_signal(signal.SIGCONT)
    assert SHOWN in session.until("nightly")
    session.type("q")
    session.leaves_with(0)


@pytest.mark.parametrize(
    "change",
    [
        "import flyball.agent.top.live as live; live.build = None",
        "import flyball.agent.top.live as live; live.Page = lambda view, endless: 1 / 0",
    ],
)
def test_an_error_gives_the_terminal_back_and_is_one_line(start: Start, change: str) -> None:
    err = start(change).leaves_with(1)
    assert err.startswith("internal error: ")
    assert err.count("\n") == 1


def test_a_driver_that_hangs_hides_nothing_and_holds_nobody(start: Start) -> None:
    session = start("machine.nvml.nvmlInit = threading.Event().wait; wiring.clock = SystemClock()")
    assert "no GPU: being read" in text(session.until("being read"))
    session.type("q")
    assert session.leaves_with(0) == ""


def test_rates_come_with_the_second_view(start: Start) -> None:
    session = start("wiring.clock = SystemClock()")
    assert "a rate needs two readings" in " ".join(text(session.until("two readings")).split())
    assert "90%" in text(session.until("90%"))
    session.type("q")
    session.leaves_with(0)


def test_a_terminal_that_hangs_up_ends_it(start: Start) -> None:
    session = start()
    session.until("nightly")
    os.close(session.master)
    session.master = os.open(os.devnull, os.O_RDONLY)
    _, err = session.process.communicate()
    assert (session.process.returncode, err) == (0, "")


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_no_color_is_honoured(
    start: Start, monkeypatch: pytest.MonkeyPatch, no_color: str, coloured: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    session = start()
    session.until("... and ")
    session.type("q")
    session.leaves_with(0)
    assert (re.search(r"\x1b\[[0-9;]*3[0-9]m", session.written) is not None) == coloured


def test_a_terminal_that_cannot_redraw_gets_one_view(start: Start) -> None:
    session = start("os.environ['TERM'] = 'dumb'")
    assert "\x1b" not in session.until("... and ")
    session.process.communicate()
    assert session.process.returncode == 0
