"""docs/policies.md names every key, and its examples are policies."""

import re
import textwrap
from pathlib import Path

import pytest

from flyball.collectors.catalog import PHASES
from flyball.policies.humanized import FORMATS
from flyball.policies.keys import BaselineKeys, PolicyKeys, WhileKeys
from flyball.policies.rule import Aggregate, Severity
from flyball.policies.rule_file import read_rules
from flyball.policies.template import fill
from flyball.tuners.knobs.registry import BY_NAME

PAGE = (Path(__file__).parents[2] / "docs" / "policies.md").read_text("utf-8")
KEYS = [
    field.alias or name
    for model in (PolicyKeys, BaselineKeys, WhileKeys)
    for name, field in model.model_fields.items()
]
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
FILTERS = re.findall(r"^\| `(\w+)` \| `humanize.* \| `(.*)` \| `(.*)` \| `(.*)` \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(
    "key", [*KEYS, *PHASES, *Aggregate, *Severity, *FORMATS, "not", "regex", "not_regex"]
)
def test_every_key_and_word_is_documented(key: str) -> None:
    assert re.search(rf"`[^`\n]*\b{key}\b[^`\n]*`", PAGE)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_are_in_order(tmp_path: Path, example: str) -> None:
    text = example if example.startswith("policies:") else "policies:\n" + example
    (tmp_path / "example.yaml").write_text(textwrap.dedent(text), "utf-8")
    assert read_rules([tmp_path / "example.yaml"], known_knobs=BY_NAME)


@pytest.mark.parametrize(("name", "half", "ninety", "many"), FILTERS)
def test_filters_write_what_the_table_shows(name: str, half: str, ninety: str, many: str) -> None:
    text = f"{{{{ value | {name} }}}}"
    shown = [fill(text, labels={}, value=value) for value in (0.5, 90.0, 1_500_000.0)]
    assert shown == [half, ninety, many]


def test_there_is_something_to_look_at() -> None:
    assert len(EXAMPLES) == 3
    assert {name for name, *_ in FILTERS} == set(FORMATS)
