"""``flyball run``: a command under the probe, as if flyball were not there, and a summary at its end."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from flyball.agent.arguments import require_command
from flyball.agent.database_option import Database
from flyball.agent.study_options import absolute, check_name, current_folder, parse_whole
from flyball.agent.wiring import Wiring
from flyball.clock import SystemClock
from flyball.errors import CommandError, OptionError
from flyball.settings import history_url, state_folder

EXAMPLE = "flyball run -- deepspeed train.py --deepspeed_config ds.json"


def run(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the run; by default made up.")
    ] = None,
    ping_every_steps: Annotated[
        str | None,
        typer.Option(
            "--ping-every-steps",
            metavar="N",
            help="Measure the links between the ranks every N steps; by default never.",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", metavar="", help="Print no summary.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the summary there as JSON.")
    ] = None,
    db: Database = None,
) -> None:
    """Run a command under the probe, without tuning it, and print a summary at its end.

    Its terminal, its signals and its exit status are its own; whatever fails in flyball, it runs on.
    """
    wiring: Wiring = context.obj
    command = require_command(
        wiring.command, context.args, program="flyball run", purpose="run", example=EXAMPLE
    )
    check_name(name, what="a run")
    every = parse_whole(ping_every_steps, where="--ping-every-steps", least=1, most=10**9)
    target = _json_target(json_file)
    _run(wiring.err, command, name, every or 0, quiet=quiet, target=target, database_url=db or history_url())


def _json_target(path: Path | None) -> Path | None:
    if path is None:
        return None
    whole = absolute(path, current_folder(), where="--json")
    if whole.is_dir() or not whole.parent.is_dir():
        mend = "name a file in a folder that exists"
        raise OptionError(f"{whole} cannot be written", where="--json", mend=mend)
    return whole


def _run(
    err: TextIO,
    command: Sequence[str],
    name: str | None,
    ping_every_steps: int,
    *,
    quiet: bool,
    target: Path | None,
    database_url: str,
) -> None:
    from flyball.agent.run_watch import RunWatch
    from flyball.runner.foreground import leave, run_in_place
    from flyball.runner.watched_folder import make_watched_folder

    watch = RunWatch(folder=None, command=command, database_url=database_url, clock=SystemClock())
    try:
        watch.folder = make_watched_folder(
            state_folder() / "runs", name, command, ping_every_steps=ping_every_steps
        )
    except OSError as error:
        watch.faults.append(f"the run is not watched: {error.filename}: {error.strerror}")
    environment = watch.folder.environment if watch.folder else os.environ
    try:
        ending = run_in_place(command, environment, started=watch.begin)
    except CommandError:
        if watch.folder is not None:
            shutil.rmtree(watch.folder.path, ignore_errors=True)
        raise
    try:
        _tell(err, watch.end(ending), quiet=quiet, target=target, faults=watch.faults)
    except Exception as error:  # a closed stderr, a full disk: the command's status is what counts
        watch.faults.append(f"{type(error).__name__}: {error}")
    leave(ending)


def _tell(
    err: TextIO, known: dict[str, Any], *, quiet: bool, target: Path | None, faults: Sequence[str]
) -> None:
    from flyball.agent.redact import redact_urls
    from flyball.agent.run_display import summary_lines
    from flyball.agent.text import clean
    from flyball.history.columns import plain

    lines = [] if quiet else summary_lines(known)
    if faults:
        lines.append(redact_urls(clean("flyball: " + "; ".join(faults))))
    if target is not None:
        try:
            target.write_text(json.dumps(plain(known), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            lines.append(clean(f"flyball: {target} was not written: {error.strerror}"))
    if lines:
        err.write("\n".join(lines) + "\n")
        err.flush()
