"""``flyball top``: GPUs, runs and ranks of this machine on one screen."""

import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flyball.agent.durations import parse_duration
from flyball.agent.wiring import Wiring
from flyball.errors import OptionError
from flyball.settings import state_folder

if TYPE_CHECKING:
    from flyball.agent.top.source import Source

    MakeSource = Callable[[Callable[[], None]], Source]

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
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="Show what this agent knows, instead of reading here."),
    ] = None,
    bearer_token_file: Annotated[
        Path | None,
        typer.Option("--bearer-token-file", metavar="FILE", help="With --url: file of the agent's token."),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(
            "--ca-file", metavar="FILE", help="With --url: certificates to trust, instead of the system's."
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
    make = (
        _of_agent(url, bearer_token_file, ca_file, runs, wiring)
        if url is not None
        else _of_machine(runs or (), bearer_token_file or ca_file, wiring)
    )
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


def _of_machine(runs: Sequence[Path], unused: Path | None, wiring: Wiring) -> "MakeSource":
    if unused is not None:
        raise OptionError(f"{unused} is for an agent", where="--url", mend="name the agent with --url")
    folders = tuple(folder.expanduser() for folder in runs) or (state_folder() / "runs",)
    for folder in folders if runs else ():
        if not folder.is_dir():
            raise OptionError(
                f"{folder} is no folder", where="--runs", mend="name the folder of a job's runs"
            )

    def make(answered: Callable[[], None]) -> "Source":
        from flyball.agent.top.local import LocalSource
        from flyball.collectors.runs import Runs

        host, clock = platform.node(), wiring.clock
        # An agent's notes spare reading long journals from their begin; they are read, never written.
        notes = state_folder() / "positions.json"
        return LocalSource(
            wiring.collector_types(),
            Runs(folders, clock=clock, host=host, positions=notes),
            clock=clock,
            host=host,
            driver=wiring.driver_version,
            answered=answered,
        )

    return make


def _of_agent(
    url: str, token_file: Path | None, ca_file: Path | None, runs: Sequence[Path] | None, wiring: Wiring
) -> "MakeSource":
    from flyball.agent.top.agent_client import AgentClient, read_token

    if runs:
        mend = "leave out --runs, or --url"
        raise OptionError("an agent has run folders of its own", where="--runs", mend=mend)
    token = read_token(token_file) if token_file is not None else ""
    client = AgentClient(url, token=token, ca_file=ca_file)

    def make(answered: Callable[[], None]) -> "Source":
        from flyball.agent.top.remote import AgentSource

        return AgentSource(client, clock=wiring.clock, answered=answered)

    return make


def _print(make: "MakeSource", wiring: Wiring, seconds: float, *, as_json: bool) -> None:
    from flyball.agent.top.once import one_view
    from flyball.agent.top.printing import print_json, print_view

    source = make(lambda: None)
    try:
        view = one_view(source, clock=wiring.clock, interval_seconds=seconds)
    finally:
        source.close()
    (print_json if as_json else print_view)(view, wiring.out)


def _watch(make: "MakeSource", wiring: Wiring, seconds: float) -> None:
    from flyball.agent.top.live import LiveTop
    from flyball.agent.top.terminal import Terminal

    with Terminal(sys.stdin.fileno() if sys.stdin.isatty() else None) as terminal:
        source = make(terminal.answered)
        try:
            LiveTop(source, terminal, wiring.out, clock=wiring.clock, interval_seconds=seconds).run()
        finally:
            source.close()
