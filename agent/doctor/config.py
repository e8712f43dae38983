"""The DeepSpeed config, by the rules that a study holds it against."""

from collections.abc import Iterable
from pathlib import Path

from flyball.agent.doctor.base import Finding, Level, Question, failing, ok
from flyball.collectors.nvml_inventory import list_gpus
from flyball.errors import ConfigError
from flyball.tuners.config.json_document import JsonError
from flyball.tuners.config.reading import parse_document, read_config
from flyball.tuners.config.tolerant_json import HJSON_RULES
from flyball.tuners.legality.context import has_fp16_instructions
from flyball.tuners.legality.finding import Finding as RuleFinding
from flyball.tuners.legality.finding import Severity
from flyball.tuners.legality.lint import FileReport, held_version, lint_file, ranks_meant
from flyball.tuners.legality.lint import Question as LintQuestion


def check(question: Question) -> Iterable[Finding]:
    """Every finding over the config, where one was given."""
    if question.config is None:
        return
    try:
        data = read_config(question.config)
    except ConfigError as error:
        yield failing("config", f"{error.where}: {error.what}", error.mend or "")
        return
    gpus = len(list_gpus()[0])
    asked = LintQuestion(
        deepspeed_version=held_version(None).version,
        ranks=None if _tells_ranks(question.config, data) else (gpus or 1),
        device="cuda" if gpus else "cpu",
        fp16_on_cpu=has_fp16_instructions(Path("/proc/cpuinfo")),
    )
    yield from _findings(lint_file(question.config, data, asked))


def _findings(report: FileReport) -> Iterable[Finding]:
    if report.unreadable is not None:
        error = report.unreadable
        yield failing("config", f"{error.where}: {error.what}", error.mend or "")
        return
    said = [placed for placed in report.placed if _counts(placed.finding)]
    for placed in said:
        finding, position = placed.finding, placed.position
        level = Level.WARNING if finding.severity is Severity.WARNING else Level.FAILING
        place = f"{report.name}:{position[0]}" if position else report.name
        key = f"{finding.key}: " if finding.key else ""
        yield Finding(name="config", level=level, text=f"{place}: {key}{finding.what}", mend=finding.mend)
    if not said:
        yield ok("config", f"{report.name}: nothing that DeepSpeed would refuse or pass over")


def _counts(finding: RuleFinding) -> bool:
    """Whether it is in a study's way; autotune reads plain JSON, where DeepSpeed takes Hjson too."""
    return finding.severity is not Severity.NOTE or finding.rule in HJSON_RULES


def _tells_ranks(path: Path, data: bytes) -> bool:
    """Whether the batch sizes of the config say how many ranks it was written for."""
    try:
        return ranks_meant(parse_document(path, data).values) is not None
    except (ConfigError, JsonError):
        return False
