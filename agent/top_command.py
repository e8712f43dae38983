"""``flyball top``: GPUs, runs and ranks of this machine on one screen."""

import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flyball.agent.durations import parse_duration
from flyball.agent.wiring import Wiring
from flyball.errors import OptionError
from flyball.settings import state_folder

if TYPE_CHECKING:
    from flyball.agent.top.source import Source

LEAST_SECONDS = 0.5


def top(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", metavar="", help="Print one view and leave.")] = False,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="With --once: print JSON.")] = False,
    interval: Annotated[
        str | None,
        typer.Option("--interval", metavar="TIME", help="From one reading to the next; 2s, with --once 1s."),
    ] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Option(
            "--runs", metavar="DIR", help="Folder of runs, instead of runs in the state folder; repeatable."
        ),
    ] = None,
) -> None:
    """Show GPUs, runs and ranks of this machine; q or Ctrl-C leaves."""
    # Imported only now: other commands draw nothing live.
    from flyball.agent.display import can_redraw

    wiring: Wiring = context.obj
    prints = once or not can_redraw(wiring.out)
    seconds = _interval(interval or ("1s" if prints else "2s"))
    if as_json and not once:
        raise OptionError("a live view is no JSON", where="--json", mend="add --once")
    folders = tuple(folder.expanduser() for folder in runs or (state_folder() / "runs",))
    for folder in runs or ():
        if not folder.expanduser().is_dir():
            raise OptionError(
                f"{folder} is no folder", where="--runs", mend="name the folder of a job's runs"
            )

    def make(answered: Callable[[], None]) -> "Source":
        return _source(folders, wiring, answered)

    if prints:
        _print(make, wiring, seconds, as_json=as_json)
    else:
        _watch(make, wiring, seconds)


def _interval(text: str) -> float:
    seconds = parse_duration(text, where="--interval")
    if seconds < LEAST_SECONDS:
        mend = f"write at least {LEAST_SECONDS:g}s"
        raise OptionError(f"'{text}' is shorter than a reading", where="--interval", mend=mend)
    return seconds


def _source(folders: tuple[Path, ...], wiring: Wiring, answered: Callable[[], None]) -> "Source":
    from flyball.agent.top.local import LocalSource
    from flyball.collectors.runs import Runs

    host = platform.node()
    journals = Runs(
        folders,
        clock=wiring.clock,
        host=host,
        # An agent's notes spare reading long journals from their begin; they are read, never written.
        positions=state_folder() / "positions.json",
    )
    return LocalSource(
        wiring.collector_types(),
        journals,
        clock=wiring.clock,
        host=host,
        driver=wiring.driver_version,
        answered=answered,
    )


def _print(
    make: "Callable[[Callable[[], None]], Source]", wiring: Wiring, seconds: float, *, as_json: bool
) -> None:
    from flyball.agent.top.once import one_view
    from flyball.agent.top.printing import print_json, print_view

    source = make(lambda: None)
    try:
        view = one_view(source, clock=wiring.clock, interval_seconds=seconds)
    finally:
        source.close()
    (print_json if as_json else print_view)(view, wiring.out)


def _watch(make: "Callable[[Callable[[], None]], Source]", wiring: Wiring, seconds: float) -> None:
    from flyball.agent.top.live import LiveTop
    from flyball.agent.top.terminal import Terminal

    with Terminal(sys.stdin.fileno() if sys.stdin.isatty() else None) as terminal:
        source = make(terminal.answered)
        try:
            LiveTop(source, terminal, wiring.out, clock=wiring.clock, interval_seconds=seconds).run()
        finally:
            source.close()
