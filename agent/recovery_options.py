"""The options of ``flyball run`` that checkpoint a run and start it again, and the checks that they need."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from flyball.agent.durations import parse_duration
from flyball.agent.study_options import absolute_folder, current_folder, parse_whole
from flyball.errors import OptionError

DEFAULT_KEPT = 2

CheckpointEvery = Annotated[
    str | None,
    typer.Option(
        "--checkpoint-every",
        metavar="N",
        help="Have the engine checkpoint every N steps, where the script saves none itself.",
    ),
]
CheckpointDir = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint-dir",
        metavar="DIR",
        help="Where these checkpoints go, in a folder a run; by default into the run's folder.",
    ),
]
KeepCheckpoints = Annotated[
    str | None,
    typer.Option("--keep-checkpoints", metavar="N", help="Whole checkpoints that are kept; 2 by default."),
]
MaxRestarts = Annotated[
    str | None,
    typer.Option(
        "--max-restarts",
        metavar="K",
        help="Start the command again from its newest whole checkpoint after a crash, a hang or a lost rank.",
    ),
]
HangAfter = Annotated[
    str | None,
    typer.Option(
        "--hang-after",
        metavar="TIME",
        help="How long no step is a hang; 10 times the longest step so far, at least 5m.",
    ),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovering:
    """What is asked for."""

    checkpoint_every: int
    """Steps; 0: no checkpoints."""
    checkpoint_directory: Path | None
    keep_checkpoints: int
    max_restarts: int
    hang_seconds: float | None


def recovering(
    *,
    checkpoint_every: str | None,
    checkpoint_dir: Path | None,
    keep_checkpoints: str | None,
    max_restarts: str | None,
    hang_after: str | None,
    study: str | None,
) -> Recovering | None:
    """Return what a run is asked to recover from and how; None where it is not.

    Raises:
        OptionError: an option is out of range, or stands without the one that it belongs to.
    """
    every = parse_whole(checkpoint_every, where="--checkpoint-every", least=1, most=10**9)
    restarts = parse_whole(max_restarts, where="--max-restarts", least=0, most=1000)
    for option, value, owner, given in (
        ("--checkpoint-dir", checkpoint_dir, "--checkpoint-every N", every),
        ("--keep-checkpoints", keep_checkpoints, "--checkpoint-every N", every),
        ("--hang-after", hang_after, "--max-restarts K", restarts),
    ):
        if value is not None and given is None:
            raise OptionError(
                f"means nothing without {owner}", where=option, mend=f"add {owner}, or leave it out"
            )
    if every is None and restarts is None:
        return None
    if study is not None:
        raise OptionError(
            "a run of a study is neither checkpointed nor started again by flyball",
            where="--max-restarts" if every is None else "--checkpoint-every",
            mend="leave one of the two out",
        )
    return Recovering(
        checkpoint_every=every or 0,
        checkpoint_directory=absolute_folder(checkpoint_dir, current_folder(), where="--checkpoint-dir"),
        keep_checkpoints=parse_whole(keep_checkpoints, where="--keep-checkpoints", least=1, most=1000)
        or DEFAULT_KEPT,
        max_restarts=restarts or 0,
        hang_seconds=parse_duration(hang_after, where="--hang-after") if hang_after is not None else None,
    )
