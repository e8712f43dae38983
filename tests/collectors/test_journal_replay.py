"""A run that is over, read as the collectors would have read it while it ran."""

from pathlib import Path

from tests.collectors.journal_fakes import WALL, FakeClock, FakeProcesses, header, line, step

from flyball.collectors import catalog
from flyball.collectors.allocator import AllocatorCollector
from flyball.collectors.base import Reading, Sample
from flyball.collectors.journal import read_folder
from flyball.collectors.journal_replay import journal_readings
from flyball.collectors.nccl import NcclCollector
from flyball.collectors.registry import Surroundings
from flyball.collectors.runs import Runs
from flyball.collectors.workload import WorkloadCollector

MEMORY = {"reserved": 100, "allocated": 50, "active": 50, "inactive_split": 0, "retries": 2, "ooms": 0}
LINES = [
    header(device="cuda:0", gpu_uuid="GPU-a"),
    *(step(number, number / 4, memory={**MEMORY, "retries": number}) for number in range(1, 41)),
]


def written(folder: Path, *, ranks: int = 2, lines: list[bytes] = LINES) -> Path:
    run = folder / "gpt"
    run.mkdir()
    for rank in range(ranks):
        (run / f"rank-{rank}.jsonl").write_bytes(b"".join(lines))
    return run


def played(run: Path, *seconds: float, over: float = 1e6) -> list[Reading]:
    times = [WALL + second for second in seconds]
    indices = {"GPU-a": "3"}
    over_time = WALL + over
    return list(
        journal_readings(read_folder(run), run="gpt", times=times, over_time=over_time, gpu_indices=indices)
    )


def of(reading: Reading, name: str) -> list[Sample]:
    return [sample for sample in reading.samples if sample.metric.name == name]


def test_it_gives_what_the_collectors_gave(tmp_path: Path) -> None:
    run = written(tmp_path)
    clock = FakeClock()
    clock.advance(10.0)
    processes = FakeProcesses({100: 4_000.0})
    runs = Runs([tmp_path], clock=clock, host="here", started=processes, gone=lambda *_: False)
    around = Surroundings(host="here", clock=clock, runs=runs)
    live = [
        *WorkloadCollector(around, interval_seconds=1.0, gpu_indices=lambda: {"GPU-a": "3"}).collect(),
        *AllocatorCollector(around, interval_seconds=1.0).collect(),
        *NcclCollector(around, interval_seconds=1.0).collect(),
    ]
    (again,) = played(run, 10.0)
    assert len(live) > 20
    assert list(again.samples) == live


def test_each_reading_knows_what_was_written_by_then(tmp_path: Path) -> None:
    run = written(tmp_path, ranks=1)
    readings = played(run, 0.0, 5.0, 10.0)
    assert [of(each, "run_info")[0].label("phase") for each in readings] == [
        "starting",
        "stepping",
        "stepping",
    ]
    assert [of(each, "samples_total")[0].value for each in readings] == [0.0, 80.0, 160.0]
    retries = [of(each, "allocator_retries_total") for each in readings]
    assert [[sample.value for sample in each] for each in retries] == [[], [20.0], [40.0]]


def test_a_rank_that_says_nothing_of_its_end_has_ended_when_its_run_has(tmp_path: Path) -> None:
    killed = written(tmp_path, ranks=1, lines=[*LINES, line("out_of_memory", 11.0, engine=0)])
    alive, over = played(killed, 11.0, 12.0, over=12.0)
    assert of(alive, "run_info")[0].label("phase") == "stepping"
    assert of(over, "run_info")[0].label("phase") == "finished"
    assert of(over, catalog.ALLOCATOR_OOMS.name)[0].value == 1.0


def test_records_without_a_time_are_left_out(tmp_path: Path) -> None:
    torn = b'{"kind": "step", "step": 1}\n{"kind": "step", "time": "now"}\n'
    run = written(tmp_path, ranks=1, lines=[torn, *LINES])
    assert of(played(run, 10.0)[0], "samples_total")[0].value == 160.0
