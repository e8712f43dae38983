"""PyTorch's flight recorder: every operation counted once, durations only where true, hangs reported."""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.distributed as dist

from flyball.runner.probe.flight_entries import UNSEEN, Reader, oldest_pending, payload
from flyball.runner.probe.flight_recorder import (
    LOOK_SECONDS,
    PENDING_SECONDS,
    READ_SECONDS,
    FlightRecorder,
    keep_ring_small,
    recorder_of,
)
from flyball.runner.probe.latency import Latencies

EPOCH = 1_800_000_000.0


def entry(number: int, name: str = "nccl:all_reduce", *, done: bool = True, **fields: Any) -> dict[str, Any]:
    """As torch 2.13 writes it, what is not read left out."""
    return {
        "record_id": number, "process_group": ("0", "default_pg"), "profiling_name": name,
        "is_p2p": "send" in name or "recv" in name,
        "input_sizes": [[4, 8]], "input_dtypes": ["BFloat16"], "output_sizes": [[4, 8]],
        "output_dtypes": ["BFloat16"], "state": "completed" if done else "scheduled",
        "time_created_ns": int(EPOCH * 1e9), "time_discovered_started_ns": None,
        "time_discovered_completed_ns": int((EPOCH + 2) * 1e9) if done else None, **fields,
    }  # fmt: skip


@dataclass
class Recorder:
    """A ring and clocks that move only when told to; ``cost`` is what a dump takes."""

    ring: list[dict[str, Any]] = field(default_factory=list)
    time: float = 0.0
    cost: float = 0.0
    dumps: list[bool] = field(default_factory=list)
    spent: float = 0.0
    records: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def dump(self, *, includeCollectives: bool, includeStackTraces: bool, onlyActive: bool) -> bytes:  # noqa: N803
        assert includeCollectives
        assert not includeStackTraces
        self.dumps.append(onlyActive)
        self.spent += self.cost
        entries = [found for found in self.ring if not (onlyActive and found["state"] == "completed")]
        groups = {"0": {"ranks": "[4, 5]"}}
        return pickle.dumps({"version": "2.10", "pg_config": groups, "entries": entries})

    def record(self, kind: str, **fields: Any) -> None:
        self.records.append((kind, fields))

    def of_kind(self, kind: str) -> Sequence[Mapping[str, Any]]:
        return [fields for found, fields in self.records if found == kind]

    def follow(self) -> FlightRecorder:
        return FlightRecorder(
            self.dump,
            self.record,
            clock=lambda: self.time,
            now=lambda: EPOCH + self.time,
            stopwatch=lambda: self.spent,
        )


def test_every_operation_is_counted_once_by_its_name() -> None:
    recorder = Recorder(ring=[entry(0), entry(1, "nccl:_all_gather_base"), entry(2, "nccl:recv 0<-1")])
    follower = recorder.follow()
    follower.tick()
    recorder.ring += [entry(3), entry(4)]
    recorder.time = READ_SECONDS
    follower.tick()
    counts = [record["operations"] for record in recorder.of_kind("communication")]
    assert counts == [{"all_reduce": 1, "all_gather_base": 1, "recv": 1}, {"all_reduce": 2}]


def test_what_the_ring_has_dropped_is_counted_without_a_name() -> None:
    reader, latencies = Reader(), Latencies()
    reader.read([entry(0), entry(1)], {}, latencies)
    reader.read([entry(5), entry(6)], {}, latencies)
    assert latencies.operations == {"all_reduce": 4, UNSEEN: 3}


def test_a_recorder_that_was_reset_is_read_from_its_start() -> None:
    reader, latencies = Reader(), Latencies()
    reader.read([entry(7)], {}, latencies)
    reader.read([entry(0), entry(1)], {}, latencies)
    assert latencies.operations == {"all_reduce": 3}


def test_without_durations_there_is_no_latency() -> None:
    recorder = Recorder(ring=[entry(0), entry(1, "nccl:recv 0<-1")])
    recorder.follow().tick()
    (record,) = recorder.of_kind("communication")
    assert (record["collectives"], record["p2p"]) == ([], [])


def test_a_duration_is_taken_once_when_it_becomes_known() -> None:
    reader, latencies = Reader(), Latencies()
    reader.read([entry(0, done=False), entry(1, duration_ms=2.0)], {}, latencies)
    reader.read([entry(0, duration_ms=4.0), entry(1, duration_ms=2.0)], {}, latencies)
    reader.read([entry(0, duration_ms=4.0), entry(1, duration_ms=2.0)], {}, latencies)
    histogram = latencies.collectives[("all_reduce", "8KiB", "flight_recorder")]
    assert sum(histogram.counts) == 2
    assert histogram.sum == pytest.approx(6e-3)


@pytest.mark.parametrize(
    ("name", "links"), [("nccl:recv 0<-1", [(5, 4)]), ("nccl:send 1->0", []), ("nccl:recv 0<-9", [])]
)
def test_a_message_is_named_by_its_global_ranks_where_it_is_received(
    name: str, links: list[tuple[int, int]]
) -> None:
    recorder = Recorder(ring=[entry(0, name, duration_ms=0.04)])
    recorder.follow().tick()
    (record,) = recorder.of_kind("communication")
    assert [(found["src"], found["dst"]) for found in record["p2p"]] == links


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({}, 64),
        ({"output_sizes": [[8, 8]], "output_dtypes": ["Float"]}, 256),
        ({"input_sizes": [[2], [3]], "input_dtypes": ["Long", "Byte"], "output_sizes": []}, 19),
        ({"input_sizes": [[]], "output_sizes": [[]]}, 2),
    ],
)
def test_the_payload_is_the_larger_side(fields: dict[str, Any], size: int) -> None:
    assert payload(entry(0, **fields)) == size


def test_a_hang_is_reported_once_with_its_age_and_once_when_it_is_over() -> None:
    recorder = Recorder(ring=[entry(0), entry(1, done=False)])
    follower = recorder.follow()
    for now in (0.0, PENDING_SECONDS, PENDING_SECONDS + LOOK_SECONDS, 2 * READ_SECONDS):
        recorder.time = now
        follower.tick()
    assert recorder.of_kind("pending") == [{"op": "all_reduce", "seconds": 10.0, "edge": "begin"}]
    recorder.ring[1] = entry(1, time_discovered_completed_ns=int((EPOCH + 25) * 1e9))
    recorder.time = 4 * READ_SECONDS
    follower.tick()
    assert recorder.of_kind("pending")[1:] == [{"op": "all_reduce", "seconds": 25.0, "edge": "end"}]


def test_a_hang_is_seen_by_a_look_between_two_reads() -> None:
    recorder = Recorder()
    follower = recorder.follow()
    follower.tick()
    recorder.ring.append(entry(0, done=False))
    follower.reads.due_at = 1000.0
    recorder.time = PENDING_SECONDS - 1
    follower.tick()
    assert recorder.of_kind("pending") == []
    recorder.time = PENDING_SECONDS + LOOK_SECONDS
    follower.tick()
    assert recorder.of_kind("pending") == [{"op": "all_reduce", "seconds": 15.0, "edge": "begin"}]
    assert recorder.dumps == [False, True, True, False]


PENDING = [
    ([entry(0, done=False)], 0),
    ([entry(0)], None),
    ([entry(0, done=False), entry(1)], None),
    ([entry(0, done=False), entry(1, process_group=("1", "other"))], 0),
    ([entry(0, "nccl:send 0->1", done=False), entry(1)], 0),
    ([entry(0, "nccl:send 0->1", done=False), entry(1, "nccl:send 0->2")], 0),
    ([entry(0, "nccl:send 0->1", done=False), entry(1, "nccl:send 0->1")], None),
    ([entry(0, "nccl:send 0->1", done=False), entry(1, "nccl:coalesced", is_p2p=True)], None),
    ([entry(0, "nccl:send 0->1", done=False), entry(1, "nccl:coalesced", is_p2p=True, done=False)], 0),
]


@pytest.mark.parametrize(("entries", "number"), PENDING)
def test_what_a_later_operation_has_overtaken_is_not_pending(
    entries: list[dict[str, Any]], number: int | None
) -> None:
    found = oldest_pending(entries)
    assert (found.record_id if found else None) == number


def test_reading_slows_down_until_it_costs_less_than_a_thousandth() -> None:
    recorder = Recorder(ring=[entry(0)], cost=0.1)
    follower = recorder.follow()
    while recorder.time < 3600:
        follower.tick()
        recorder.time += LOOK_SECONDS
    assert len(recorder.dumps) > 10
    assert recorder.spent / recorder.time < 1e-3


def test_a_cheap_read_comes_at_its_own_interval() -> None:
    recorder = Recorder(ring=[entry(0)], cost=1e-3)
    follower = recorder.follow()
    while recorder.time < 100:
        follower.tick()
        recorder.time += LOOK_SECONDS
    assert recorder.dumps.count(False) == 10


@pytest.mark.parametrize(
    ("version", "given", "after"),
    [
        ("2.13.0+cu130", {}, {"TORCH_FR_BUFFER_SIZE": "1024"}),
        ("2.6.0", {}, {"TORCH_NCCL_TRACE_BUFFER_SIZE": "1024"}),
        ("2.13.0", {"TORCH_FR_BUFFER_SIZE": "9"}, {"TORCH_FR_BUFFER_SIZE": "9"}),
        ("2.13.0", {"TORCH_NCCL_TRACE_BUFFER_SIZE": "9"}, {"TORCH_NCCL_TRACE_BUFFER_SIZE": "9"}),
    ],
)
def test_the_users_own_ring_is_kept(version: str, given: dict[str, str], after: dict[str, str]) -> None:
    keep_ring_small(given, version)
    assert given == after


def test_torchs_own_entries_are_understood() -> None:
    c10d = torch._C._distributed_c10d
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        assert recorder_of(torch) is None  # one rank, and no NCCL
        recorder = Recorder()
        follower = FlightRecorder(c10d._dump_fr_trace, recorder.record)
        follower.read()
        recorder.records.clear()
        dist.all_reduce(torch.zeros(3))
        follower.read()
    finally:
        dist.destroy_process_group()
    (record,) = recorder.of_kind("communication")
    assert record["operations"] == {"all_reduce": 1}
