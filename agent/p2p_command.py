"""``flyball p2p``: measures the links between ranks before a run, and shows which are slow."""

import json
import os
import re
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from flyball.agent.database_option import Database
from flyball.agent.durations import parse_duration
from flyball.agent.redact import redact_urls
from flyball.agent.text import clean
from flyball.agent.wiring import Wiring
from flyball.errors import CommandError, FlyballError, OptionError
from flyball.settings import history_url, state_folder

if TYPE_CHECKING:
    from flyball.runner.p2p.links import Links

EXAMPLE = "flyball p2p -- torchrun --nnodes 2 --node-rank 0 --master-addr HOST --nproc-per-node 1"
BACKENDS = ("auto", "nccl", "gloo")
_UNITS = {"": 0, "b": 0, "k": 10, "kib": 10, "m": 20, "mib": 20, "g": 30, "gib": 30}
"""Powers of two."""
_LARGEST = 4 << 30
_MOST_SIZES = 16
_RANKS_WITHOUT_GPUS = 2


def p2p(
    context: typer.Context,
    ranks: Annotated[
        int | None,
        typer.Option(
            "--ranks", metavar="N", min=2, help="Ranks on this host; by default one for each GPU, else 2."
        ),
    ] = None,
    backend: Annotated[
        str, typer.Option("--backend", metavar="NAME", help="nccl, gloo, or auto: nccl where it can be.")
    ] = "auto",
    sizes: Annotated[
        str, typer.Option("--sizes", metavar="LIST", help="Sizes of the messages: 8,64KiB,1MiB,16MiB.")
    ] = "8,64KiB,1MiB,16MiB",
    concurrent: Annotated[
        bool,
        typer.Option(
            "--concurrent", metavar="", help="Measure disjoint pairs at once, not one after another."
        ),
    ] = False,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="How long it may take: 90s, 10m.")
    ] = "10m",
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="Print the result as JSON.")] = False,
    db: Database = None,
) -> None:
    """Measure latency and bandwidth of every link between ranks, and mark the slow ones.

    Without a command, ranks start on this host. A launcher behind -- starts them where it starts a job's.
    """
    wiring: Wiring = context.obj
    if context.args:
        raise CommandError(
            "p2p takes options only before the --", where=context.args[0], mend=f"as in: {EXAMPLE}"
        )
    if backend not in BACKENDS:
        raise OptionError(
            f"'{backend}' is no backend", where="--backend", mend=f"write one of {', '.join(BACKENDS)}"
        )
    found = _measure(
        parse_sizes(sizes),
        backend=backend,
        concurrent=concurrent,
        timeout_seconds=parse_duration(timeout, where="--timeout"),
        ranks=ranks,
        launcher=wiring.command,
        wiring=wiring,
    )
    if as_json:
        wiring.out.write(json.dumps(found.document(), indent=2) + "\n")
    else:
        from flyball.agent.p2p_display import render

        wiring.out.write(render(found))
    _keep(found, db or history_url(), wiring)


def _keep(found: "Links", database_url: str, wiring: Wiring) -> None:
    """Store the result and give it to the agent; where that fails it has been printed all the same."""
    from flyball.database import open_database
    from flyball.history.run_log import RunLog
    from flyball.runner.p2p.journal import write_journal

    try:
        write_journal(state_folder() / "runs", found)
    except OSError as error:
        wiring.err.write(f"note: not given to the agent: {clean(str(error))}\n")
    try:
        with open_database(database_url) as database:
            RunLog(database).add_p2p(
                host=os.uname().nodename,
                command=wiring.command or (),
                backend=found.backend,
                document=found.document(),
            )
    except FlyballError as error:
        wiring.err.write(f"note: not kept in the history: {redact_urls(clean(str(error)))}\n")


def _measure(
    sizes: tuple[int, ...],
    *,
    backend: str,
    concurrent: bool,
    timeout_seconds: float,
    ranks: int | None,
    launcher: Sequence[str] | None,
    wiring: Wiring,
) -> "Links":
    from flyball.runner.p2p.launch import Request, local_launcher, measure

    if launcher is None:
        count, backend = local_ranks(ranks, backend, wiring)
        launcher = local_launcher(count)
    else:
        check_launcher(launcher, ranks)
    request = Request(sizes=sizes, backend=backend, concurrent=concurrent, timeout_seconds=timeout_seconds)
    return measure(request, launcher)


def check_launcher(launcher: Sequence[str], ranks: int | None) -> None:
    """Refuse a launcher that is none, before anything starts.

    Raises:
        CommandError: nothing stands behind the --, or it is no program.
        OptionError: the launcher decides how many ranks there are.
    """
    if not launcher:
        raise CommandError("there is no launcher behind the --", mend=f"as in: {EXAMPLE}")
    if ranks is not None:
        mend = "take it out, and give the launcher its own option"
        raise OptionError(
            "the launcher behind -- decides how many ranks there are", where="--ranks", mend=mend
        )
    if shutil.which(launcher[0]) is None:
        raise CommandError(
            f"there is no program named {launcher[0]}", mend=f"name a launcher, as in: {EXAMPLE}"
        )


def local_ranks(ranks: int | None, backend: str, wiring: Wiring) -> tuple[int, str]:
    """How many ranks to start on this host, and the backend that they can have.

    Raises:
        OptionError: NCCL was asked for, and there are fewer GPUs than ranks.
    """
    gpus = wiring.count_gpus()
    wanted = ranks or (gpus if gpus >= 2 and backend != "gloo" else _RANKS_WITHOUT_GPUS)
    if backend == "gloo" or gpus >= wanted:
        return wanted, backend
    what = "there is no GPU" if not gpus else f"there is 1 GPU for {wanted} ranks"
    what = what if gpus < 2 else f"there are {gpus} GPUs for {wanted} ranks"
    if backend == "nccl":
        mend = "NCCL refuses two ranks on one GPU: measure this host's own links with --backend gloo"
        raise OptionError(what, where="--backend", mend=mend)
    wiring.err.write(f"note: {what}, so no link between GPUs is measured: these are the host's, by gloo\n")
    return wanted, "gloo"


def parse_sizes(text: str) -> tuple[int, ...]:
    """Bytes of each size, ascending.

    Raises:
        OptionError: one of them is no size, or there are too many.
    """
    found = {_parse_size(part) for part in text.split(",")}
    if len(found) > _MOST_SIZES:
        raise OptionError(f"{len(found)} sizes", where="--sizes", mend=f"give at most {_MOST_SIZES}")
    return tuple(sorted(found))


def _parse_size(text: str) -> int:
    match = re.fullmatch(r"(\d{1,12})\s*([a-z]*)", text.strip().lower())
    size = int(match[1]) << _UNITS[match[2]] if match is not None and match[2] in _UNITS else 0
    if not 1 <= size <= _LARGEST:
        mend = "write bytes up to 4GiB, as in 8,64KiB,1MiB"
        raise OptionError(f"'{text.strip()}' is not a size of a message", where="--sizes", mend=mend)
    return size
