"""kill -9 in the middle of a study: what was finished is kept, and nothing is counted twice."""

import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from tests.tuners.study_bench import Bench, larger_is_faster

from flyball.runner.outcome import OutcomeKind
from flyball.tuners.options import LATEST

ROOT = Path(__file__).parents[3]

# A study whose process kills itself in the third step of one run.
STUDY = """
import os, signal, sys
from pathlib import Path
import flyball.tuners.job.job
from tests.tuners.study_bench import Bench, larger_is_faster, two_ranks_of

flyball.tuners.job.job.parse_command = two_ranks_of

def kill(handle, step):
    if handle.request.directory.name == sys.argv[2] and step == 3:
        os.kill(os.getpid(), signal.SIGKILL)

bench = Bench(Path(sys.argv[1]), larger_is_faster, on_step=kill, ablation_seconds=500.0)
bench.run()
"""


@pytest.mark.parametrize("killed", [0, 4, 17, 40])
def test_a_study_that_was_killed_goes_on(
    tmp_path: Path, killed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", STUDY, str(tmp_path), str(killed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    bench = Bench(tmp_path, larger_is_faster)
    before = {trial.number: trial for trial in bench.trials() if trial.outcome is not None}
    assert len(before) == killed
    ablating = any(trial.phase == "ablation" for trial in before.values())
    assert ablating is (killed == 40)
    assert (tmp_path / "out/recommendation.json").exists() is ablating, "before its changes are measured"
    assert bench.run(replace(bench.options, command=(), resume=LATEST, output=None)).verdict == "recommended"
    after = {trial.number: trial for trial in bench.trials()}
    assert {number: after[number] for number in before} == before
    assert after[killed].outcome == OutcomeKind.INTERRUPTED
    searched = Counter(
        trial.configuration.digest
        for trial in after.values()
        if trial.phase == "search" and trial.outcome == OutcomeKind.COMPLETED
    )
    assert max(searched.values()) == 1
    labels = Counter(
        (trial.label, trial.configuration.digest)
        for trial in after.values()
        if trial.label and trial.outcome == OutcomeKind.COMPLETED
    )
    assert max(labels.values()) == 1
