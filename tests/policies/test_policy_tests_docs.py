"""docs/policy_tests.md names every key of a file of tests, and its example passes."""

import re
from pathlib import Path

import pytest

from flyball.policies.expectation_file import read_scenarios
from flyball.policies.expectation_keys import AlertsKeys, ExpectedKeys, FileKeys, ScenarioKeys, SeriesKeys
from flyball.policies.expectation_run import failures
from flyball.policies.series_notation import Mark, read_values
from flyball.tuners.knobs.registry import BY_NAME

PAGE = (Path(__file__).parents[2] / "docs" / "policy_tests.md").read_text("utf-8")
KEYS = sorted(
    {
        name
        for model in (FileKeys, ScenarioKeys, SeriesKeys, AlertsKeys, ExpectedKeys)
        for name in model.model_fields
    }
)
WRITTEN = re.findall(r"^\| `([^`|]+)` \| `([^`]+)`", PAGE, flags=re.MULTILINE)


def test_the_keys_of_the_table_are_those_that_exist() -> None:
    table = PAGE.partition("| key |")[2].partition("###")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)) == KEYS


def test_the_example_passes(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    path = tmp_path / "example.yaml"
    path.write_text(example, "utf-8")
    scenarios = read_scenarios(path, known_knobs=BY_NAME)
    assert len(scenarios.scenarios) == 3
    assert [text for each in scenarios.scenarios for text in failures(each, scenarios)] == []


@pytest.mark.parametrize(
    ("written", "meant"),
    [pair for pair in WRITTEN if re.fullmatch(r"[-0-9._x+]+", pair[0]) and " " in pair[1]],
)
def test_values_stand_for_what_the_table_says(written: str, meant: str) -> None:
    assert read_values(written) == read_values(meant)


def test_every_mark_is_in_the_table() -> None:
    assert {mark.value for mark in Mark} <= set(re.findall(r"^\| `(\S+)` \|", PAGE, flags=re.MULTILINE))
