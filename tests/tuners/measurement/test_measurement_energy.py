"""What a sample cost in joules, from a counter that was read beside the steps."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.tuners.trial_fakes import LaidGpus, gpu_sample, header, journal, steps

from flyball.collectors import catalog
from flyball.collectors.base import Sample, Unavailable
from flyball.collectors.gpu_recorder import GpuRecorder
from flyball.collectors.journal import RankJournal
from flyball.collectors.nvml_inventory import GpuProcess
from flyball.tuners.base import Measurement
from flyball.tuners.measurement.measurement import Fault, Invalid, measure
from flyball.tuners.measurement.run_summary import summarize_run
from flyball.tuners.measurement.stopping import Precision, PrecisionRule
from flyball.tuners.objective import Objective
from flyball.tuners.results.output import measurement_from_json, measurement_json

STEPS = 40
SAMPLES = 8
Watts = Callable[[float], float]
"""What a GPU draws at a second after the first step began."""


DENIED = Sample(
    metric=catalog.GPU_ENERGY,
    labels=("h", "0", "GPU-a"),
    value=Unavailable(reason="no_permission"),
    time=1.0,
)


def busy_start(second: float) -> float:
    """Ten times as much until the fifth second, as while something compiles."""
    return 2000.0 if second < 5 else 200.0


def counter(watts: Watts, *, until: int, uuid: str = "GPU-a") -> list[list[Sample]]:
    """Readings twice a second, from 10 s before the first step on."""
    drawn, readings = 1e6, []
    for half in range(-20, 2 * until + 1):
        second = half / 2
        readings.append([gpu_sample(catalog.GPU_ENERGY, second, drawn, uuid=uuid)])
        drawn += watts(second) / 2
    return readings


def recorder(readings: Sequence[list[Sample]], *, others: Sequence[GpuProcess] = ()) -> GpuRecorder:
    gpus = LaidGpus(list(readings))
    made = GpuRecorder(lambda: gpus, processes=lambda: others)
    for _ in readings:
        assert made.take()
    return made


def run(**of_header: Any) -> dict[int, RankJournal]:
    """Forty steps of a second and eight samples."""
    made = journal(steps(STEPS, forwards=1, loss=lambda number: 2.0))
    made.records[0] = header(**{"data_parallel_size": 1, "micro_batch": SAMPLES, **of_header})
    return {0: made}


def measured(gpus: GpuRecorder | None, journals: dict[int, RankJournal] | None = None) -> Any:
    return measure(journals or run(), gpus=gpus, objective=Objective.ENERGY)


def test_joules_are_of_the_steps_that_the_throughput_is_of() -> None:
    found = measured(recorder(counter(busy_start, until=STEPS + 1)))
    assert isinstance(found, Measurement)
    assert found.warmup_steps > 0
    lasts = STEPS - found.warmup_steps
    drawn = sum(busy_start(found.warmup_steps + half / 2) / 2 for half in range(2 * lasts))
    assert found.value.point == pytest.approx(drawn / (lasts * SAMPLES))
    assert found.value.low <= found.value.point <= found.value.high
    assert found.telemetry["gpu"]["energy_joules_per_sample"] == pytest.approx(found.value.point)


def test_a_steady_draw_is_known_exactly_and_an_unsteady_one_within_an_interval() -> None:
    steady = measured(recorder(counter(lambda second: 200.0, until=STEPS + 1)))
    assert steady.value.point == pytest.approx(25.0)
    assert steady.value.high == pytest.approx(25.0)
    waving = measured(recorder(counter(lambda second: 200.0 + 100 * (second % 7 < 3), until=STEPS + 1)))
    assert waving.value.low < waving.value.point < waving.value.high


def test_the_gpus_of_all_ranks_are_added_up() -> None:
    both = [
        one + other
        for one, other in zip(
            counter(lambda second: 200.0, until=STEPS + 1),
            counter(lambda second: 100.0, until=STEPS + 1, uuid="GPU-b"),
            strict=True,
        )
    ]
    journals = run(world_size=2, data_parallel_size=2)
    records = journals[0].records
    second = {**records[0], "rank": 1, "gpu_uuid": "GPU-b"}
    journals[1] = replace(journal(records[1:], 1), records=[second, *records[1:]])
    assert measured(recorder(both), journals).value.point == pytest.approx(300.0 / (2 * SAMPLES))


@pytest.mark.parametrize(
    ("gpus", "says"),
    [
        (None, "are not known, or were not sampled"),
        (recorder(counter(busy_start, until=STEPS - 5)), "energy counter was not read: no_reading"),
        (
            recorder([[DENIED]]),
            "energy counter was not read: no_permission",
        ),
        (recorder(counter(busy_start, until=STEPS + 1, uuid="GPU-z")), "energy counter was not read"),
        (
            recorder(
                counter(busy_start, until=STEPS + 1),
                others=[GpuProcess(pid=9, gpu="0", uuid="GPU-a"), GpuProcess(pid=8, gpu="1", uuid="GPU-b")],
            ),
            "another process computes on the job's GPUs (pid 9)",
        ),
    ],
    ids=["not sampled", "ends early", "no permission", "another GPU", "shared"],
)
def test_what_is_not_known_is_said_and_never_zero(gpus: GpuRecorder | None, says: str) -> None:
    found = measured(gpus)
    assert isinstance(found, Invalid)
    assert found.fault is Fault.NO_ENERGY
    assert says in found.reason
    for_throughput = measure(run(), gpus=gpus)
    assert isinstance(for_throughput, Measurement)
    assert for_throughput.samples_per_joule is None
    assert for_throughput.merit == for_throughput.samples_per_second


def test_a_measurement_survives_the_record_with_its_objective() -> None:
    found = measured(recorder(counter(busy_start, until=STEPS + 1)))
    again = measurement_from_json(measurement_json(found))
    assert (again.objective, again.merit, again.value) == (Objective.ENERGY, found.merit, found.value)


def test_a_run_that_needs_far_more_joules_than_the_best_is_stopped_early() -> None:
    watched = PrecisionRule(
        precision=Precision(relative_half_width=0.0, min_seconds=5.0),
        incumbent_low=1.0,
        objective=Objective.ENERGY,
        gpus=recorder(counter(lambda second: 200.0, until=STEPS + 1)),
    )
    assert watched(run()) == "less energy-efficient than the best: at most 0.04 against 1 samples/J"


def test_a_run_that_is_faster_and_thriftier_is_not_stopped_before_its_time() -> None:
    watched = PrecisionRule(
        precision=Precision(relative_half_width=0.0, min_seconds=2.0 * STEPS),
        incumbent_low=0.01,
        objective=Objective.ENERGY,
        gpus=recorder(counter(lambda second: 200.0, until=STEPS + 1)),
    )
    assert watched(run()) is None


def test_the_summary_of_a_run_tells_its_samples_a_joule(tmp_path: Path) -> None:
    lines = [json.dumps(record) + "\n" for record in run()[0].records]
    (tmp_path / "rank-0.jsonl").write_text("".join(lines))
    steady = recorder(counter(lambda second: 200.0, until=STEPS + 1))
    assert summarize_run(tmp_path, steady)["samples_per_joule"]["point"] == pytest.approx(1 / 25)
    assert "unavailable" in summarize_run(tmp_path, None)["samples_per_joule"]
