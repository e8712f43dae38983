"""What NCCL and gloo took of their variables, told by NCCL's log and by open sockets."""

import os
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.runner.probe_fakes import read, watched

from flyball.runner.probe.knobs import apply_knobs
from flyball.runner.probe.meter import ATTRIBUTE
from flyball.runner.probe.network import NCCL, ask_nccl, interfaces_in_use
from flyball.tuners.legality.nccl_variables import VARIABLES

LOG = """\
NCCL version 2.28.9+cuda13.0
host:7:9 [0] NCCL INFO NCCL_ALGO set by environment to allreduce:tree
host:7:9 [0] NCCL INFO NCCL_MIN_NCHANNELS set by environment to 8.
host:7:9 [0] NCCL INFO NCCL_SOCKET_IFNAME set by environment to =eth0
"""


def test_nccl_is_asked_to_say_what_it_takes(tmp_path: Path) -> None:
    environment = {"NCCL_ALGO": "Ring"}
    ask_nccl(str(tmp_path / "first"), environment)
    # A child process of the trial inherits what its parent asked for, and asks for its own folder.
    ask_nccl(str(tmp_path / "second"), environment)
    assert environment["NCCL_DEBUG"] == "INFO"
    assert environment["NCCL_DEBUG_SUBSYS"] == "ENV"
    assert environment["NCCL_DEBUG_FILE"] == str(tmp_path / "second" / "nccl-log.%h.%p")


@pytest.mark.parametrize(
    "own", [{}, {"GLOO_SOCKET_IFNAME": "eth0"}, {"NCCL_ALGO": "Ring", "NCCL_DEBUG": "WARN"}]
)
def test_without_a_variable_or_with_a_log_of_the_users_nothing_changes(own: dict[str, str]) -> None:
    environment = dict(own)
    ask_nccl("/trial", environment)
    assert environment == own


def witness(folder: Path, **settings: Any) -> dict[str, Any] | None:
    with watched(folder, **settings) as (engine, probe):
        apply_knobs(probe, engine, engine.__dict__[ATTRIBUTE])
        for _ in range(4):
            engine._take_model_step()
    record = read(folder).last("witness")
    return None if record is None else dict(record["value"])


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*VARIABLES, "NCCL_DEBUG", "NCCL_DEBUG_FILE", "NCCL_DEBUG_SUBSYS"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_trial_tells_what_nccl_took(tmp_path: Path, quiet: pytest.MonkeyPatch) -> None:
    quiet.setenv("NCCL_ALGO", "allreduce:tree")
    for name in ("NCCL_DEBUG", "NCCL_DEBUG_SUBSYS"):
        quiet.setenv(name, "")
    quiet.setenv("NCCL_DEBUG_FILE", str(tmp_path / "nccl-log.%h.%p"))
    (tmp_path / f"nccl-log.host.{os.getpid()}").write_text(LOG)
    (tmp_path / "nccl-log.host.1").write_text("x NCCL INFO NCCL_PROTO set by environment to LL\n")
    found = witness(tmp_path, purpose="trial")
    assert found is not None
    assert found["told"] == {
        "NCCL_ALGO": "allreduce:tree",
        "NCCL_MIN_NCHANNELS": "8",
        "NCCL_SOCKET_IFNAME": "=eth0",
    }


def test_where_nccl_logs_for_the_user_nobody_can_say(tmp_path: Path, quiet: pytest.MonkeyPatch) -> None:
    quiet.setenv("NCCL_ALGO", "Ring")
    quiet.setenv("NCCL_DEBUG", "INFO")
    found = witness(tmp_path, purpose="trial")
    assert found is not None
    assert found["told"] is None


def test_a_run_without_such_a_variable_tells_nothing(tmp_path: Path, quiet: pytest.MonkeyPatch) -> None:
    assert witness(tmp_path, purpose="trial") is None
    quiet.setenv("NCCL_ALGO", "Ring")
    assert witness(tmp_path, purpose="run") is None


def test_the_interface_of_an_open_connection_is_named() -> None:
    outside = {
        each.address: name
        for name, found in psutil.net_if_addrs().items()
        for each in found
        if each.family == socket.AF_INET and name != "lo"
    }
    if not outside:
        pytest.skip("this host has no interface but the loopback")
    address, name = next(iter(outside.items()))
    with (
        socket.create_server((address, 0)) as server,
        socket.create_connection(server.getsockname()),
        server.accept()[0],
    ):
        assert name in (interfaces_in_use() or [])


def test_a_loopback_connection_is_none() -> None:
    before = interfaces_in_use()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        assert interfaces_in_use() == before
        assert "lo" not in (before or [])


def test_the_probe_watches_the_variables_that_the_knobs_set() -> None:
    assert {*NCCL, "GLOO_SOCKET_IFNAME"} == set(VARIABLES)
