"""Rules as a rule file of Prometheus'
(https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/).

Prometheus then raises the same alerts from the same samples. What rules with ``while`` look at is recorded
first, by rules in front of them in the same group, which are evaluated in this order. ``suggests`` is for
the tuner alone and is left out.
"""

import io
from collections.abc import Iterable, Mapping
from typing import Any

from ruamel.yaml import YAML

from flyball.policies.promql import condition, duration, recordings
from flyball.policies.rule import Rule
from flyball.policies.template import prometheus_template

_HEAD = "# Written by 'flyball policies export --format prometheus'; change the policies, not this file.\n"


def prometheus_rules(rules: Iterable[Rule], *, group: str = "flyball") -> str:
    """Return a rule file with one group, which is evaluated at Prometheus' own interval, in order."""
    chosen = tuple(rules)
    records = {name: text for rule in chosen for name, text in recordings(rule).items()}
    entries = [
        *({"record": name, "expr": text} for name, text in records.items()),
        *map(_entry, chosen),
    ]
    document = {"groups": [{"name": group, "rules": entries}]}
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.allow_unicode = True
    writer.width = 1 << 20
    stream = io.StringIO()
    writer.dump(document, stream)
    return _HEAD + stream.getvalue()


def _entry(rule: Rule) -> Mapping[str, Any]:
    entry: dict[str, Any] = {"alert": rule.alert, "expr": condition(rule)}
    if rule.for_seconds:
        entry["for"] = duration(rule.for_seconds)
    if rule.keep_firing_for_seconds:
        entry["keep_firing_for"] = duration(rule.keep_firing_for_seconds)
    labels = {**rule.labels, "severity": rule.severity.value}
    entry["labels"] = {name: _literal(value) for name, value in labels.items()}
    if rule.annotations:
        entry["annotations"] = {name: prometheus_template(text) for name, text in rule.annotations.items()}
    return entry


def _literal(text: str) -> str:
    """Text that Prometheus, whose labels are templates, leaves as it is."""
    return text.replace("{{", '{{ "{{" }}')
