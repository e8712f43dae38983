"""``flyball policies export``: to stdout or a file; the rule file itself is tested in tests/policies."""

from pathlib import Path

import pytest

from flyball.agent.cli import run
from flyball.policies.export import prometheus_rules
from flyball.policies.rule_file import DEFAULT, read_rules
from flyball.tuners.knobs.registry import BY_NAME


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text("policies: [{alert: Queue, metric: queue_length, above: 5}]", "utf-8")
    return path


def test_what_comes_with_flyball_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    expected = prometheus_rules(read_rules([DEFAULT], known_knobs=BY_NAME))
    for arguments in ([], ["default"], ["--format", "prometheus"]):
        assert run(["policies", "export", *arguments]) == 0
        assert capsys.readouterr().out == expected


def test_several_files_make_one(mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "flyball.rules.yml"
    assert run(["policies", "export", "default", str(mine), "--output", str(target)]) == 0
    assert capsys.readouterr().out == ""
    rules = read_rules(["default", mine], known_knobs=BY_NAME)
    assert target.read_text("utf-8") == prometheus_rules(rules)
    assert "flyball_queue_length > 5" in target.read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "grafana"], "error: --format: 'grafana' is no format; write one of prometheus\n"),
        (
            ["gone.yaml"],
            "error: gone.yaml: No such file or directory; name a file of policies, see docs/policies.md\n",
        ),
        (
            ["--output", "/proc/nowhere/x.yml"],
            "error: /proc/nowhere/x.yml: No such file or directory; name a file that you may write to\n",
        ),
    ],
)
def test_what_cannot_be_done(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policies", "export", *arguments]) == 2
    assert capsys.readouterr().err == said


def test_a_file_with_faults_is_not_exported(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine.write_text("policies: [{alert: Queue, metric: queue_lenght, above: 5}]", "utf-8")
    assert run(["policies", "export", str(mine)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "did you mean queue_length?" in told.err
