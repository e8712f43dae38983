"""``flyball policies``: looks at files of policies."""

import json
from pathlib import Path
from typing import Annotated, TextIO

import typer

from flyball.agent.policies_export_command import export
from flyball.agent.policies_test_command import run_tests
from flyball.agent.redact import redact_urls
from flyball.agent.text import clean, counted
from flyball.agent.wiring import Wiring
from flyball.errors import PolicyError

policies_app = typer.Typer(
    help="Check and test policies before an agent takes them, or hand them to Prometheus."
)
policies_app.command("test", epilog="Example: flyball policies test mine_tests.yaml")(run_tests)
policies_app.command("export", epilog="Example: flyball policies export --output flyball.rules.yml")(export)

Files = Annotated[
    list[Path],
    typer.Argument(metavar="FILE...", help="Files of policies; default is the one that comes with flyball."),
]


@policies_app.command(epilog="Example: flyball policies check default mine.yaml")
def check(
    context: typer.Context,
    files: Files,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="Print JSON.")] = False,
) -> int:
    """Say all that is wrong with files of policies, or that they are in order."""
    from flyball.policies.rule_file import read_rules
    from flyball.tuners.knobs.registry import BY_NAME

    wiring: Wiring = context.obj
    count = len(dict.fromkeys(files))
    try:
        rules = read_rules(files, known_knobs=BY_NAME)
    except PolicyError as error:
        if not as_json:
            raise
        _print_json(wiring.out, files=count, policies=None, error=error)
        return error.exit_status
    if as_json:
        _print_json(wiring.out, files=count, policies=len(rules), error=None)
    else:
        found, of = counted(len(rules), "policy", "policies"), counted(count, "file", "files")
        wiring.out.write(f"ok: {found} in {of}\n")
    return 0


def _print_json(out: TextIO, *, files: int, policies: int | None, error: PolicyError | None) -> None:
    faults = [
        {"where": clean(fault.where or ""), "what": clean(fault.what), "mend": clean(fault.mend or "")}
        for fault in (error.faults if error is not None else ())
    ]
    document = {"ok": error is None, "files": files, "policies": policies, "faults": faults}
    out.write(redact_urls(json.dumps(document, indent=2, ensure_ascii=False)) + "\n")
