"""Draws the state of a study (header, running trial, last trials), as wide and high as there is room.

Colours are blue, yellow and bold only, and never the only sign: the words say the same.
"""

from contextlib import AbstractContextManager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from flyball.agent.durations import format_duration
from flyball.agent.progress import FinishedTrial, Progress
from flyball.agent.text import clean, describe_changes, describe_rate, shorten
from flyball.runner.outcome import OutcomeKind

MOST_ROWS = 8
_LINES_AROUND_ROWS = 9
_NARROW_COLUMNS = 60


class StudyTable:
    """A rich renderable of one moment of a study."""

    def __init__(self, progress: Progress, *, now: float, lock: AbstractContextManager[Any]) -> None:
        self._progress = progress
        self._now = now
        self._lock = lock

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # The texts are made under the lock; laying them out, which takes longer, is not.
        with self._lock:
            parts = self._parts(options.max_width, console.size.height)
        yield from parts

    def _parts(self, width: int, height: int) -> list[Table | Text]:
        parts: list[Table | Text] = [
            self._title(width),
            _line("best", self._best()),
            _line("now", self._running()),
            _line("done", self._outcomes(), wrap=True),
        ]
        rows = max(1, min(MOST_ROWS, height - _LINES_AROUND_ROWS))
        if recent := list(self._progress.recent)[-rows:]:
            parts += [Text(), self._recent(recent, wide=width >= _NARROW_COLUMNS)]
        return parts

    def _title(self, width: int) -> Table:
        title = Table.grid(expand=True, padding=(0, 1))
        title.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        title.add_column(no_wrap=True, justify="right")
        phase = self._progress.phase.value if self._progress.phase else "starting"
        name = Text(shorten(clean(self._progress.name), max(8, width // 2)) or "flyball", style="bold")
        title.add_row(name.append(f"  {phase}", style="not bold blue"), self._times())
        return title

    def _times(self) -> str:
        elapsed = format_duration(self._now - self._progress.started)
        left = self._progress.seconds_left(self._now)
        return f"elapsed {elapsed}" + (f"  left {format_duration(left)}" if left is not None else "")

    def _best(self) -> Text:
        best, baseline = self._progress.best, self._progress.baseline
        if best is None or best.value is None:
            return Text("nothing measured yet", style="dim")
        unit = self._progress.objective.terms.unit
        text = Text(f"{describe_rate(best.value)} {unit}", style="bold")
        ratio = self._progress.ratio(best)
        if ratio is not None and baseline is not None:
            text.append(f"  {ratio:.2f}x", style="bold blue")
            text.append(f" of your {describe_rate(baseline.value)}", style="not bold")
        return text.append(f"  trial {best.number}  {describe_changes(best.changes)}", style="not bold")

    def _running(self) -> Text:
        trial = self._progress.running
        if trial is None:
            return Text("between trials", style="dim")
        seconds = format_duration(self._now - trial.started)
        progress = f"{trial.steps} steps" if trial.steps else "starting up"
        rate = f"  {describe_rate(trial.samples_per_second)} samples/s" if trial.samples_per_second else ""
        head = f"trial {trial.number}  {progress}{rate}  {seconds}"
        return Text(head).append(f"  {describe_changes(trial.changes)}", style="dim")

    def _outcomes(self) -> Text:
        counts = self._progress.outcomes
        if not counts:
            return Text("no trial yet", style="dim")
        parts = [f"{counts[kind]}\N{NO-BREAK SPACE}{kind.value}" for kind in OutcomeKind if counts[kind]]
        return Text("  ".join(parts))

    def _recent(self, rows: list[FinishedTrial], *, wide: bool) -> Table:
        table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim", expand=True)
        table.add_column("trial", justify="right", no_wrap=True)
        if wide:
            table.add_column("phase", no_wrap=True)
        table.add_column("outcome", no_wrap=True)
        table.add_column(self._progress.objective.terms.unit, justify="right", no_wrap=True)
        table.add_column("x", justify="right", no_wrap=True)
        table.add_column("changes", no_wrap=True, overflow="ellipsis", ratio=1)
        for row in rows:
            table.add_row(*self._cells(row, wide=wide), style=_style(row))
        return table

    def _cells(self, row: FinishedTrial, *, wide: bool) -> list[Text]:
        ratio = self._progress.ratio(row)
        about = describe_changes(row.changes)
        if row.outcome is not OutcomeKind.COMPLETED:
            about = f"{clean(row.reason)}  ({about})"
        cells = [
            str(row.number),
            *([row.phase.value] if wide else []),
            row.outcome.value + (" *" if row is self._progress.best else ""),
            describe_rate(row.value),
            f"{ratio:.2f}" if ratio is not None else "-",
            about,
        ]
        return [Text(cell) for cell in cells]


def _style(row: FinishedTrial) -> str:
    if row.outcome is not OutcomeKind.COMPLETED:
        return "yellow"
    return "bold blue" if row.best else ""


def _line(label: str, text: Text, *, wrap: bool = False) -> Table:
    line = Table.grid(expand=True, padding=(0, 2))
    line.add_column(width=4, style="dim", no_wrap=True)
    line.add_column(no_wrap=not wrap, overflow="fold" if wrap else "ellipsis", ratio=1)
    line.add_row(label, text)
    return line
