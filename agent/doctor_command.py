"""``flyball doctor``: what is in order on this machine, a line each, with the mend where it is not."""

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from flyball.agent.database_option import Database
from flyball.agent.redact import redact_urls
from flyball.agent.study_options import absolute, current_folder
from flyball.agent.text import clean
from flyball.agent.wiring import Wiring
from flyball.settings import AGENT_PORT, history_url, state_folder

_FAILING_STATUS = 1


def doctor(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Check this DeepSpeed config too.")
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(
            "--python",
            metavar="PATH",
            help="The workload's interpreter; by default python in PATH, else ours.",
        ),
    ] = None,
    db: Database = None,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="Print JSON.")] = False,
) -> None:
    """Check drivers, libraries, rights, limits and leftovers; exit 1 when something does not work."""
    from flyball.agent.doctor.base import Level, Question
    from flyball.agent.doctor.checks import examine

    wiring: Wiring = context.obj
    cwd = current_folder()
    question = Question(
        python=python or shutil.which("python") or sys.executable,
        config=absolute(config, cwd, where="--config") if config else None,
        database_url=db or history_url(),
        state=state_folder(),
        cwd=cwd,
        agent_port=AGENT_PORT,
    )
    found = []
    for finding in examine(question):
        found.append(finding)
        if not as_json:
            mend = f"; {finding.mend}" if finding.mend else ""
            line = redact_urls(clean(f"{finding.name}: {finding.text}{mend}"))
            wiring.out.write(f"{finding.level.value:<8} {line}\n")
            wiring.out.flush()
    failed = any(finding.level is Level.FAILING for finding in found)
    if as_json:
        document = {"failing": failed, "checks": [asdict(finding) for finding in found]}
        wiring.out.write(redact_urls(json.dumps(document, indent=2)) + "\n")
    if failed:
        raise typer.Exit(_FAILING_STATUS)
