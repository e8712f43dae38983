"""What ``/api/v1/gpus`` makes of readings of several collectors."""

import os
from pathlib import Path

from pydantic import TypeAdapter
from tests.collectors.journal_fakes import Host, header, steps

from flyball.agent.daemon.answers import gpu_answers, run_answers
from flyball.agent.daemon.api_models import RunAnswer
from flyball.agent.daemon.readings import take
from flyball.agent.daemon.store import Store
from flyball.collectors import catalog
from flyball.collectors.base import Metric, Sample, Unavailable

GPU = ("here", "0", "GPU-a")


def sample(metric: Metric, value: float | Unavailable, *more: str) -> Sample:
    return Sample(metric=metric, labels=(*GPU, *more), value=value, time=0.0)


def store(*readings: list[Sample]) -> Store:
    made = Store()
    for number, samples in enumerate(readings):
        made.put(str(number), take(samples, max_series=100, elapsed=lambda: 0.0))
    return made


def test_what_one_collector_knows_is_not_missing_because_another_does_not() -> None:
    why = Unavailable(reason="gpm_not_supported")
    nvml = [
        sample(catalog.GPU_PCIE_SENT, why),
        sample(catalog.GPU_SM_UTILIZATION, why, "gpm"),
        sample(catalog.GPU_POWER, 300.0),
    ]
    dcgm = [sample(catalog.GPU_PCIE_SENT, 7.0), sample(catalog.GPU_SM_UTILIZATION, 0.5, "dcgm")]
    (gpu,) = gpu_answers(store(nvml, dcgm))
    found = {(each.metric, each.labels.get("source")): each.value or each.reason for each in gpu.metrics}
    assert found == {
        ("gpu_power_watts", None): 300.0,
        ("gpu_pcie_tx_bytes_per_second", None): 7.0,
        ("gpu_sm_utilization_ratio", "dcgm"): 0.5,
        ("gpu_sm_utilization_ratio", "gpm"): "gpm_not_supported",
    }
    assert len(gpu.metrics) == len(found)


def test_of_two_that_know_the_first_counts() -> None:
    (gpu,) = gpu_answers(store([sample(catalog.GPU_POWER, 1.0)], [sample(catalog.GPU_POWER, 2.0)]))
    assert [each.value for each in gpu.metrics] == [1.0]


def answers(host: Host) -> tuple[RunAnswer, ...]:
    clock = host.clock
    return run_answers(host.runs().refresh(), time=clock.time(), monotonic=clock.monotonic())


def test_a_folder_whose_name_is_no_utf8_is_shown_escaped(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.write(header() + steps(range(1, 9)), run=os.fsdecode(b"bad\xff"))
    found = answers(host)
    assert b"bad" in TypeAdapter(tuple[RunAnswer, ...]).dump_json(found)
    assert [(one.run, Path(one.folder).name) for one in found] == [("bad\\xff", "bad\\xff")]


def test_a_rank_that_has_gone_silent_has_no_rate(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.write(header() + steps(range(1, 9)))
    host.clock.advance(3.0)
    (stepping,) = answers(host)
    assert stepping.steps_per_second == 4.0
    host.clock.advance(10.0)
    (silent,) = answers(host)
    assert (silent.phase, silent.steps_per_second, silent.samples_per_second) == ("stepping", None, None)
    assert silent.silent_seconds is not None
