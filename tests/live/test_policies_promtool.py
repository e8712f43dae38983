"""The same alerts at the same times from flyball's engine and from Prometheus with the exported rules.

``FLYBALL_PARITY_CASES=5000`` asks for more cases, ``FLYBALL_PARITY_SEED=1`` for others.
"""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from tests.policies.parity_cases import Case, make_case
from tests.policies.promtool_tests import Timeline, faults, write

from flyball.collectors.base import Kind
from flyball.history.alert_records import AlertStatus
from flyball.policies.expectation_file import read_scenarios
from flyball.policies.replay import replay
from flyball.policies.rule import Aggregate, Arithmetic, Comparison, Operand
from flyball.tuners.knobs.registry import BY_NAME

pytestmark = pytest.mark.live

CASES = int(os.environ.get("FLYBALL_PARITY_CASES", "500"))
SEED = int(os.environ.get("FLYBALL_PARITY_SEED", "0"))
ENOUGH_FOR_ALL = 500
"""With so many cases each part of the language must have raised an alert somewhere."""
DEFAULT_TESTS = Path(__file__).parents[1] / "policies" / "default_tests.yaml"
AT_A_TIME = 250
"""Files for one promtool."""


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool: install Debian's package prometheus")
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    version = re.search(r"version (\d+)\.(\d+)", told.stdout + told.stderr)
    if version is None or not (2, 42) <= (int(version[1]), int(version[2])) < (3, 0):
        pytest.skip(f"windows of {version and version[0]} do not include both ends, as 2.42's do")
    return found


def played(case: Case) -> Timeline:
    times = case.evaluation_times
    return list(replay(case.rules, case.series, interval_seconds=case.interval_seconds, times=times))


def make_cases(count: int) -> list[Case]:
    cases: list[Case] = []

    @seed(SEED)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(min_value=0, max_value=2**64 - 1))
    def make(number: int) -> None:
        cases.append(make_case(str(number)))

    make()
    return cases


def parts_of(case: Case, timeline: Timeline) -> Iterator[object]:
    """What of the language this case shows: parts of a rule that raised an alert, and ways of alerts."""
    rule, expression = case.rules[0], case.rules[0].expression
    alerts = [alert for _, each in timeline for alert in each if alert.rule == rule.alert]
    if not any(alert.status is AlertStatus.FIRING for alert in alerts):
        return
    yield "fired"
    if rule.absent:
        yield "absent over a window" if expression.left.window_seconds else "absent"
    else:
        yield rule.comparison
        yield from parts_of_operand(expression.left, rule.within_seconds)
    if expression.arithmetic and expression.right:
        yield expression.arithmetic
        same = expression.right.metric is expression.left.metric
        yield "baseline" if same and expression.right.offset_seconds else "two metrics"
    if expression.left.offset_seconds:
        yield "offset"
    for name in ("phase", "within_seconds", "keep_firing_for_seconds", "for_seconds"):
        if getattr(rule, name):
            yield name
    if any(alert.quiet_time is not None for alert in alerts):
        yield "kept firing"
    if not timeline[-1][1]:
        yield "resolved"
    if any(len({alert.rule for alert in each}) > 1 for _, each in timeline):
        yield "two rules"


def parts_of_operand(operand: Operand, within_seconds: float) -> Iterator[object]:
    yield operand.metric.kind, operand.aggregate
    if within_seconds > operand.window_seconds > 0:
        yield "reaches back"
    yield from ((matcher.match, "matcher") for matcher in operand.matchers)


EVERY_PART: Sequence[object] = (
    *Comparison,
    *Arithmetic,
    *((Kind.GAUGE, aggregate) for aggregate in Aggregate if aggregate not in {"rate", "increase"}),
    *((Kind.COUNTER, aggregate) for aggregate in (Aggregate.LAST, Aggregate.RATE, Aggregate.INCREASE)),
    *((Kind.HISTOGRAM, aggregate) for aggregate in Aggregate if aggregate not in {"last", "min", "max"}),
    *("absent", "absent over a window", "baseline", "two metrics", "offset", "phase"),
    *("for_seconds", "keep_firing_for_seconds", "kept firing", "resolved", "two rules"),
    *("within_seconds", "reaches back"),
)


def test_random_rules_over_random_series(promtool: str, tmp_path: Path) -> None:
    cases = make_cases(CASES)
    assert len({case.seed for case in cases}) == CASES
    shown: Counter[object] = Counter()
    files: dict[Path, Case] = {}
    evaluations = 0
    for number, case in enumerate(cases):
        timeline = played(case)
        evaluations += len(timeline)
        shown.update(set(parts_of(case, timeline)))
        files[write(case, timeline, tmp_path, str(number))] = case
    paths = list(files)
    different: dict[Path, str] = {}
    for begin in range(0, len(paths), AT_A_TIME):
        different |= faults(promtool, paths[begin : begin + AT_A_TIME])
    counts = f"{CASES} cases, {evaluations} evaluations, {shown['fired']} fired, {len(different)} different"
    sys.stdout.write(f"\n{counts}\n")  # to be seen with pytest -s
    assert not different, "\n".join(f"seed {files[path].seed}:\n{text}" for path, text in different.items())
    if CASES >= ENOUGH_FOR_ALL:
        assert [part for part in EVERY_PART if not shown[part]] == []
        assert shown["fired"] > CASES / 4


def test_the_policies_that_come_with_flyball_in_their_own_tests(promtool: str, tmp_path: Path) -> None:
    scenarios = read_scenarios(DEFAULT_TESTS, known_knobs=BY_NAME)
    files: dict[Path, str] = {}
    for number, scenario in enumerate(scenarios.scenarios):
        case = Case(
            seed=scenario.name,
            rules=scenarios.rules,
            series=scenario.series,
            interval_seconds=scenarios.interval_seconds,
            evaluation_seconds=60.0,
        )
        files[write(case, played(case), tmp_path, str(number))] = case.seed
    assert {files[path]: text for path, text in faults(promtool, list(files)).items()} == {}


def test_a_timeline_that_is_wrong_in_one_place_would_be_seen(promtool: str, tmp_path: Path) -> None:
    case = next(case for case in make_cases(50) if any(alerts for _, alerts in played(case)))
    right = played(case)
    place = next(number for number, (_, alerts) in enumerate(right) if alerts)
    wrong = [*right[:place], (right[place][0], ()), *right[place + 1 :]]
    assert faults(promtool, [write(case, right, tmp_path, "right")]) == {}
    path = write(case, wrong, tmp_path, "wrong")
    assert "FAILED" in faults(promtool, [path])[path]
