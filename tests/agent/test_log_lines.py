"""What the daemon's log lines look like."""

import json
import re

import pytest

from flyball.agent.daemon import logs
from flyball.agent.daemon.config import LogFormat, LogLevel

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        pytest.param("up", "up", id="a word"),
        pytest.param("not up", '"not up"', id="a space"),
        pytest.param('say "a=b"', '"say \\"a=b\\""', id="quotes and an equals sign"),
        pytest.param("one\ntwo", "one\\ntwo", id="a line break"),
        pytest.param(None, "", id="nothing"),
        pytest.param(True, "true", id="a truth"),
    ],
)
def test_a_line_of_text(value: object, written: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.TEXT, LogLevel.INFO)
    logs.Lines().warning("it %s", state=value)
    time, rest = capsys.readouterr().err.removesuffix("\n").split(" ", 1)
    assert _TIME.fullmatch(time.removeprefix("timestamp="))
    assert rest == f'level=warning event="it %s" state={written}'


def test_a_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.JSON, LogLevel.INFO)
    logs.Lines().error("it is", state="not up", since=1.5)
    line = json.loads(capsys.readouterr().err)
    assert _TIME.fullmatch(line.pop("timestamp"))
    assert line == {"level": "error", "event": "it is", "state": "not up", "since": 1.5}


def test_what_is_below_the_level_is_not_said(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.TEXT, LogLevel.WARNING)
    logs.Lines().info("all is well")
    assert capsys.readouterr().err == ""
