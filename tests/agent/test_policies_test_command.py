"""``flyball policies test``: what is as expected, what is not, and files that cannot be read."""

from pathlib import Path

import pytest

from flyball.agent.cli import run

DEFAULT_TESTS = Path(__file__).parents[1] / "policies" / "default_tests.yaml"
MINE = """policies: [mine.yaml]
tests:
  - name: a long queue
    series:
      - {series: 'queue_length{run="r",rank="0"}', values: '2x3 9x20'}
    alerts:
      - {at: 45s, alert: Queue, expect: []}
      - {at: 2m, alert: Queue, expect: [labels: {run: r, rank: "0", severity: warning}]}
  - name: a short one
    series:
      - {series: 'queue_length{run="r",rank="0"}', values: '2x20'}
    quiet: 5m
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "mine.yaml").write_text("policies: [{alert: Queue, metric: queue_length, above: 5}]", "utf-8")
    path = tmp_path / "mine_tests.yaml"
    path.write_text(MINE, "utf-8")
    return path


def test_all_is_as_expected(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policies", "test", str(mine)]) == 0
    assert capsys.readouterr().out == "ok: 2 tests\n"


def test_what_comes_with_flyball_passes_beside_it(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policies", "test", str(DEFAULT_TESTS), str(mine), str(mine)]) == 0
    assert capsys.readouterr().out.startswith("ok: ")


def test_what_was_expected_and_what_came(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine.write_text(MINE.replace("severity: warning", "severity: info").replace("'2x20'", "'2x4 7'"), "utf-8")
    assert run(["policies", "test", str(mine)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"FAILED {mine}:8: a long queue: Queue at 2m",
        '  expected: {alertname="Queue", rank="0", run="r", severity="info"}',
        '  got: {alertname="Queue", rank="0", run="r", severity="warning"}',
        f"FAILED {mine}:9: a short one: at 1m15s, where all must be quiet",
        '  got: {alertname="Queue", rank="0", run="r", severity="warning"}',
        "  expected: nothing",
        "2 tests, 2 failed",
    ]


def test_faults_of_all_files_are_said_before_any_is_played(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("policies: [mine.yaml]\ntests: [{quiet: 1m, serie: []}]", "utf-8")
    gone = tmp_path / "gone.yaml"
    assert run(["policies", "test", str(mine), str(other), str(gone)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        f"error: {other}:2: tests.0.serie: unknown key; did you mean series?",
        f"error: {gone}: No such file or directory; name a file of tests, see docs/policy_tests.md",
    ]


def test_odd_names_do_not_reach_the_terminal(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine.write_text(MINE.replace("a long queue", '"\\e[31mred"').replace("run: r", 'run: "\\e[0m"'), "utf-8")
    assert run(["policies", "test", str(mine)]) == 1
    assert "\x1b" not in capsys.readouterr().out
