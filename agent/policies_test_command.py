"""``flyball policies test``: series in, expected alerts out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from flyball.agent.redact import redact_urls
from flyball.agent.text import clean
from flyball.agent.wiring import Wiring
from flyball.errors import FlyballError, PolicyError

if TYPE_CHECKING:
    from flyball.policies.expectations import Scenarios

_FAILING_STATUS = 1


def run_tests(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of tests.")],
) -> None:
    """Play series to policies and compare the alerts with the expected ones; exit 1 where they differ."""
    wiring: Wiring = context.obj
    failed = count = 0
    for scenarios in _read(files):
        count += len(scenarios.scenarios)
        failed += _play(scenarios, wiring.out)
    tests = f"{count} test" if count == 1 else f"{count} tests"
    wiring.out.write(f"{tests}, {failed} failed\n" if failed else f"ok: {tests}\n")
    if failed:
        raise typer.Exit(_FAILING_STATUS)


def _read(files: list[Path]) -> "list[Scenarios]":
    from flyball.policies.expectation_file import read_scenarios
    from flyball.tuners.knobs.registry import BY_NAME

    read, faults = [], list[FlyballError]()
    for path in dict.fromkeys(files):
        try:
            read.append(read_scenarios(path, known_knobs=BY_NAME))
        except PolicyError as error:
            faults.extend(error.faults)
    if faults:
        raise PolicyError(faults)
    return read


def _play(scenarios: "Scenarios", out: TextIO) -> int:
    """How many failed; what was expected of each and what came is printed."""
    from flyball.policies.expectation_run import failures

    failed = 0
    for scenario in scenarios.scenarios:
        reports = list(failures(scenario, scenarios))
        failed += bool(reports)
        for report in reports:
            head, *lines = report.split("\n")
            out.write(redact_urls(f"FAILED {clean(head)}\n"))
            for line in lines:
                indent = line[: len(line) - len(line.lstrip())]
                out.write(redact_urls(f"{indent}{clean(line)}\n"))
    return failed
