"""The DeepSpeed config, by the rules that a study holds it against."""

from collections.abc import Iterable, Mapping
from typing import Any

from flyball.agent.doctor.base import Finding, Level, Question, failing, ok
from flyball.collectors.nvml_inventory import list_gpus
from flyball.errors import ConfigError
from flyball.tuners.config import known, load_document
from flyball.tuners.context import Context
from flyball.tuners.finding import Severity
from flyball.tuners.legality import check as legality


def check(question: Question) -> Iterable[Finding]:
    """Every finding over the config, where one was given."""
    if question.config is None:
        return
    try:
        document = load_document(question.config)
    except ConfigError as error:
        yield failing("config", f"{error.where}: {error.what}", error.mend or "")
        return
    gpus = len(list_gpus()[0])
    context = Context(world_size=_ranks(document.values, gpus or 1), device="cuda" if gpus else "cpu")
    findings = legality(document.values, context)
    for finding in findings:
        level = Level.FAILING if finding.severity is Severity.ERROR else Level.WARNING
        text = f"{document.place(finding.key)}: {finding.what}"
        yield Finding(name="config", level=level, text=text, mend=finding.mend)
    if not findings:
        yield ok("config", f"{question.config}: nothing that DeepSpeed would refuse or pass over")


def _ranks(config: Mapping[str, Any], default: int) -> int:
    """How many ranks the config was written for, where its batch sizes tell."""
    whole, micro, accumulation = (
        known(config, key, fallback)
        for key, fallback in (
            ("train_batch_size", 0),
            ("train_micro_batch_size_per_gpu", 0),
            ("gradient_accumulation_steps", 1),
        )
    )
    sizes = (whole, micro, accumulation)
    if all(type(each) is int and each > 0 for each in sizes) and whole % (micro * accumulation) == 0:
        return int(whole // (micro * accumulation))
    return default
