"""What the collectors say of the journals: workload, allocator, communication."""

from pathlib import Path

import pytest
from tests.collectors.journal_fakes import CLOCK, MEMORY, Host, communication, header, line, step, steps

from flyball.collectors.allocator import AllocatorCollector
from flyball.collectors.base import Collector, Distribution, Unavailable
from flyball.collectors.nccl import NcclCollector
from flyball.collectors.registry import Surroundings
from flyball.collectors.unprobed import Unprobed
from flyball.collectors.workload import WorkloadCollector

Series = dict[tuple[str, ...], float | Distribution | Unavailable]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def around(host: Host) -> Surroundings:
    return Surroundings(host="here", clock=host.clock, runs=host.runs())


def collect(collector: Collector) -> Series:
    return {(each.metric.name, *each.labels): each.value for each in collector.collect()}


def workload(host: Host, **options: object) -> WorkloadCollector:
    return WorkloadCollector(around(host), interval_seconds=1.0, **options)  # type: ignore[arg-type]


def test_steps_throughput_and_loss_equal_the_journal(host: Host) -> None:
    host.write(header() + steps(range(1, 9), grad_norm=0.5, skipped=1))
    found = collect(workload(host))
    assert found["samples_total", "job", "0"] == 32.0
    assert found["tokens_total", "job", "0"] == 512.0
    assert found["skipped_steps_total", "job", "0"] == 8.0
    assert found["loss", "job", "0"] == 1 / 8
    assert found["grad_norm", "job", "0"] == 0.5
    taken = found["step_seconds", "job", "0"]
    assert isinstance(taken, Distribution)
    assert (taken.count, taken.sum) == (8, 2.0)
    assert found["run_info", "job", "0", "here", "", "", "stepping", ""] == 1.0


def test_a_rank_is_joined_to_its_gpu(host: Host) -> None:
    host.write(header(device="cuda:0", gpu_uuid="GPU-b") + step(1))
    found = collect(workload(host, gpu_indices=lambda: {"GPU-a": "0", "GPU-b": "1"}))
    assert found["run_info", "job", "0", "here", "1", "GPU-b", "stepping", ""] == 1.0
    assert collect(workload(host))["run_info", "job", "0", "here", "0", "GPU-b", "stepping", ""] == 1.0


def test_the_slower_rank_stands_out_and_a_single_one_does_not(host: Host) -> None:
    host.write(header(world_size=3) + steps(range(1, 9), seconds=0.2))
    host.write(header(rank=1) + steps(range(1, 9), seconds=0.2), rank=1)
    host.write(header(rank=2) + steps(range(1, 9), seconds=0.3), rank=2)
    host.write(header() + steps(range(1, 9), seconds=9.0), run="alone")
    found = collect(workload(host))
    assert found["straggler_ratio", "job", "2"] == pytest.approx(1.5)
    assert found["straggler_ratio", "job", "0"] == pytest.approx(1.0)
    assert ("straggler_ratio", "alone", "0") not in found


def test_a_promise_is_exported_beside_how_well_it_is_kept(host: Host) -> None:
    promised = {"low": 20.0, "high": 30.0}
    # Four samples in a quarter of a second on each of two ranks: 32 a second.
    host.write(header(data_parallel_size=2, promised_samples_per_second=promised) + steps(range(1, 9)))
    found = collect(workload(host))
    assert found["run_promised_samples_per_second", "job", "0", "low"] == 20.0
    assert found["run_promised_samples_per_second", "job", "0", "high"] == 30.0
    assert found["run_promise_kept_ratio", "job", "0"] == pytest.approx(1.6)


def test_a_run_that_was_promised_nothing_keeps_nothing(host: Host) -> None:
    host.write(header(data_parallel_size=2, promised_samples_per_second=None) + steps(range(1, 9)))
    assert not any("promise" in name for name, *_ in collect(workload(host)))


def test_trials_are_never_exported(host: Host) -> None:
    host.write(
        header(purpose="trial", device="cuda:0") + step(1, memory=MEMORY, communicated={"all_reduce": 8})
    )
    for kind in (WorkloadCollector, AllocatorCollector, NcclCollector):
        assert collect(kind(around(host), interval_seconds=1.0)) == {}


def test_a_process_that_trains_unwatched_is_named(host: Host) -> None:
    found = collect(workload(host, unprobed=lambda _: [Unprobed(pid=7, rank="3", gpu="1", uuid="GPU-b")]))
    assert found == {("run_info", "pid-7", "3", "here", "1", "GPU-b", "", "not_probed"): 1.0}


def test_a_probe_that_switched_itself_off_leaves_a_reason(host: Host) -> None:
    host.write(header() + step(1) + line("probe_off", 1.0, reason="its cost passed its budget"))
    found = collect(workload(host))["step_seconds", "job", "0"]
    assert isinstance(found, Unavailable)
    assert found.reason == "probe_off"
    assert "its cost passed its budget" in found.detail


def test_journals_that_are_not_read_are_one_reason_each(host: Host) -> None:
    host.write(header() + step(1))
    for number in range(3):
        (host.root / f"link-{number}").symlink_to(host.root / "job")
    found = collect(workload(host))
    missing = {key[1:] for key, each in found.items() if isinstance(each, Unavailable)}
    assert len(missing) == 1
    assert {(key[1], key[-1]) for key in missing} == {("", "run_folder_is_a_link")}
    assert found["samples_total", "job", "0"] == 4.0


def test_a_checkpoint_is_remembered_with_its_step_and_folder(host: Host) -> None:
    host.write(header() + steps(range(1, 4)))
    host.write(line("pause", 1.0, phase="checkpointing", edge="begin", engine=0, path="/data/ckpt"))
    assert collect(workload(host))["run_info", "job", "0", "here", "", "", "checkpointing", ""] == 1.0
    host.write(line("pause", 2.0, phase="checkpointing", edge="end", engine=0, seconds=1.0))
    assert collect(workload(host))["last_checkpoint_step", "job", "0"] == 3.0
    (state,) = host.runs().refresh()
    assert state.checkpoint_folder == "/data/ckpt"


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        (MEMORY, {"peak": 0.35, "slack": 0.5, "inactive_split": 0.2}),
        ({**MEMORY, "expandable": True}, {"peak": 0.35, "slack": 0.5}),
        (
            {**MEMORY, "free": 500, "largest_free": 100},
            {"peak": 0.35, "slack": 0.5, "inactive_split": 0.2, "external": 0.8},
        ),
    ],
)
def test_fragmentation_by_each_method(host: Host, memory: dict[str, int], expected: dict[str, float]) -> None:
    host.write(header(device="cuda:0") + step(1, memory=memory))
    found = collect(AllocatorCollector(around(host), interval_seconds=1.0))
    ratios = {key[-1]: each for key, each in found.items() if key[0] == "allocator_fragmentation_ratio"}
    assert ratios == pytest.approx(expected)
    assert (("allocator_inactive_split_bytes", "job", "0") in found) is not bool(memory.get("expandable"))
    assert found["allocator_retries_total", "job", "0"] == 2.0


def test_peaks_outlive_a_reset_of_the_allocators_own(host: Host) -> None:
    host.write(header(device="cuda:0") + step(1, memory=MEMORY))
    host.write(step(2, 1.0, memory={**MEMORY, "peak_active": 500, "peak_reserved": 600}))
    found = collect(AllocatorCollector(around(host), interval_seconds=1.0))
    assert found["allocator_fragmentation_ratio", "job", "0", "peak"] == pytest.approx(0.35)


def test_a_cpu_rank_has_no_allocator_and_says_so(host: Host) -> None:
    host.write(header() + step(1, memory={"rss": 5, "peak_rss": 6}))
    found = collect(AllocatorCollector(around(host), interval_seconds=1.0))
    assert [each.reason for each in found.values() if isinstance(each, Unavailable)] == ["no_cuda_allocator"]
    assert found["allocator_ooms_total", "job", "0"] == 0.0
    assert len(found) == 2


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_that_memory_gave_out_is_counted_even_where_it_ended_the_rank(host: Host, device: str) -> None:
    collector = AllocatorCollector(around(host), interval_seconds=1.0)
    host.write(header(device=device))
    assert collect(collector)["allocator_ooms_total", "job", "0"] == 0.0
    host.write(line("out_of_memory", 1.0) + line("exception", 1.0) + line("end", 1.0, reason="exit"))
    host.clock.advance(2.0)
    assert collect(collector) == {("allocator_ooms_total", "job", "0"): 1.0}
    host.write(header(3.0, device=device, pid=101, started=CLOCK + 3.0))
    host.clock.advance(2.0)
    assert collect(collector)["allocator_ooms_total", "job", "0"] == 0.0


def test_a_failure_that_the_allocator_counted_counts_once(host: Host) -> None:
    host.write(header(device="cuda:0") + step(1, memory=MEMORY) + line("out_of_memory", 1.0))
    found = collect(AllocatorCollector(around(host), interval_seconds=1.0))
    assert found["allocator_ooms_total", "job", "0"] == MEMORY["ooms"] == 1


def test_communication_adds_up_and_both_ends_of_a_link_are_one_series(host: Host) -> None:
    host.write(header() + step(1, communicated={"all_reduce": 100}) + communication(1.0, [3, 1, 0], 0.5))
    host.write(header(rank=1) + step(1) + communication(1.0, [1, 0, 0], 0.001), rank=1)
    found = collect(NcclCollector(around(host), interval_seconds=1.0))
    assert found["communicated_bytes_total", "job", "0", "all_reduce"] == 100.0
    assert found["collectives_total", "job", "1", "all_reduce"] == 3.0
    own = found["collective_latency_seconds", "job", "0", "all_reduce", "1MiB", "timed"]
    link = found["p2p_latency_seconds", "job", "0", "1", "8KiB", "in_band", "gloo"]
    assert isinstance(own, Distribution)
    assert isinstance(link, Distribution)
    assert (own.count, own.sum) == (4, 0.5)
    assert (link.count, link.sum) == (5, 0.501)


def test_ranks_on_gpus_send_by_nccl(host: Host) -> None:
    host.write(header(device="cuda:0") + communication(1.0, [3, 1, 0], 0.5))
    found = collect(NcclCollector(around(host), interval_seconds=1.0))
    assert ("p2p_latency_seconds", "job", "0", "1", "8KiB", "in_band", "nccl") in found


def test_an_operation_that_does_not_end_grows_older(host: Host) -> None:
    host.write(
        header()
        + communication(0.0, [1, 0, 0], 1e-4)
        + step(1)
        + line("pending", 1.0, op="all_reduce", seconds=12.0, edge="begin")
    )
    collector = NcclCollector(around(host), interval_seconds=1.0)
    host.clock.advance(1.0)
    assert collect(collector)["collective_pending_seconds", "job", "0"] == pytest.approx(12.0)
    host.clock.advance(30.0)
    assert collect(collector)["collective_pending_seconds", "job", "0"] == pytest.approx(42.0)
    host.write(line("pending", 32.0, op="all_reduce", seconds=43.0, edge="end"))
    host.clock.advance(1.0)
    assert ("collective_pending_seconds", "job", "0") not in collect(collector)


def test_a_workload_without_tokens_has_no_series_of_them(host: Host) -> None:
    host.write(header() + steps(range(1, 9), tokens=0))
    names = {key[0] for key in collect(workload(host))}
    assert "samples_total" in names
    assert "tokens_total" not in names


def test_where_no_recorder_follows_operations_their_age_is_unknown(host: Host) -> None:
    host.write(header() + steps(range(1, 3)))
    age = collect(NcclCollector(around(host), interval_seconds=1.0))["collective_pending_seconds", "job", "0"]
    assert isinstance(age, Unavailable)
    assert age.reason == "no_flight_recorder"


def test_the_queue_of_a_serving_run_is_the_last_one_told(host: Host) -> None:
    host.write(header(engine=None) + line("queue", 1.0, queue_length=9, running=30))
    collector = workload(host)
    found = collect(collector)
    assert found["queue_length", "job", "0"] == 9.0
    assert found["running_requests", "job", "0"] == 30.0
    host.write(line("queue", 2.0, queue_length=0, running=None))
    host.clock.advance(1.0)
    found = collect(collector)
    assert found["queue_length", "job", "0"] == 0.0
    assert ("running_requests", "job", "0") not in found


def test_a_training_run_has_no_queue(host: Host) -> None:
    host.write(header() + step(1))
    assert not {key[0] for key in collect(workload(host))} & {"queue_length", "running_requests"}
