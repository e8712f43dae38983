"""How a run's end is told when it was not the configuration's doing."""

import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.tuners.fake_job import RecordingObserver

from flyball.errors import StorageFailed
from flyball.runner.base import StopRule, TrialRequest, TrialResult
from flyball.runner.command import parse_command
from flyball.runner.outcome import Outcome, OutcomeKind
from flyball.tuners.base import Configuration, Phase, TrialReport
from flyball.tuners.interruption import Interruption
from flyball.tuners.trials.trial_runner import Run, TrialRunner


@dataclass
class EndedLauncher:
    """Every run has ended already."""

    outcome: Outcome
    name: str = "cold"

    def launch(self, request: TrialRequest) -> "EndedLauncher":
        return self

    def kill(self, reason: str) -> None:
        pass

    def wait(self, stop: StopRule) -> TrialResult:
        return TrialResult(
            outcome=self.outcome, journals={}, launcher="cold", startup_seconds=None, total_seconds=1.0
        )

    def close(self) -> None:
        pass


def run(tmp_path: Path, outcome: Outcome, interruption: Interruption) -> TrialReport:
    (tmp_path / "train.py").write_text("import deepspeed\n")
    (tmp_path / "ds.json").write_text("{}")
    launcher = EndedLauncher(outcome)
    runner = TrialRunner(
        command=parse_command(shlex.split("python train.py --deepspeed_config ds.json"), cwd=tmp_path),
        launcher=launcher,
        cold=launcher,
        directory=tmp_path / "out",
        observer=RecordingObserver(),
        interruption=interruption,
    )
    own = Configuration(assignment={}, ds_config={})
    return runner.run(Run(number=0, phase=Phase.SEARCH, configuration=own))


@pytest.mark.parametrize(
    ("outside", "asked", "kind"),
    [
        (True, 1, OutcomeKind.INTERRUPTED),
        (True, 2, OutcomeKind.INTERRUPTED),
        (True, 0, OutcomeKind.CRASHED),
        (False, 1, OutcomeKind.CRASHED),
    ],
)
def test_a_run_that_ends_with_the_whole_job_is_no_crash(
    tmp_path: Path, outside: bool, asked: int, kind: OutcomeKind
) -> None:
    interruption = Interruption()
    for _ in range(asked):
        interruption.request("SIGTERM")
    crashed = Outcome(kind=OutcomeKind.CRASHED, reason="a process ended by SIGTERM", from_outside=outside)
    report = run(tmp_path, crashed, interruption)
    assert report.outcome.kind is kind
    assert "ended by SIGTERM" in report.outcome.reason


def test_a_script_whose_disk_is_full_stops_the_study_and_not_its_configuration(tmp_path: Path) -> None:
    reason = "OSError: [Errno 28] No space left on device"
    full = Outcome(kind=OutcomeKind.CRASHED, reason=reason, full_folder="/data/ckpt")
    with pytest.raises(StorageFailed, match=r"/data/ckpt: .*No space left on device.*--resume"):
        run(tmp_path, full, Interruption())
