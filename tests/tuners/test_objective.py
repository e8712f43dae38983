"""Whole studies that make something other than the throughput better, and what they refuse."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.tuners.fake_job import FakeHandle
from tests.tuners.study_bench import Bench, larger_is_faster, micro_of, two_ranks_of
from tests.tuners.trial_fakes import UUID

from flyball import tuners
from flyball.collectors.fingerprint import Fingerprint, Gpu
from flyball.collectors.gpu_recorder import GpuRecorder
from flyball.errors import BaselineFailed, Interrupted, OptionError
from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import Phase
from flyball.tuners.interruption import Interruption
from flyball.tuners.job.job import Job
from flyball.tuners.objective import Objective
from flyball.tuners.options import LATEST, StudyOptions
from flyball.tuners.study.setup import Launchers
from flyball.tuners.trials.trial_alerts import TrialRules

SCHEMA = jsonschema.Draft202012Validator(
    json.loads((Path(tuners.__file__).parent / "schema" / "recommendation.schema.json").read_text())
)
MICRO_BATCHES = "knobs:\n  micro_batch: [1, 2, 4, 8]\n"
GIB = 2**30
RATE = {1: 100.0, 2: 60.0, 4: 110.0, 8: 120.0}
"""Samples a second of a micro batch: 8 is fastest."""
WATTS = {1: 1000.0, 2: 200.0, 4: 600.0, 8: 1000.0}
"""10, 3.33, 5.45 and 8.33 joules a sample: 2 is thriftiest and slow, 4 thrifty and not slower."""


class Meter(GpuRecorder):
    """A recorder whose one GPU draws what it is told to, from the beginning of a run to its end."""

    def __init__(self) -> None:
        super().__init__(self._nothing)
        self.watts: float | None = 0.0
        self.others: tuple[int, ...] = ()

    def _nothing(self) -> Any:
        raise AssertionError("nothing is sampled here")

    def joules_at(self, times: Sequence[float], uuids: Any) -> list[float | None]:
        return [None if self.watts is None else self.watts * time * len(uuids) for time in times]

    def energy_reason(self) -> str:
        return "no_permission"

    def sharers(self, uuids: Any) -> tuple[int, ...]:
        return self.others


@dataclass
class Metered(Bench):
    """Two ranks that share one GPU."""

    meter: Meter = field(default_factory=Meter)
    watts: Mapping[int, float | None] = field(default_factory=lambda: dict(WATTS))
    reserved: Mapping[int, int] = field(default_factory=dict)
    """Bytes that a micro batch reserves, of 16 GiB."""

    def __post_init__(self) -> None:
        super().__post_init__()
        (self.folder / "space.yaml").write_text(MICRO_BATCHES)

    @property
    def options(self) -> StudyOptions:
        return replace(super().options, objective=Objective.ENERGY)

    def launchers(self, options: StudyOptions, job: Job) -> Launchers:
        launchers = super().launchers(options, job)
        for launcher in self.made:
            launcher.device, launcher.speed, launcher.memory = "cuda:0", self._run, self._memory
            launcher.facts = {"parameters": 1000, "gpu_uuid": UUID}
        return launchers

    def _run(self, config: Mapping[str, Any], environment: Mapping[str, str]) -> float | OutcomeKind:
        self.meter.watts = self.watts[micro_of(config)]
        return self.speed(config, environment)

    def _memory(self, config: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
        peak = self.reserved.get(micro_of(config), GIB)
        now = dict.fromkeys(("allocated", "active", "reserved"), peak)
        return {**now, **{f"peak_{key}": peak for key in now}, "inactive_split": 0, "retries": 0}

    @contextlib.contextmanager
    def gpus(self, job: Job, rules: TrialRules) -> Iterator[GpuRecorder | None]:
        yield self.meter

    def picked(self) -> int:
        return micro_of(self.recommendation()["recommended"]["ds_config"])


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(name="fake", memory_bytes=16 * GIB, uuid=UUID, driver="580")
    machine = Fingerprint(
        cpu_model="fake", cores=2, memory_bytes=2**33, gpus=(gpu,), python="3.11", kernel="6"
    )
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    monkeypatch.setattr("flyball.tuners.study.study.fingerprint", lambda: machine)
    monkeypatch.setattr("flyball.tuners.job.job.parse_command", two_ranks_of)


@pytest.fixture
def metered(tmp_path: Path, on_gpu: None) -> Metered:
    bench = Metered(tmp_path, lambda config, environment: RATE[micro_of(config)])
    bench.watch_gpus = bench.gpus
    return bench


# ---- energy -----------------------------------------------------------------------------------------


def test_energy_picks_what_needs_the_fewest_joules_a_sample_within_the_least_throughput(
    metered: Metered,
) -> None:
    summary = metered.run().summary
    found = metered.recommendation()
    SCHEMA.validate(found)
    assert metered.picked() == 4
    assert found["objective"] == {
        "name": "energy",
        "unit": "J/sample",
        "larger_is_better": False,
        "compared": "samples/J",
    }
    assert found["baseline"]["objective"]["point"] == pytest.approx(10.0, rel=0.02)
    assert found["recommended"]["objective"]["point"] == pytest.approx(5.45, rel=0.02)
    assert found["speedup"]["point"] == pytest.approx(10 / 5.4545, rel=0.02)
    assert found["throughput_ratio"]["point"] == pytest.approx(1.1, rel=0.02)
    assert "1 configurations trained at less than 0.80 of your own throughput" in str(found["notes"])
    assert "RECOMMENDED: more energy-efficient, verified on fresh runs" in summary
    assert "more energy-efficient in fresh runs, p = " in " ".join(summary.split())
    assert " J/sample  (95%: " in summary
    assert "  throughput  1." in summary
    page = (metered.folder / "out" / "report.html").read_text()
    assert "Best so far, J/sample" in page
    assert "<th>J/sample</th><th>samples/s</th>" in page
    assert "Of energy efficiency: " in page


def test_the_same_job_for_throughput_picks_the_fastest(metered: Metered) -> None:
    metered.run(replace(metered.options, objective=Objective.THROUGHPUT))
    assert metered.picked() == 8
    found = metered.recommendation()
    assert (found["objective"]["name"], found["throughput_ratio"]) == ("throughput", None)
    assert found["baseline"]["objective"] == found["baseline"]["samples_per_second"]


def test_a_lower_least_throughput_lets_more_be_saved(metered: Metered) -> None:
    metered.run(replace(metered.options, least_throughput_ratio=0.5))
    assert metered.picked() == 2
    assert metered.recommendation()["throughput_ratio"]["point"] == pytest.approx(0.6, rel=0.02)


def test_the_memory_limit_holds_for_energy_too(metered: Metered) -> None:
    metered.reserved = {4: 15 * GIB}
    metered.run()
    assert metered.picked() == 8


@pytest.mark.parametrize(
    ("watts", "others", "says"),
    [
        (None, (), "a GPU's energy counter was not read: no_permission"),
        (1000.0, (77,), r"another process computes on the job's GPUs \(pid 77\)"),
    ],
)
def test_where_the_first_run_tells_no_joules_the_study_ends_there(
    metered: Metered, watts: float | None, others: tuple[int, ...], says: str
) -> None:
    metered.watts, metered.meter.others = {1: watts}, others
    with pytest.raises(BaselineFailed, match=says) as failed:
        metered.run()
    assert failed.value.exit_status == 5
    assert "--objective" in (failed.value.mend or "")
    assert len(metered.trials()) == 1


def test_a_run_without_joules_is_missing_and_not_thrifty(metered: Metered) -> None:
    metered.watts = {**WATTS, 4: None}
    metered.run()
    missing = [each for each in metered.observer.finished if "energy" in each.outcome.reason]
    assert {micro_of(each.configuration.ds_config) for each in missing} == {4}
    assert all(each.measurement is None for each in missing)
    assert "runs were not counted; trial " in str(metered.recommendation()["notes"])
    assert metered.picked() == 8


def test_energy_is_refused_on_a_cpu_before_anything_runs(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    begun: list[bool] = []
    with pytest.raises(OptionError, match="energy cannot be measured") as refused:
        bench.run(replace(bench.options, objective=Objective.ENERGY), begin=lambda: begun.append(True))
    assert refused.value.exit_status == 2
    assert (begun, bench.made) == ([], [])


# ---- latency ----------------------------------------------------------------------------------------


def latency(bench: Bench) -> StudyOptions:
    return replace(bench.options, objective=Objective.LATENCY)


def test_latency_is_seconds_a_step_and_its_gain_a_ratio_of_steps(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    assert bench.run(latency(bench)).verdict == "recommended"
    found = bench.recommendation()
    SCHEMA.validate(found)
    own, best = (found[side]["objective"]["point"] for side in ("baseline", "recommended"))
    assert own == pytest.approx(16 / 100, rel=0.02)
    assert found["speedup"]["point"] == pytest.approx(own / best, rel=0.02)
    assert found["throughput_ratio"] is None  # the same ratio of the same runs would stand there twice
    assert " s/step  (95%: " in (tmp_path / "out" / "summary.txt").read_text()


def test_latency_leaves_the_global_batch_as_it_is_and_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    (tmp_path / "space.yaml").write_text("knobs:\n  global_batch: [8, 16, 32]\n  micro_batch: [1, 2, 4]\n")
    bench.run(latency(bench))
    batches = {trial.configuration.ds_config["train_batch_size"] for trial in bench.trials()}
    assert batches == {16}
    groups = bench.recommendation()["explanation"]["not_tried"]
    assert any("global_batch" in each["items"] and "one global batch" in each["reason"] for each in groups)


def test_latency_with_a_free_global_batch_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    with pytest.raises(OptionError, match="leave out --allow-global-batch"):
        bench.run(replace(latency(bench), allow_global_batch=True))
    assert bench.made == []


# ---- what is kept of it -----------------------------------------------------------------------------


def test_only_history_of_the_same_objective_teaches_the_search(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    bench.run(replace(latency(bench), trials=4))

    def taught(objective: Objective, folder: str) -> bool:
        bench.observer.notes.clear()
        bench.run(replace(bench.options, objective=objective, trials=1, output=tmp_path / folder))
        return any("teach the search" in note for note in bench.observer.notes)

    assert not taught(Objective.THROUGHPUT, "other")
    assert taught(Objective.LATENCY, "same")


def test_a_resumed_study_keeps_its_objective(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)

    def stop(handle: FakeHandle, step: int) -> None:
        if handle.request.directory.name == "2" and step == 3:
            bench.interruption.request("test")
            bench.interruption.request("test")
            handle.kill("stopped by the user")

    bench.on_step = stop
    with pytest.raises(Interrupted):
        bench.run(latency(bench))
    bench.on_step, bench.interruption = None, Interruption()
    bench.run(replace(bench.options, command=(), resume=LATEST, output=None))
    assert bench.recommendation()["objective"]["name"] == "latency"
    measured = [trial.measurement.document["objective"] for trial in bench.trials() if trial.measurement]
    assert set(measured) == {"latency"}
    assert {trial.phase for trial in bench.trials()} > {Phase.SEARCH.value, Phase.VERIFICATION.value}
