"""How a run was started, as the agent keeps it."""

from pathlib import Path
from typing import Any

import pytest
from tests.collectors.journal_fakes import Host, header, only, step

from flyball.collectors.run_origin import (
    MOST_CHARACTERS,
    MOST_CONFIG_CHARACTERS,
    MOST_TOKENS,
    Origin,
    read_origin,
)

COMMAND = ["python", "-u", "train.py", "--note", "two\nlines"]
LAUNCHER = ["deepspeed", "train.py"]
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def started(**fields: Any) -> bytes:
    return header(**{"command": COMMAND, "working_directory": "/job", "config": {"a": 1}, **fields})


def test_the_header_of_rank_0_says_how_the_run_was_started(host: Host) -> None:
    host.write(started(launcher=LAUNCHER) + step(1) + header(1.0, engine=1))
    origin = only(host.runs()).origin
    assert origin == Origin(
        command=tuple(COMMAND), launcher=tuple(LAUNCHER), working_directory="/job", config={"a": 1}
    )
    assert origin.starts == tuple(LAUNCHER)


def test_without_a_launcher_its_own_command_starts_it(host: Host) -> None:
    host.write(started(launcher=None))
    origin = only(host.runs()).origin
    assert origin is not None
    assert origin.starts == tuple(COMMAND)


def test_a_process_that_goes_on_is_started_by_its_own_command(host: Host) -> None:
    host.write(started(launcher=LAUNCHER) + header(1.0, pid=200, started=4_500.0))
    assert only(host.runs()).origin is None
    host.clock.advance(1.0)
    host.write(started(at=2.0, pid=300, started=4_600.0, command=["python", "again.py"]))
    origin = only(host.runs()).origin
    assert origin is not None
    assert origin.starts == ("python", "again.py")


def test_a_restart_of_the_agent_keeps_it(host: Host) -> None:
    host.write(started(launcher=LAUNCHER))
    first = host.runs()
    before = only(first).origin
    first.save()
    assert before is not None
    assert only(host.runs()).origin == before


@pytest.mark.parametrize(
    "command",
    [
        None,
        "train.py",
        [],
        ["a", 1],
        ["x"] * (MOST_TOKENS + 1),
        ["x" * (MOST_CHARACTERS + 1)],
        ["\udcff"],
        ["\0"],
    ],
    ids=["null", "a text", "empty", "a number", "many words", "too long", "half a character", "a zero byte"],
)
def test_a_command_that_is_none_leaves_the_run_watched(host: Host, command: Any) -> None:
    host.write(started(command=command) + step(1))
    state = only(host.runs())
    assert (state.origin, state.step, state.torn_lines) == (None, 1, 0)


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        ("config", {"text": "x" * MOST_CONFIG_CHARACTERS}, None),
        ("config", ["a"], None),
        ("config", {"deep": DEEP}, None),
        ("working_directory", 7, ""),
        ("working_directory", "/" + "x" * 4096, ""),
        ("launcher", {"a": 1}, ()),
    ],
)
def test_what_is_too_large_or_wrong_is_left_out(field: str, value: Any, kept: Any) -> None:
    origin = read_origin({"command": COMMAND, field: value})
    assert origin is not None
    assert getattr(origin, field) == kept
