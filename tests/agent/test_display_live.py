"""The live table, drawn at the widths and heights that terminals have."""

import io
import os
import pty
import re
import struct
import termios
from collections.abc import Iterator
from contextlib import suppress
from fcntl import ioctl
from pathlib import Path
from typing import TextIO

import pytest
from rich.cells import cell_len
from rich.console import Console
from tests.agent.fakes import HOSTILE, FakeClock, play_long_study, trial_report

from flyball.agent.display import open_display
from flyball.agent.display_live import LiveDisplay
from flyball.agent.display_plain import PlainDisplay
from flyball.agent.display_table import MOST_ROWS
from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import Phase


class Screen:
    """A display on a recording console, not started: it is asked for single frames."""

    def __init__(self, *, width: int, height: int = 30) -> None:
        self.clock = FakeClock()
        self.console = Console(
            file=io.StringIO(), width=width, height=height, force_terminal=True, highlight=False
        )
        self.display = LiveDisplay(io.StringIO(), clock=self.clock, console=self.console)

    def frame(self) -> list[str]:
        """The lines of the table as it stands, without colours."""
        with self.console.capture() as captured:
            self.console.print(self.display.renderable())
        return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", captured.get()).splitlines()]


def in_the_middle_of_a_study(width: int, height: int = 30) -> Screen:
    screen = Screen(width=width, height=height)
    display = screen.display
    display.study_started("deepseek-v3-tiny", Path("/r"), 600.0)
    display.trial_started(0, Phase.BASELINE, {})
    display.trial_finished(trial_report(0, rate=100.0, phase=Phase.BASELINE), best=True)
    display.trial_started(1, Phase.SEARCH, {"micro_batch": 8, "zero_stage": 1})
    display.trial_finished(trial_report(1, rate=134.0), best=True)
    display.trial_started(2, Phase.SEARCH, {"micro_batch": 64})
    failed = trial_report(2, rate=None, kind=OutcomeKind.OUT_OF_MEMORY, reason="rank 1: 2 GiB asked for")
    display.trial_finished(failed, best=False)
    display.time_left(300.0)
    display.trial_started(3, Phase.SEARCH, {"zero_stage": 2})
    screen.clock.sleep(65)
    display.trial_progress(3, 12, 120.0)
    return screen


@pytest.mark.parametrize("width", [80, 200])
def test_the_header_says_what_how_fast_and_how_long(width: int) -> None:
    title, best, now, done, *_ = in_the_middle_of_a_study(width).frame()
    assert title.startswith("deepseek-v3-tiny  search")
    assert title.endswith("elapsed 1m05s  left 3m55s")
    assert best == "best  134 samples/s  1.34x of your 100  trial 1  micro_batch=8 zero_stage=1"
    assert now == "now   trial 3  12 steps  120 samples/s  1m05s  zero_stage=2"
    assert done == "done  2\xa0completed  1\xa0out_of_memory"


@pytest.mark.parametrize("width", [80, 200])
def test_the_table_shows_rate_ratio_and_what_went_wrong(width: int) -> None:
    rows = [re.split(r"\s{2,}", line.strip()) for line in in_the_middle_of_a_study(width).frame()[5:]]
    assert rows[0] == ["trial", "phase", "outcome", "samples/s", "x", "changes"]
    assert rows[1] == ["0", "baseline", "completed", "100", "1.00", "your own configuration"]
    assert rows[2] == ["1", "search", "completed *", "134", "1.34", "micro_batch=8 zero_stage=1"]
    assert rows[3][:5] == ["2", "search", "out_of_memory", "-", "-"]
    assert rows[3][5].startswith("rank 1: 2 GiB asked")


def test_a_study_for_energy_is_drawn_in_joules_a_sample_and_more_gain_is_better() -> None:
    screen = Screen(width=80)
    own = trial_report(0, rate=100.0, phase=Phase.BASELINE, samples_per_joule=0.1)
    screen.display.trial_finished(own, best=True)
    screen.display.trial_started(1, Phase.SEARCH, {"micro_batch": 8})
    screen.display.trial_finished(trial_report(1, rate=90.0, samples_per_joule=0.125), best=True)
    frame = screen.frame()
    assert frame[1] == "best  8 J/sample  1.25x of your 10  trial 1  micro_batch=8"
    assert "J/sample" in frame[5]


def test_before_the_first_trial_there_is_something_to_read() -> None:
    title, best, now, done = Screen(width=80).frame()
    assert title.startswith("flyball  starting")
    assert (best, now, done) == ("best  nothing measured yet", "now   between trials", "done  no trial yet")


def test_a_trial_that_has_made_no_step_is_starting_up() -> None:
    screen = Screen(width=80)
    screen.display.trial_started(4, Phase.VERIFICATION, {"zero_stage": 2})
    screen.clock.sleep(9)
    assert screen.frame()[2] == "now   trial 4  starting up  9s  zero_stage=2"


def test_without_a_baseline_no_ratio_is_made_up() -> None:
    screen = Screen(width=80)
    screen.display.trial_started(7, Phase.SEARCH, {"zero_stage": 2})
    screen.display.trial_finished(trial_report(7, rate=50.0), best=True)
    assert screen.frame()[1] == "best  50 samples/s  trial 7  zero_stage=2"


def test_word_of_a_trial_that_is_over_is_dropped() -> None:
    screen = in_the_middle_of_a_study(80)
    screen.display.trial_progress(2, 99, 999.0)
    assert "12 steps" in screen.frame()[2]


def test_the_newest_trials_are_the_ones_shown() -> None:
    screen = Screen(width=80)
    for number in range(20):
        screen.display.trial_finished(trial_report(number), best=False)
    numbers = [line.split()[0] for line in screen.frame()[6:]]
    assert numbers == [str(number) for number in range(20 - MOST_ROWS, 20)]


@pytest.mark.parametrize("width", [40, 59, 80, 120, 200])
@pytest.mark.parametrize("height", [12, 24, 60])
def test_long_and_hostile_text_never_breaks_the_frame(width: int, height: int) -> None:
    screen = Screen(width=width, height=height)
    play_long_study(screen.display, screen.clock.sleep)
    screen.display.study_started(HOSTILE * 20, Path(HOSTILE), None)
    screen.display.trial_started(99, Phase.SEARCH, {HOSTILE: "模型" * 200})
    frame = screen.frame()
    assert len(frame) <= height
    assert max(cell_len(line) for line in frame) <= width
    assert not re.search(r"[\x00-\x1f\x7f\u202e]", "".join(frame))
    assert "[bold red]big[/]" in "".join(frame) or width < 80


def test_notes_of_trials_are_said_once() -> None:
    screen = Screen(width=200)
    for number in (1, 2, 3):
        report = trial_report(number, notes=("fell back to cold: 3 threads",))
        screen.display.trial_finished(report, best=False)
    output = screen.console.file
    assert isinstance(output, io.StringIO)
    assert output.getvalue().count("fell back to cold") == 1


@pytest.mark.parametrize(("no_color", "coloured"), [(None, True), ("1", False)])
def test_no_color_is_honoured(
    no_color: str | None, coloured: bool, monkeypatch: pytest.MonkeyPatch, terminal: "Terminal"
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    with LiveDisplay(terminal.stream) as display:
        play_long_study(display, FakeClock().sleep)
    assert (re.search(r"\x1b\[[0-9;]*3[0-9]m", terminal.written()) is not None) == coloured


class Terminal:
    """A pseudo-terminal of a given size; ``stream`` writes to it."""

    def __init__(self, columns: int, rows: int) -> None:
        self.master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.stream: TextIO = os.fdopen(slave, "w", encoding="utf-8")
        os.set_blocking(self.master, False)
        self._read: list[bytes] = []

    def drain(self) -> None:
        with suppress(BlockingIOError):
            while piece := os.read(self.master, 65536):
                self._read.append(piece)

    def written(self) -> str:
        self.stream.flush()
        self.drain()
        return b"".join(self._read).decode()

    def close(self) -> None:
        os.close(self.master)
        with suppress(OSError):  # what was still to be written has nowhere to go
            self.stream.close()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal(80, 24)
    yield terminal
    terminal.close()


@pytest.mark.parametrize(
    ("columns", "rows", "term", "kind"),
    [
        (80, 24, "xterm", LiveDisplay),
        (200, 50, "screen-256color", LiveDisplay),
        (80, 24, "dumb", PlainDisplay),
        (80, 24, "", PlainDisplay),
        (20, 24, "xterm", PlainDisplay),
        (80, 5, "xterm", PlainDisplay),
        (0, 0, "xterm", PlainDisplay),
    ],
)
def test_a_terminal_gets_the_table_where_there_is_room(
    columns: int, rows: int, term: str, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    terminal = Terminal(columns, rows)
    assert type(open_display(terminal.stream)) is kind
    terminal.close()


def test_a_pipe_gets_plain_lines(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w", encoding="utf-8") as stream:
        assert type(open_display(stream)) is PlainDisplay


def test_the_table_is_gone_at_the_end_and_the_cursor_is_back(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with LiveDisplay(terminal.stream) as display:
        shown = terminal.written()
        assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l")
        display.note("a line that stays")
    end = terminal.written()
    assert "a line that stays" in end
    assert end.endswith("\x1b[2K")
    assert end.rfind("\x1b[?25h") > end.rfind("\x1b[?25l")


def test_a_terminal_that_hangs_up_does_not_end_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal(80, 24)
    with LiveDisplay(terminal.stream) as display:
        terminal.close()
        play_long_study(display, FakeClock().sleep)
