"""What DeepSpeed would refuse, or silently not do: every rule over one config, without importing it.

Usable alone: ``check`` for findings, ``require_legal`` for the first error as one line with its place;
``tuners.lint`` does whole files.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from flyball.errors import ConfigError
from flyball.tuners.config.reading import ConfigDocument
from flyball.tuners.legality.batch import RULES as BATCH_RULES
from flyball.tuners.legality.checkpointing import RULES as CHECKPOINTING_RULES
from flyball.tuners.legality.communication import RULES as COMMUNICATION_RULES
from flyball.tuners.legality.context import Batch, Context
from flyball.tuners.legality.environment import RULES as ENVIRONMENT_RULES
from flyball.tuners.legality.fields import RULES as FIELD_RULES
from flyball.tuners.legality.finding import Finding, Rule, Severity
from flyball.tuners.legality.instruments import NOTES as INSTRUMENT_NOTES
from flyball.tuners.legality.instruments import RULES as INSTRUMENT_RULES
from flyball.tuners.legality.offload import RULES as OFFLOAD_RULES
from flyball.tuners.legality.optimizer import RULES as OPTIMIZER_RULES
from flyball.tuners.legality.precision import RULES as PRECISION_RULES
from flyball.tuners.legality.scheduler import RULES as SCHEDULER_RULES
from flyball.tuners.legality.shape import RULES as SHAPE_RULES
from flyball.tuners.legality.unresolved import NOTES as UNRESOLVED_NOTES
from flyball.tuners.legality.versions import RULES as VERSION_RULES
from flyball.tuners.legality.zero import RULES as ZERO_RULES

__all__ = ["Batch", "Context", "Finding", "Severity", "check", "errors", "require_legal"]

RULES: tuple[Rule, ...] = (
    *SHAPE_RULES,
    *VERSION_RULES,
    *FIELD_RULES,
    *BATCH_RULES,
    *PRECISION_RULES,
    *ZERO_RULES,
    *OFFLOAD_RULES,
    *OPTIMIZER_RULES,
    *SCHEDULER_RULES,
    *COMMUNICATION_RULES,
    *CHECKPOINTING_RULES,
    *INSTRUMENT_RULES,
    *ENVIRONMENT_RULES,
)
NOTES: tuple[Rule, ...] = (*INSTRUMENT_NOTES, *UNRESOLVED_NOTES)
"""Rules that tell what is worth knowing to who reads a config, and are nothing to a study."""
_ORDER = list(Severity)


def check(ds_config: Mapping[str, Any], context: Context, *, notes: bool = False) -> list[Finding]:
    """Return every finding over ``ds_config``, errors first, then warnings.

    Args:
        ds_config: the config's values.
        context: the job around it.
        notes: run the rules that only tell what is worth knowing, too, and keep all notes.
    """
    rules = (*RULES, *NOTES) if notes else RULES
    findings = [finding for rule in rules for finding in rule(ds_config, context)]
    kept = (finding for finding in findings if notes or finding.severity is not Severity.NOTE)
    return sorted(kept, key=lambda finding: _ORDER.index(finding.severity))


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings for which DeepSpeed would refuse the config."""
    return [finding for finding in findings if finding.refused]


def require_legal(document: ConfigDocument, context: Context) -> list[Finding]:
    """Return what is wrong with a config that DeepSpeed would accept.

    Raises:
        ConfigError: the first thing that DeepSpeed refuses, with file, line, key path and mend.
    """
    findings = check(document.values, context)
    for finding in errors(findings):
        raise ConfigError(finding.what, where=document.place(finding.key), mend=finding.mend)
    return findings
