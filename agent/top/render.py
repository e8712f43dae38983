"""Draws a view, as wide and high as there is room.

Colours are blue, yellow and bold only, and never the only sign: the words say the same.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from flyball.agent.text import clean
from flyball.agent.top.cells import describe_missing, number, of_total, percent
from flyball.agent.top.render_gpus import gpu_part
from flyball.agent.top.render_runs import run_part
from flyball.agent.top.view import HostView, Missing, Unwatched, View
from flyball.collectors.unprobed import MEND

FEWEST_RANKS = 1
RANKS_PRINTED = 8
"""Of each run where there is no end to the page."""
_RUNS_PRINTED = 20
_UNWATCHED_SHOWN = 4
_LINES_AROUND_RANKS = 5
"""Of a run: its two lines, its titles, what was left out, and a blank one."""


class Page:
    """A rich renderable of a view.

    Args:
        view: what to show.
        endless: whether the page may be as long as it gets, as in a pipe; else it fits the terminal.
    """

    def __init__(self, view: View, *, endless: bool) -> None:
        self._view, self._endless = view, endless

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        view, width = self._view, options.max_width
        above: list[RenderableType] = [_host_line(view.host, view.time), Text(), *gpu_part(view, width)]
        below: list[RenderableType] = [*_unwatched(view.unwatched), *_missing(view.missing)]
        yield from above
        room = None
        if not self._endless:
            # What stands below may take a third of the screen, and is cut where it is longer.
            lines = sum(len(console.render_lines(part, options)) for part in below)
            room = console.size.height - min(lines + 1, console.size.height // 3)
            room -= sum(len(console.render_lines(part, options)) for part in above)
        yield from self._runs(width, room)
        if below:
            yield Text()
        yield from below

    def _runs(self, width: int, room: int | None) -> Iterator[RenderableType]:
        runs = self._view.runs
        if not runs and self._view.runs_known:
            yield Text()
            yield Text("no run: one shows once it has its engine; start it with `flyball run -- ...`")
        if not runs:
            return
        most, ranks = _RUNS_PRINTED, RANKS_PRINTED
        if room is not None:
            most = max(1, room // (_LINES_AROUND_RANKS + FEWEST_RANKS))
            ranks = max(FEWEST_RANKS, room // min(most, len(runs)) - _LINES_AROUND_RANKS)
        for run in runs[:most]:
            yield Text()
            yield from run_part(run, width, most_ranks=ranks)
        if len(runs) > most:
            yield Text(f"... and {len(runs) - most} more runs", style="dim")


def _host_line(host: HostView, time: float) -> Text:
    line = Text(clean(host.name), style="bold", no_wrap=True, overflow="ellipsis", end="\n")
    parts = [
        f"driver {clean(host.driver)}" if host.driver else "",
        datetime.fromtimestamp(time).strftime("%H:%M:%S"),
        f"cpu {percent(host.cpu_ratio)}",
        f"memory {of_total(host.memory_used_bytes, host.memory_total_bytes)} GiB",
        f"load {number(host.load, 2)}",
    ]
    return line.append("".join(f"  {part}" for part in parts if part), style="not bold")


def _unwatched(found: Sequence[Unwatched]) -> Iterator[RenderableType]:
    if not found:
        return
    shown = ", ".join(_process(one) for one in found[:_UNWATCHED_SHOWN])
    more = f" and {len(found) - _UNWATCHED_SHOWN} more" if len(found) > _UNWATCHED_SHOWN else ""
    yield _hanging("!", Text(f"not probed: {shown}{more}; {MEND}", style="yellow"))


def _process(one: Unwatched) -> str:
    rank = f" rank {clean(one.rank)}" if one.rank else ""
    return f"pid {one.pid}{rank}" + (f" on GPU {clean(one.gpu)}" if one.gpu else "")


def _missing(found: Sequence[Missing]) -> Iterator[RenderableType]:
    for one in found:
        yield _hanging("-", Text(f"{clean(one.what)}: {describe_missing(one)}", style="dim"))


def _hanging(mark: str, text: Text) -> Table:
    line = Table.grid(padding=(0, 1))
    line.add_column(no_wrap=True, style="dim")
    line.add_column(overflow="fold")
    line.add_row(mark, text)
    return line
