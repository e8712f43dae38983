"""The knob on a job that fragments on purpose: started by its own command and forked, with it and without."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.benchmarks.fragmentation import ASKED, SCRIPT

from flyball.runner.base import Limits, TrialRequest, TrialResult
from flyball.runner.command import Command, parse_command
from flyball.runner.launch_cold import ColdLauncher
from flyball.runner.launch_warm import WarmLauncher
from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import Configuration, Measurement
from flyball.tuners.legality.context import Context, installed_version
from flyball.tuners.measurement.journal_facts import fragmentation_peak
from flyball.tuners.measurement.measurement import ALLOCATOR, measure
from flyball.tuners.measurement.witness import idle_knobs
from flyball.tuners.space.render import render

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed"),
]

VARIABLE = "PYTORCH_CUDA_ALLOC_CONF"
OWN_SETTING = "garbage_collection_threshold:0.95"
"""Stands for what a user has set; it does nothing as long as no share of the memory is."""
ALONE = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
LIMITS = Limits(startup_seconds=100, total_seconds=110)


class Study:
    """A warm launcher, its fallback, and the runs that were made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "fragments.py").write_text(SCRIPT, "utf-8")
        self.command: Command = parse_command([sys.executable, "fragments.py"], cwd=folder)
        self.launcher = WarmLauncher(self.command, ColdLauncher(cwd=folder))

    def configuration(self, expandable: bool) -> Configuration:
        context = Context(
            world_size=1,
            device="cuda",
            torch_version=installed_version("torch"),
            environment={VARIABLE: OWN_SETTING},
        )
        return render({}, {"expandable_segments": expandable}, context)

    def run(self, name: str, *, expandable: bool, warm: bool) -> "Seen":
        directory = self.folder / "trials" / name
        configuration = self.configuration(expandable)
        request = TrialRequest(
            directory=directory,
            command=self.command.render(
                trial_dir=directory, config_path=directory / "ds_config.json", arguments={}
            ),
            ds_config={},
            environment=configuration.environment,
            limits=LIMITS,
        )
        launcher = self.launcher if warm else self.launcher.fallback
        return Seen(name, configuration, launcher.launch(request).wait(lambda journals: None), directory)


class Seen:
    """One run, and what is told of it where an assertion fails."""

    def __init__(self, name: str, configuration: Configuration, result: TrialResult, directory: Path) -> None:
        self.name, self.configuration, self.result, self.directory = name, configuration, result, directory
        self.peak = fragmentation_peak(result.journals)
        self.measured = measure(result.journals)

    def __str__(self) -> str:
        result, measured = self.result, self.measured
        seen = measured.witnesses.get(ALLOCATOR) if isinstance(measured, Measurement) else measured
        steps = [journal.last("step") for journal in result.journals.values()]
        errors = self.directory / "stderr.log"
        return (
            f"{self.name}: {result.launcher}, {result.outcome.kind}: {result.outcome.reason}\n"
            f"environment {dict(self.configuration.environment)}, fragmentation {self.peak}, witness {seen}\n"
            f"start-up {result.startup_seconds} s, whole {result.total_seconds:.1f} s, notes {result.notes}\n"
            f"last step of each rank: {steps}\n"
            f"{errors.read_text(errors='replace')[-2000:] if errors.exists() else 'no stderr.log'}"
        )


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Study]:
    for name, value in ALONE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(VARIABLE, OWN_SETTING)
    for name in ("PYTORCH_ALLOC_CONF", "DS_ACCELERATOR"):
        monkeypatch.delenv(name, raising=False)
    made = Study(tmp_path)
    yield made
    made.launcher.close()


def test_the_knob_acts_cold_and_warm_and_fragmentation_falls(study: Study) -> None:
    # While the second run trains, the server of the first one's environment imports.
    runs = [
        study.run("cold without", expandable=False, warm=True),
        study.run("cold with", expandable=True, warm=False),
        study.run("warm with", expandable=True, warm=True),
        study.run("warm without", expandable=False, warm=True),
    ]
    told = "\n\n".join(map(str, runs))
    assert [run.result.outcome.kind for run in runs] == [OutcomeKind.COMPLETED] * 4, told
    assert [run.result.launcher for run in runs] == ["cold", "cold", "warm", "warm"], told
    measured = [run.measured for run in runs if isinstance(run.measured, Measurement)]
    assert len(measured) == 4, told

    expandable = [each.witnesses.get(ALLOCATOR, {}).get("expandable") for each in measured]
    assert expandable == [0, 1, 1, 0], told
    for with_it, without in ((1, 0), (2, 3)):
        configuration = runs[with_it].configuration
        assert configuration.environment == {VARIABLE: f"{OWN_SETTING},expandable_segments:True"}
        assert idle_knobs(configuration, [measured[with_it]], [measured[without]]) == (), told
        assert idle_knobs(configuration, [measured[without]]) == ("expandable_segments",), told

    peaks = [run.peak if run.peak is not None else -1.0 for run in runs]
    assert min(peaks[0], peaks[3]) > ASKED, told
    assert 0 <= max(peaks[1], peaks[2]) < ASKED, told
