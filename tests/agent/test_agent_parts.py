"""Addresses, the lock of the state folder, and what systemd is told."""

import os
from pathlib import Path

import pytest

from flyball.agent.daemon.config import host_and_port
from flyball.agent.daemon.lock import locked
from flyball.agent.daemon.systemd import watchdog_seconds
from flyball.errors import OptionError


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("127.0.0.1:1", ("127.0.0.1", 1)),
        ("[::1]:19753", ("::1", 19753)),
        (":80", ("0.0.0.0", 80)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_addresses(listen: str, expected: tuple[str, int]) -> None:
    assert host_and_port(listen) == expected


@pytest.mark.parametrize(
    "listen", ["", "80", "127.0.0.1:", "127.0.0.1:-1", "127.0.0.1:65536", "a b:1", "h:¹"]
)
def test_what_is_no_address(listen: str) -> None:
    with pytest.raises(ValueError, match="write an address as in"):
        host_and_port(listen)


def test_a_state_folder_has_one_agent_at_a_time(tmp_path: Path) -> None:
    taken = pytest.raises(OptionError, match=rf"another agent \(process {os.getpid()}\)")
    with locked(tmp_path), taken, locked(tmp_path):
        raise AssertionError("two agents have the lock")
    with locked(tmp_path):
        assert (tmp_path / "agent.lock").read_text() == f"{os.getpid()}\n"


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "agent.lock").symlink_to(victim)
    with pytest.raises(OptionError), locked(tmp_path):
        raise AssertionError("the link was followed")
    assert victim.read_text() == "mine"


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("30000000", "", 15.0),
        pytest.param("30000000", str(os.getpid()), 15.0, id="ours"),
        ("30000000", "1", None),
        ("", "", None),
        ("x", "", None),
    ],
)
def test_the_watchdog_is_fed_twice_in_its_time(
    monkeypatch: pytest.MonkeyPatch, usec: str, pid: str, expected: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert watchdog_seconds() == expected
