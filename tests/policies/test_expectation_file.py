"""Files that test policies: what they become, and what is refused in which words.

Each file of ``bad_tests/`` is named after its fault; ``bad_tests/EXPECTED.txt`` has all that is said of it.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest

from flyball.collectors import catalog
from flyball.errors import PolicyError
from flyball.policies.expectation_file import read_scenarios
from flyball.policies.expectations import Expectation, ExpectedAlert, Scenario, Scenarios
from flyball.policies.replay import PlayedSeries
from flyball.policies.rule_file import DEFAULT, read_rules
from flyball.policies.series_notation import Identity, Mark
from flyball.tuners.knobs.registry import BY_NAME

BAD = Path(__file__).parent / "bad_tests"


def expected() -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {path.name: [] for path in sorted(BAD.glob("*.yaml"))}
    of = ""
    for line in (BAD / "EXPECTED.txt").read_text("utf-8").splitlines():
        if line.startswith("# "):
            of = line.removeprefix("# ")
        else:
            found[of].append(line)
    return found


@pytest.mark.parametrize("name", expected())
def test_every_fault_is_told_with_its_line_and_mend(name: str) -> None:
    with pytest.raises(PolicyError) as caught:
        read_scenarios(BAD / name, known_knobs=BY_NAME)
    told = str(caught.value).replace(f"{BAD}/", "").split("\n")
    assert told == expected()[name]
    assert all("; " in line for line in told)


def read(tmp_path: Path, text: str) -> Scenarios:
    path = tmp_path / "tests.yaml"
    path.write_text(text, encoding="utf-8")
    return read_scenarios(path, known_knobs=BY_NAME)


def test_what_a_file_becomes(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
policies: [default]
interval: 10s
tests:
  - name: the loss is lost
    series:
      - {series: 'loss{run="r",rank="0"}', values: 2 _ stale}
    alerts:
      - at: 1m30s
        alert: LossNan
        expect:
          - labels: {run: r, rank: "0", severity: critical}
            annotations: {summary: gone}
      - {at: 2m, expect: []}
    quiet: 20s
""",
    )
    assert found == Scenarios(
        rules=read_rules([DEFAULT], known_knobs=BY_NAME),
        interval_seconds=10.0,
        scenarios=(
            Scenario(
                name="the loss is lost",
                series=(
                    PlayedSeries(
                        identity=Identity(metric=catalog.LOSS, labels=("r", "0")),
                        points=(2.0, Mark.GAP, Mark.STALE),
                    ),
                ),
                expectations=(
                    Expectation(
                        time=90.0,
                        alert="LossNan",
                        alerts=(
                            ExpectedAlert(
                                labels={
                                    "run": "r",
                                    "rank": "0",
                                    "severity": "critical",
                                    "alertname": "LossNan",
                                },
                                annotations={"summary": "gone"},
                            ),
                        ),
                        place=f"{tmp_path}/tests.yaml:9",
                    ),
                    Expectation(time=120.0, alert="", alerts=(), place=f"{tmp_path}/tests.yaml:14"),
                ),
                quiet_seconds=20.0,
                place=f"{tmp_path}/tests.yaml:5",
            ),
        ),
    )


def test_policies_lie_where_the_file_does(tmp_path: Path) -> None:
    policy = "policies: [{alert: Queue, metric: queue_length, above: 3}]"
    (tmp_path / "own.yaml").write_text(policy, encoding="utf-8")
    found = read(tmp_path, "{policies: [own.yaml], tests: [{quiet: 1m}]}")
    assert [rule.alert for rule in found.rules] == ["Queue"]
    assert found.interval_seconds == 15.0
    assert found.scenarios[0].name == "test 1"
