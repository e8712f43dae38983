"""What the ranks say of their links is understood, and slow links are told from busy moments."""

import os
import sys
from itertools import permutations
from pathlib import Path

import pytest

from flyball.clock import SystemClock
from flyball.collectors import catalog
from flyball.collectors.base import Distribution
from flyball.collectors.registry import Surroundings, collector_types
from flyball.collectors.runs import Runs
from flyball.errors import FlyballError, OptionError
from flyball.runner.p2p import worker
from flyball.runner.p2p.journal import write_journal
from flyball.runner.p2p.launch import NotMeasured, Request, heard, measure
from flyball.runner.p2p.links import Link, Links
from flyball.runner.probe.latency import BOUNDS

FAST = 100e-6
SHOWN = ("nccl", "workload")


def links(hosts: str, slow: dict[tuple[int, int], float], *, backend: str = "gloo", size: int = 8) -> Links:
    """All links between ranks on hosts named by a letter each, of equal speed but for ``slow``."""
    found = []
    for src, dst in permutations(range(len(hosts)), 2):
        seconds = slow.get((src, dst), FAST)
        times = {"p10_seconds": seconds, "p50_seconds": seconds, "p99_seconds": 9 * seconds}
        counts = tuple(10 * (bound == seconds) for bound in (*BOUNDS, 0.0))
        found.append(
            Link(src=src, dst=dst, size_bytes=size, rounds=10, counts=counts, sum=10 * seconds, **times)
        )
    return Links(
        started=0.0, backend=backend, torch="2.13.0", concurrent=False, hosts=tuple(hosts),
        devices=("cpu",) * len(hosts), sizes=(size,), links=tuple(found),
    )  # fmt: skip


def both(*pairs: tuple[int, int], seconds: float) -> dict[tuple[int, int], float]:
    return {link: seconds for pair in pairs for link in (pair, pair[::-1])}


SLOW = {
    "all alike": ("aaaa", {}, []),
    "one direction": ("abc", {(0, 1): 1e-3}, [(0, 1)]),
    "one of three hosts": ("abc", both((0, 1), (1, 2), seconds=1e-3), [(0, 1), (1, 0), (1, 2), (2, 1)]),
    "between two hosts": ("aab", both((0, 2), (1, 2), seconds=1e-3), [(0, 2), (1, 2), (2, 0), (2, 1)]),
    "not twice as slow": ("abc", {(0, 1): 1.9 * FAST}, []),
    "within the noise of gloo": ("abc", {(0, 1): 2.5 * FAST}, []),
    "three hosts, slower between them than within": (
        "aabbcc",
        both(*[(a, b) for a in range(6) for b in range(a) if a // 2 != b // 2], seconds=1e-3),
        [],
    ),
}


@pytest.mark.parametrize("case", SLOW)
def test_a_link_is_slow_beside_others_of_its_kind(case: str) -> None:
    hosts, times, expected = SLOW[case]
    assert sorted((link.src, link.dst) for link in links(hosts, times).slow) == expected


def test_nccl_is_held_to_a_finer_measure() -> None:
    assert links("abc", {(0, 1): 2.5 * FAST}, backend="nccl").slow


def test_sizes_are_judged_apart() -> None:
    small, large = links("abc", {}), links("abc", {(0, 1): 1e-3}, size=1 << 20)
    every = [{name: getattr(link, name) for name in Link.__slots__} for link in small.links + large.links]
    joined = Links.read({**small.document(), "sizes": [8, 1 << 20], "links": every})
    assert [(link.src, link.dst, link.size_bytes) for link in joined.slow] == [(0, 1, 1 << 20)]


def test_the_document_says_where_it_comes_from_and_what_is_slow() -> None:
    document = links("ab", {(0, 1): 1e-3}).document()
    assert (document["schema"], document["source"], document["backend"]) == (1, "preflight", "gloo")
    assert document["ranks"][1] == {"rank": 1, "host": "b", "device": "cpu"}
    first = document["links"][0]
    assert (first["slow"], first["slowness"]) == (True, pytest.approx(10.0))
    assert first["bandwidth_bytes_per_second"] == pytest.approx(8 / 1e-3)


@pytest.mark.parametrize("prefix", ["", "host-a: ", "[default0]:"])
def test_what_a_rank_says_is_found_behind_a_launchers_prefix(
    prefix: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    worker.say(3, {"links": ["x" * 10_000]})
    lines = capfdbinary.readouterr().out.decode().splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) < 4096
    noise = ["flyball-p2p", "flyball-p2p 3 one/two x", "Epoch 1"]
    assert heard([*noise, *(prefix + line for line in lines)]) == [{"links": ["x" * 10_000]}]
    assert heard(prefix + line for line in lines[:-1]) == []


def host(name: str, gpus: int) -> dict[str, object]:
    return {"host": name, "gpus": gpus, "device": "cpu"}


BACKENDS = [
    ("auto", [host("a", 2), host("a", 2)], "nccl"),
    ("auto", [host("a", 1), host("b", 1)], "nccl"),
    ("auto", [host("a", 1), host("a", 1)], "gloo"),
    ("auto", [host("a", 1), host("b", 0)], "gloo"),
    ("gloo", [host("a", 2), host("a", 2)], "gloo"),
    ("nccl", [host("a", 2), host("a", 2)], "nccl"),
]


@pytest.mark.parametrize(("wanted", "ranks", "chosen"), BACKENDS)
def test_nccl_is_taken_where_every_rank_has_a_gpu_of_its_own(
    wanted: str, ranks: list[dict[str, object]], chosen: str
) -> None:
    assert worker.choose_backend(wanted, ranks) == chosen


def test_two_ranks_on_one_gpu_are_refused_with_what_to_do() -> None:
    with pytest.raises(worker.Refused, match=r"a has 2 ranks and 1 GPUs .* --backend gloo"):
        worker.choose_backend("nccl", [host("a", 1), host("a", 1)])


def test_percentiles_are_taken_over_all_passes() -> None:
    found = worker.summary([[float(number) for number in range(1, 51)], [float(n) for n in range(51, 101)]])
    assert found == {"rounds": 100, "p10_seconds": 10.0, "p50_seconds": 50.5, "p99_seconds": 99.0}


def launcher(code: str) -> list[str]:
    """A launcher that runs nothing of what it is given."""
    return [sys.executable, "-c", code]


def found(seconds: float, size: int = 8) -> list[dict[str, object]]:
    return [{"size_bytes": size, "p10_seconds": seconds}]


SUSPECTS = [
    ("all alike", ["a"] * 3, {(0, 1): 5e-5, (1, 0): 6e-5, (0, 2): 5e-5, (2, 0): 5e-5}, set()),
    ("one slow", ["a"] * 3, {(0, 1): 5e-5, (1, 0): 9e-5, (0, 2): 5e-5, (2, 0): 5e-5}, {(1, 0)}),
    ("between hosts", ["a", "a", "b"], {(0, 1): 5e-5, (1, 0): 5e-5, (0, 2): 9e-4, (2, 0): 8e-4}, set()),
    ("one of two", ["a", "a", "b"], {(0, 1): 3e-4, (1, 0): 5e-5, (0, 2): 9e-4, (2, 0): 8e-4}, {(0, 1)}),
]


@pytest.mark.parametrize(
    ("hosts", "links", "again"), [case[1:] for case in SUSPECTS], ids=[case[0] for case in SUSPECTS]
)
def test_links_slower_than_their_like_are_visited_again(
    hosts: list[str], links: dict[tuple[int, int], float], again: set[tuple[int, int]]
) -> None:
    assert worker.suspects({pair: found(seconds) for pair, seconds in links.items()}, hosts) == again


def test_a_link_that_is_slow_at_one_size_is_visited_again() -> None:
    links = {(0, 1): found(5e-5) + found(1e-3, 1 << 20), (1, 0): found(5e-5) + found(9e-3, 1 << 20)}
    assert worker.suspects(links, ["a", "a"]) == {(1, 0)}


SAYS = 'import sys; print(\'flyball-p2p 0 1/1 {{"{kind}": "{text}"}}\'); sys.exit({status})'
FAULTS = [
    (launcher(SAYS.format(kind="refused", text="one GPU", status=2)), OptionError, "one GPU"),
    (launcher(SAYS.format(kind="failed", text="rank 1: gone", status=1)), NotMeasured, "rank 1: gone"),
    (launcher("import sys; sys.exit('no host\\n===')"), NotMeasured, "ended with status 1: no host"),
    (launcher("pass"), NotMeasured, "no rank said what it found"),
    (launcher("import time; time.sleep(60)"), NotMeasured, "did not end within 1 s; give it more"),
    (["/nowhere/torchrun"], FlyballError, "cannot start /nowhere/torchrun"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "kind", "text"), FAULTS)
def test_a_fault_is_one_line(
    command: list[str], kind: type[FlyballError], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind) as raised:
        measure(Request(sizes=(8,), timeout_seconds=1.0), command)
    assert text in str(raised.value)


@pytest.mark.parametrize("missing", ["RANK", "WORLD_SIZE", "LOCAL_RANK"])
def test_a_launcher_that_says_nothing_of_ranks_is_refused(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, others in worker.RANK_VARIABLES.items():
        for each in (name, *others):
            monkeypatch.delenv(each, raising=False)
        if name != missing:
            monkeypatch.setenv(name, "0")
    with pytest.raises(worker.Refused, match=f"sets no {missing}"):
        worker.place()


def test_mpis_names_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, others in worker.RANK_VARIABLES.items():
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
        monkeypatch.setenv(others[0], "1")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(worker.Refused, match="MASTER_ADDR"):
        worker.place()
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "29500")
    assert worker.place() == (1, 1, 1)


def test_the_agent_shows_what_was_measured_and_takes_it_for_no_run(tmp_path: Path) -> None:
    folder = write_journal(tmp_path / "runs", links("ab", {(1, 0): 1e-3}))
    clock = SystemClock()
    around = Surroundings(
        host="a", clock=clock, runs=Runs([tmp_path / "runs"], clock=clock, host=os.uname().nodename)
    )
    types = collector_types()
    collectors = {name: types[name].make(types[name].settings(), around) for name in SHOWN}
    first = [sample.value for sample in collectors["nccl"].collect()]
    assert {value.count for value in first if isinstance(value, Distribution)} == {0}
    samples = {name: list(collector.collect()) for name, collector in collectors.items()}
    assert {sample.metric for sample in samples["nccl"]} == {catalog.P2P_LATENCY}
    shown = {sample.labels: sample.value for sample in samples["nccl"]}
    slow = shown[folder.name, "1", "0", "8KiB", "preflight", "gloo"]
    assert isinstance(slow, Distribution)
    assert (slow.count, slow.sum) == (10, pytest.approx(10e-3))
    assert slow.counts[BOUNDS.index(1e-3)] == 10
    assert [sample for sample in samples["workload"] if folder.name in sample.labels] == []
