"""The sections of a config that DeepSpeed checks by a model of its own, each beside that model's fields."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flyball.tuners.config.deepspeed_facts import Field, facts_of
from flyball.tuners.config.reading import read
from flyball.tuners.legality.context import Context

ALIASES = {"bfloat16": "bf16"}
"""A section's older name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedSection:
    """One section as it stands in a config."""

    name: str
    """Its key path, as written."""
    model: str
    """Its key path by the newer name, as in ``DeepSpeedFacts.sections``."""
    content: Mapping[str, Any]
    fields: Mapping[str, Field]


def checked_sections(config: Mapping[str, Any], context: Context) -> Iterator[CheckedSection]:
    """Yield those of a config; bfloat16 is read only where bf16 is not there."""
    models = facts_of(context.deepspeed_version).sections
    for name in (*models, *ALIASES):
        model, content = ALIASES.get(name, name), read(config, name)
        is_unread = name in ALIASES and read(config, model) is not None
        if isinstance(content, Mapping) and model in models and not is_unread:
            yield CheckedSection(name=name, model=model, content=content, fields=models[model])
