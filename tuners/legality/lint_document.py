"""What ``flyball lint`` found, as JSON: ``schema/lint.schema.json``."""

from collections.abc import Mapping, Sequence
from typing import Any

from flyball.tuners.legality.finding import Severity
from flyball.tuners.legality.lint import FileReport, HeldVersion, Placed, Question

SCHEMA_VERSION = 1


def lint_document(reports: Sequence[FileReport], question: Question, held: HeldVersion) -> Mapping[str, Any]:
    """Return the document."""
    return {
        "schema": SCHEMA_VERSION,
        "deepspeed": {"version": held.version, "named_or_installed": held.wanted, "remark": held.remark},
        "ranks": question.ranks,
        "device": question.device,
        **{f"{severity.value}s": count(reports, severity) for severity in Severity},
        "unreadable": sum(report.unreadable is not None for report in reports),
        "files": [_file(report) for report in reports],
    }


def count(reports: Sequence[FileReport], severity: Severity) -> int:
    """How many findings of all files are that grave."""
    return sum(report.count(severity) for report in reports)


def _file(report: FileReport) -> dict[str, Any]:
    error = report.unreadable
    return {
        "name": report.name,
        "unreadable": None if error is None else {"what": error.what, "mend": error.mend or ""},
        "findings": [_finding(placed) for placed in report.placed],
    }


def _finding(placed: Placed) -> dict[str, Any]:
    finding, position = placed.finding, placed.position
    return {
        "rule": finding.rule,
        "severity": finding.severity.value,
        "line": position[0] if position else None,
        "column": position[1] if position else None,
        "key": finding.key,
        "what": finding.what,
        "mend": finding.mend,
    }
