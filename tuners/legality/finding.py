"""One thing wrong with a config, and the shape of the rules that find it."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flyball.tuners.legality.context import Context
from flyball.tuners.legality.rule_catalog import CATALOG, Severity

__all__ = ["Finding", "Rule", "Severity", "found", "shown"]

_SHOWN = 60
"""Characters of a value that a finding quotes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What is wrong, at which key path, by which rule, and what to write instead."""

    rule: str
    """Its name in ``rule_catalog``."""
    key: str
    """Dotted key path; empty for the whole config, ``$NAME`` for a variable of the environment."""
    what: str
    mend: str

    @property
    def severity(self) -> Severity:
        """How grave it is."""
        return CATALOG[self.rule].severity

    @property
    def refused(self) -> bool:
        """Whether DeepSpeed refuses the config for it."""
        entry = CATALOG[self.rule]
        return entry.severity is Severity.ERROR and entry.refused


Rule = Callable[[Mapping[str, Any], Context], Iterator[Finding]]


def found(rule: str, key: str, what: str, mend: str) -> Finding:
    """Return a finding of the rule of this name."""
    return Finding(rule=rule, key=key, what=what, mend=mend)


def shown(value: Any) -> str:
    """Return a value as JSON would have it, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool | None) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
