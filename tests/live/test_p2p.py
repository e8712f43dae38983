"""``flyball p2p`` with real ranks: on loopback, between hosts over a shaped link, and where a rank dies."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.live.hosts import MBIT_100, Host
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.live

FLYBALL = [sys.executable, "-c", "from flyball.agent.cli import main; main()"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
MIB = 1 << 20


def p2p(*arguments: str) -> subprocess.CompletedProcess[str]:
    return flyball("p2p", *arguments)


def flyball(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*FLYBALL, *arguments], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


def links(document: dict[str, Any], size: int) -> dict[tuple[int, int], dict[str, Any]]:
    return {(link["src"], link["dst"]): link for link in document["links"] if link["size_bytes"] == size}


@pytest.mark.parametrize("options", [[], ["--concurrent"]], ids=["one by one", "at once"])
def test_every_link_of_this_host_is_measured_in_both_directions(options: list[str]) -> None:
    done = p2p("--ranks", "3", "--backend", "gloo", "--sizes", "8,64KiB", "--json", *options)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    (newest, *_) = json.loads(flyball("history", "p2p", "--json").stdout)
    assert newest["document"] == document
    assert document["source"] == "preflight"
    assert document["sizes"] == [8, 65536]
    for size in document["sizes"]:
        found = links(document, size)
        assert sorted(found) == [(src, dst) for src in range(3) for dst in range(3) if src != dst]
        for link in found.values():
            assert 0 < link["p10_seconds"] <= link["p50_seconds"] <= link["p99_seconds"] < 1
            assert link["bandwidth_bytes_per_second"] == pytest.approx(size / link["p50_seconds"])


DIES = """
import os, runpy, sys
if os.environ["RANK"] == "1":
    os.kill(os.getpid(), 9)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_rank_that_dies_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "dies.py").write_text(DIES)
    launcher = [*TORCHRUN, "--standalone", "--nproc-per-node=2", str(tmp_path / "dies.py")]
    done = p2p("--sizes", "8", "--", *launcher)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "SIGKILL" in done.stderr
    assert done.stderr.count("\n") == 1


def test_ranks_that_wait_for_one_that_never_comes_are_ended_in_time() -> None:
    launcher = [*TORCHRUN, "--nnodes=2", "--node-rank=0", "--master-addr=127.0.0.1", "--master-port=0"]
    done = p2p("--timeout", "5s", "--", *launcher, "--nproc-per-node=1")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_one_rank_is_no_link() -> None:
    done = p2p("--", *TORCHRUN, "--standalone", "--nproc-per-node=1")
    assert done.returncode == 2
    assert done.stderr == "error: there is one rank and so no link; start at least two\n"


def test_the_slow_link_between_two_hosts_is_found_at_the_size_where_it_is_slow(
    hosts: tuple[Host, Host],
) -> None:
    for host in hosts:
        host.shape(*MBIT_100)
    first, second = hosts
    launcher = [*TORCHRUN, "--nnodes=2", f"--master-addr={first.address}", "--master-port=29400"]
    measure = [*FLYBALL, "p2p", "--sizes", "8,1MiB", "--json", "--", *launcher]
    started = [
        subprocess.Popen(
            host.command(*measure, f"--node-rank={number}", f"--nproc-per-node={ranks}"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, (host, ranks) in enumerate(((first, 2), (second, 1)))
    ]
    try:
        said = [process.communicate(timeout=PATIENCE_SECONDS) for process in started]
    finally:
        for process in started:
            process.kill()
    for process, (_, errors) in zip(started, said, strict=True):
        assert process.returncode == 0, errors
    # Each host has the whole result.
    document, other = (json.loads(out) for out, _ in said)
    assert document["links"] == other["links"]
    assert [rank["host"] for rank in document["ranks"]] == ["host-a", "host-a", "host-b"]
    between = {(0, 2), (2, 0), (1, 2), (2, 1)}
    assert {pair for pair, link in links(document, MIB).items() if link["slow"]} == between
    assert [pair for pair, link in links(document, 8).items() if link["slow"]] == []
    for pair in between:
        # 100 Mbit/s are 12.5 MB/s.
        assert 8e6 < links(document, MIB)[pair]["bandwidth_bytes_per_second"] < 14e6
