"""What DeepSpeed would refuse, or silently not do: every rule over one config, without importing it.

Usable alone: ``check`` for findings, ``require_legal`` for the first error as one line with its place.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from flyball.errors import ConfigError
from flyball.tuners.config import ConfigDocument
from flyball.tuners.context import Batch, Context
from flyball.tuners.finding import Finding, Rule, Severity
from flyball.tuners.legality_batch import RULES as BATCH_RULES
from flyball.tuners.legality_communication import RULES as COMMUNICATION_RULES
from flyball.tuners.legality_optimizer import RULES as OPTIMIZER_RULES
from flyball.tuners.legality_precision import RULES as PRECISION_RULES
from flyball.tuners.legality_shape import RULES as SHAPE_RULES
from flyball.tuners.legality_versions import RULES as VERSION_RULES
from flyball.tuners.legality_zero import RULES as ZERO_RULES

__all__ = ["Batch", "Context", "Finding", "Severity", "check", "errors", "require_legal"]

RULES: tuple[Rule, ...] = (
    *SHAPE_RULES,
    *VERSION_RULES,
    *BATCH_RULES,
    *PRECISION_RULES,
    *ZERO_RULES,
    *OPTIMIZER_RULES,
    *COMMUNICATION_RULES,
)


def check(ds_config: Mapping[str, Any], context: Context) -> list[Finding]:
    """Return every finding over ``ds_config``, errors first."""
    findings = [finding for rule in RULES for finding in rule(ds_config, context)]
    return sorted(findings, key=lambda finding: finding.severity is not Severity.ERROR)


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that DeepSpeed would refuse."""
    return [finding for finding in findings if finding.severity is Severity.ERROR]


def require_legal(document: ConfigDocument, context: Context) -> list[Finding]:
    """Return the warnings over a config that DeepSpeed would accept.

    Raises:
        ConfigError: the first error, with file, line, key path and mend.
    """
    findings = check(document.values, context)
    for finding in errors(findings):
        raise ConfigError(finding.what, where=document.place(finding.key), mend=finding.mend)
    return findings
