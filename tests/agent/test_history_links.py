"""``flyball history p2p``: what ``flyball p2p`` measured before."""

import json
from pathlib import Path

import pytest
from tests.agent.test_p2p_command import links

from flyball.agent.cli import run
from flyball.agent.p2p_display import render
from flyball.database import open_database
from flyball.history.run_log import RunLog


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A history with two measurements, the second with a slow link."""
    url = f"sqlite:///{tmp_path}/history.db"
    with open_database(url) as database:
        for slow in ({}, {(0, 1): 0.5}):
            found = links(3, seconds=1e-3, slow=slow)
            command = ("torchrun", "--nnodes", "2") if slow else ()
            RunLog(database).add_p2p(host="head", command=command, backend="gloo", document=found.document())
    return url


def test_they_are_listed_the_newest_first(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["history", "p2p", "--db", url]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["2", "1"]
    assert lines[1].split()[-4:] == ["1", "torchrun", "--nnodes", "2"]
    assert run(["history", "p2p", "--db", url, "--json"]) == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == [2, 1]


def test_one_is_shown_as_it_was_printed(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["history", "p2p", "2", "--db", url]) == 0
    assert capsys.readouterr().out == render(links(3, seconds=1e-3, slow={(0, 1): 0.5}))
    assert run(["history", "p2p", "2", "--db", url, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)["document"]
    assert document == json.loads(json.dumps(links(3, seconds=1e-3, slow={(0, 1): 0.5}).document()))


@pytest.mark.parametrize(
    ("number", "message"),
    [("7", "ID: there is no measurement 7; there are 2, 1"), ("x", "ID: "), ("0", "ID: ")],
)
def test_one_that_is_not_there_is_one_line(
    url: str, number: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["history", "p2p", number, "--db", url]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {message}")
    assert shown.count("\n") == 1


def test_before_the_first_it_says_how_to_make_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["history", "p2p"]) == 0
    assert "flyball p2p" in capsys.readouterr().out
