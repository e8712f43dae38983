"""The policies that come with flyball: each fires when it should, and none on what is in order."""

from pathlib import Path

import pytest

from flyball.policies.expectation_file import read_scenarios
from flyball.policies.expectation_run import failures
from flyball.policies.expectations import Scenario
from flyball.policies.rule import Rule
from flyball.tuners.knobs.registry import BY_NAME

TESTS = read_scenarios(Path(__file__).parent / "default_tests.yaml", known_knobs=BY_NAME)
HEALTHY = TESTS.scenarios[0]


@pytest.mark.parametrize("scenario", TESTS.scenarios, ids=lambda scenario: scenario.name)
def test_a_scenario(scenario: Scenario) -> None:
    assert list(failures(scenario, TESTS)) == []


@pytest.mark.parametrize("rule", TESTS.rules, ids=lambda rule: rule.alert)
def test_every_policy_fires_in_some_scenario(rule: Rule) -> None:
    fired = {
        expectation.alert or alert.labels["alertname"]
        for scenario in TESTS.scenarios
        for expectation in scenario.expectations
        for alert in expectation.alerts
    }
    assert rule.alert in fired


@pytest.mark.parametrize("rule", TESTS.rules, ids=lambda rule: rule.alert)
def test_every_policy_has_something_to_look_at_in_the_healthy_run(rule: Rule) -> None:
    assert rule.expression.left.metric in {series.identity.metric for series in HEALTHY.series}
