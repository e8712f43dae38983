"""``flyball probe``: the probe for jobs that flyball does not start itself."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from flyball.agent.study_options import absolute_folder, current_folder
from flyball.errors import OptionError
from flyball.settings import state_folder

probe_app = typer.Typer(help="Put the probe where jobs that flyball does not start can load it.")


@probe_app.callback()
def _probe() -> None:
    """Keep ``install`` a sub-command although it is the only one."""


@probe_app.command(epilog='Example: eval "$(flyball probe install /opt/flyball/probe)"')
def install(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to put the probe in.")],
    run_dir: Annotated[
        Path | None,
        typer.Option(
            "--run-dir",
            metavar="DIR",
            help="Folder for the journals; by default runs/<name of DIR> in flyball's state folder.",
        ),
    ] = None,
    ping_every_steps: Annotated[
        int,
        typer.Option(
            "--ping-every-steps",
            metavar="N",
            min=0,
            help="Measure the latency of the job's own links every N steps; 0, the default: never.",
        ),
    ] = 0,
) -> None:
    """Copy the probe into DIR and print the environment to set, as shell commands."""
    from flyball.runner.probe_install import install as install_probe
    from flyball.runner.watched_folder import make_run_folder

    cwd = current_folder()
    target = absolute_folder(directory, cwd, where="DIR")
    assert target is not None
    journals = absolute_folder(run_dir, cwd, where="--run-dir") or state_folder() / "runs" / target.name
    settings = {
        "run": journals.name,
        "purpose": "run",
        "directory": str(journals),
        "ping_every_steps": ping_every_steps,
    }
    try:
        if not journals.is_dir():
            journals.parent.mkdir(parents=True, exist_ok=True)
            make_run_folder(journals)
        environment = install_probe(target, settings)
    except OSError as error:
        mend = "name a folder that you may write to"
        raise OptionError(error.strerror or str(error), where=str(error.filename), mend=mend) from error
    for name, value in environment.items():
        typer.echo(_export(name, value))


def _export(name: str, value: str) -> str:
    # The user's own path stays, behind ours: flyball's sitecustomize hands on to the one that it shadows.
    rest = f'"${{{name}:+:${name}}}"' if name == "PYTHONPATH" else ""
    return f"export {name}={shlex.quote(value)}{rest}"
