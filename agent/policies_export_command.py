"""``flyball policies export``: the same rules for another program."""

from pathlib import Path
from typing import Annotated

import typer

from flyball.agent.wiring import Wiring
from flyball.errors import OptionError

FORMATS = ("prometheus",)


def export(
    context: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE...]", help="Files of policies; by default those that come with flyball."
        ),
    ] = None,
    format_name: Annotated[
        str, typer.Option("--format", metavar="NAME", help="prometheus: a rule file of Prometheus'.")
    ] = "prometheus",
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write to this file, not to stdout.")
    ] = None,
) -> None:
    """Write policies as rules that Prometheus evaluates itself."""
    from flyball.policies.export import prometheus_rules
    from flyball.policies.rule_file import read_rules
    from flyball.tuners.knobs.registry import BY_NAME

    if format_name not in FORMATS:
        mend = f"write one of {', '.join(FORMATS)}"
        raise OptionError(f"'{format_name}' is no format", where="--format", mend=mend)
    wiring: Wiring = context.obj
    text = prometheus_rules(read_rules(files or ["default"], known_knobs=BY_NAME))
    if output is None:
        wiring.out.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        mend = "name a file that you may write to"
        raise OptionError(error.strerror or str(error), where=str(output), mend=mend) from error
