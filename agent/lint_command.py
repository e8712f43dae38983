"""``flyball lint``: DeepSpeed configs against everything that DeepSpeed refuses or does not do."""

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from flyball.agent.redact import redact_urls
from flyball.agent.text import clean, counted
from flyball.agent.wiring import Wiring
from flyball.errors import BadInput, ConfigError, OptionError

if TYPE_CHECKING:
    from flyball.tuners.legality.lint import FileReport, HeldVersion, Placed, Question

_FOUND_STATUS = 1
STDIN = "-"


class Device(StrEnum):
    """What the ranks compute on."""

    CPU = "cpu"
    CUDA = "cuda"


Files = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="DeepSpeed configs; - reads from stdin.")
]


def lint(
    context: typer.Context,
    files: Files,
    deepspeed_version: Annotated[
        str | None,
        typer.Option(
            "--deepspeed-version",
            metavar="VERSION",
            help="The DeepSpeed to hold against; by default the installed one, else the newest known.",
        ),
    ] = None,
    ranks: Annotated[
        int | None,
        typer.Option("--ranks", metavar="N", min=1, help="How many ranks are fed different samples."),
    ] = None,
    device: Annotated[
        Device | None, typer.Option("--device", help="What the ranks compute on; by default CUDA is assumed.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", metavar="", help="Exit 1 for warnings too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="Print JSON.")] = False,
) -> int:
    """Say all that is wrong with DeepSpeed configs; exit 1 where one has an error."""
    from flyball.tuners.legality.lint import Question, held_version, lint_environment

    wiring: Wiring = context.obj
    held = held_version(_version(deepspeed_version))
    question = Question(deepspeed_version=held.version, ranks=ranks, device=device.value if device else None)
    reports = [_report(path, question) for path in dict.fromkeys(files)]
    if (around := lint_environment(os.environ)).placed:
        reports.append(around)
    if as_json:
        _print_json(wiring.out, reports, question, held)
    else:
        _print_text(wiring, reports, held)
    for report in reports:
        if report.unreadable is not None:
            wiring.err.write(f"error: {redact_urls(clean(str(report.unreadable)))}\n")
    return _status(reports, strict=strict)


def _version(text: str | None) -> str | None:
    if text is not None and not re.match(r"\d+\.\d+", text):
        what, where = f"{text!r} is not a version", "--deepspeed-version"
        raise OptionError(what, where=where, mend="write for example 0.19.8")
    return text


def _status(reports: Sequence["FileReport"], *, strict: bool) -> int:
    from flyball.tuners.legality.finding import Severity
    from flyball.tuners.legality.lint_document import count

    if any(report.unreadable for report in reports):
        return BadInput.exit_status
    grave = [Severity.ERROR, *([Severity.WARNING] if strict else [])]
    return _FOUND_STATUS if any(count(reports, severity) for severity in grave) else 0


def _print_json(
    out: TextIO, reports: Sequence["FileReport"], question: "Question", held: "HeldVersion"
) -> None:
    from flyball.tuners.legality.lint_document import lint_document

    document = lint_document(reports, question, held)
    out.write(redact_urls(json.dumps(document, indent=2)) + "\n")


def _print_text(wiring: Wiring, reports: Sequence["FileReport"], held: "HeldVersion") -> None:
    if held.remark:
        wiring.err.write(f"note: {clean(held.remark)}\n")
    for line in _lines(reports):
        wiring.out.write(redact_urls(clean(line)) + "\n")
    wiring.out.write(_summary(reports) + "\n")


def _report(path: Path, question: "Question") -> "FileReport":
    from flyball.tuners.config.reading import MAX_BYTES, read_config
    from flyball.tuners.legality.lint import FileReport, lint_file

    try:
        if str(path) == STDIN:
            return lint_file(Path("<stdin>"), sys.stdin.buffer.read(MAX_BYTES + 1), question, name=STDIN)
        return lint_file(path, read_config(path), question)
    except ConfigError as error:
        return FileReport(name=str(path), unreadable=error)


def _lines(reports: Sequence["FileReport"]) -> Iterator[str]:
    for report in reports:
        for placed in report.placed:
            yield _line("<stdin>" if report.name == STDIN else report.name, placed)


def _line(name: str, placed: "Placed") -> str:
    finding = placed.finding
    place = name if placed.position is None else f"{name}:{placed.position[0]}:{placed.position[1]}"
    key = f"{finding.key}: " if finding.key else ""
    return f"{place}: {finding.severity.value}: {key}{finding.what}; {finding.mend} [{finding.rule}]"


def _summary(reports: Sequence["FileReport"]) -> str:
    from flyball.tuners.legality.finding import Severity
    from flyball.tuners.legality.lint_document import count

    read = sum(report.unreadable is None and report.name != "environment" for report in reports)
    counts = [
        counted(count(reports, severity), severity.value, f"{severity.value}s") for severity in Severity
    ]
    return f"{', '.join(counts)} in {counted(read, 'file', 'files')}"
