"""``flyball policies check``: every fault on a line of its own, or that all is in order."""

import json
from pathlib import Path

import pytest

from flyball.agent.cli import run
from flyball.policies.rule_file import DEFAULT, read_rules
from flyball.tuners.knobs.registry import BY_NAME

FAULTY = """policies:
  - alert: Hot
    metric: gpu_temprature_celsius
    above: 90
    suggests: [micro_bach]
"""
FAULTS = [
    (
        "3: policies.0.metric",
        "'gpu_temprature_celsius' is no metric",
        "did you mean gpu_temperature_celsius?",
    ),
    ("5: policies.0.suggests", "'micro_bach' is no knob", "did you mean micro_batch?"),
]


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    (tmp_path / "faulty.yaml").write_text(FAULTY, "utf-8")
    return tmp_path / "faulty.yaml"


def test_what_comes_with_flyball_is_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("policies: [{alert: Mine, metric: host_load1, above: 99}]", "utf-8")
    count = len(read_rules([DEFAULT], known_knobs=BY_NAME))
    assert run(["policies", "check", "default"]) == 0
    assert run(["policies", "check", "default", str(mine)]) == 0
    assert run(["policies", "check", str(mine)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"ok: {count} policies in 1 file",
        f"ok: {count + 1} policies in 2 files",
        "ok: 1 policy in 1 file",
    ]


def test_every_fault_is_one_line(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policies", "check", "default", str(faulty)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        f"error: {faulty}:{where}: {what}; {mend}" for where, what, mend in FAULTS
    ]


def test_as_json(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policies", "check", "--json", str(faulty)]) == 2
    assert json.loads(capsys.readouterr().out) == {
        "ok": False,
        "files": 1,
        "policies": None,
        "faults": [
            {"where": f"{faulty}:{where}", "what": what, "mend": mend} for where, what, mend in FAULTS
        ],
    }
    assert run(["policies", "check", "--json", "default", "default"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["files"], told["faults"]) == (True, 1, [])


def test_a_file_cannot_write_to_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.yaml").write_text('policies: [{alert: "A\\e[31m\\nB", metric: loss, above: 1}]', "utf-8")
    assert run(["policies", "check", str(tmp_path / "p.yaml")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "\x1b" not in told


def test_without_a_file_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policies", "check"]) == 2
    assert "FILE...: is missing" in capsys.readouterr().err
