"""A whole study on a device whose memory is short of the fastest configurations."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.tuners.study_bench import Bench, larger_is_faster, two_ranks_of

from flyball.collectors.fingerprint import Fingerprint, Gpu
from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import Phase
from flyball.tuners.job.job import Job
from flyball.tuners.options import StudyOptions
from flyball.tuners.study.setup import Launchers

GIB = 2**30
PARAMETERS = 1_200_000_000
DEVICE = 16 * GIB
A_SAMPLE = GIB // 2
UUID = "GPU-0"


@dataclass
class Card(Bench):
    """Two ranks on cards of 16 GiB, and a model in fp32 of which only stage 2 leaves room."""

    def launchers(self, options: StudyOptions, job: Job) -> Launchers:
        launchers = super().launchers(options, job)
        for launcher in self.made:
            launcher.device, launcher.memory = "cuda:0", self.memory
            launcher.facts = {"parameters": PARAMETERS, "gpu_uuid": UUID}
        return launchers

    def memory(self, config: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
        held = 10 * PARAMETERS
        peak = held + A_SAMPLE * config["train_micro_batch_size_per_gpu"]
        now = {"allocated": held, "active": held, "reserved": peak, "inactive_split": 0}
        return {**now, "peak_allocated": peak, "peak_active": peak, "peak_reserved": peak, "retries": 0}


def runs_out(config: Mapping[str, Any], environment: Mapping[str, str]) -> float | OutcomeKind:
    if config["zero_optimization"]["stage"] < 2:
        return OutcomeKind.OUT_OF_MEMORY
    return larger_is_faster(config, environment)


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Card:
    gpu = Gpu(name="fake", memory_bytes=DEVICE, uuid=UUID, driver="580")
    machine = Fingerprint(
        cpu_model="fake", cores=2, memory_bytes=2**33, gpus=(gpu,), python="3.11", kernel="6"
    )
    monkeypatch.setattr("flyball.tuners.study.study.fingerprint", lambda: machine)
    monkeypatch.setattr("flyball.tuners.job.job.parse_command", two_ranks_of)
    bench = Card(tmp_path, runs_out)
    (tmp_path / "space.yaml").write_text("knobs:\n  micro_batch: [1, 2, 4]\n  zero_stage: [0, 1, 2]\n")
    return bench


def test_what_cannot_fit_is_not_run_and_the_result_says_why(card: Card) -> None:
    card.run()
    stages = {
        report.configuration.ds_config["zero_optimization"]["stage"]
        for report in card.observer.finished
        if report.phase is Phase.SEARCH
    }
    assert stages == {2}
    notes = card.recommendation()["notes"]
    assert any("as they cannot fit" in note and "of 16.0 GiB a device" in note for note in notes)
    assert any(note.startswith("reserved memory was predicted from earlier runs within") for note in notes)
