"""What was acknowledged is kept through kill -9, and processes that write together lose nothing."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.history.fakes import living
from tests.patience import PATIENCE_SECONDS

from flyball.database import open_database
from flyball.history.store import History

REPOSITORY = Path(__file__).parents[2]
KILLS = 3
EACH = 15
pytestmark = pytest.mark.live


def start_writer(url: str, name: str, *count: str) -> "subprocess.Popen[str]":
    """Start a process that waits for a line before it opens the database."""
    command = [sys.executable, "-m", "tests.history.writer", url, name, *count]
    return subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )


def let_go(writer: "subprocess.Popen[str]") -> None:
    assert writer.stdin is not None
    writer.stdin.write("go\n")
    writer.stdin.flush()


def lines(writer: "subprocess.Popen[str]", count: int) -> list[str]:
    assert writer.stdout is not None
    return [writer.stdout.readline().strip() for _ in range(count)]


def test_every_acknowledged_trial_outlives_kill_9(url: str) -> None:
    chance = random.Random(7)
    writers = [start_writer(url, f"killed {each}") for each in range(KILLS)]
    acknowledged = {}
    for each, writer in enumerate(writers):
        with writer:
            assert lines(writer, 1) == ["ready"]
            let_go(writer)
            seen = lines(writer, chance.randint(1, 25))
            writer.kill()
            assert writer.stdout is not None
            # What it wrote to the pipe before it died was acknowledged too; the last line may be torn.
            seen += writer.stdout.read().split("\n")[:-1]
        acknowledged[f"killed {each}"] = [int(line) for line in seen]
    with open_database(url) as database:
        history = History(database)
        for name, numbers in acknowledged.items():
            experiment = history.find_experiment(name)
            history.claim(experiment.id, living())
            left = history.recover(experiment.id)
            trials = history.trials(experiment.id)
            finished = {trial.number: trial for trial in trials if trial.outcome == "completed"}
            assert numbers
            assert set(numbers) <= set(finished)
            # One more may have been committed and killed before it was said; none is there twice.
            assert len(finished) <= len(numbers) + 1
            assert [trial.number for trial in trials] == list(range(len(trials)))
            assert len(left) <= 1
            assert all(finished[number].samples_per_second == 100.0 + number for number in numbers)
            assert all(trial.status == "finished" for trial in trials)


def test_two_processes_that_start_together_both_write_all_of_theirs(url: str) -> None:
    writers = [start_writer(url, name, str(EACH)) for name in ("one", "other")]
    for writer in writers:
        assert lines(writer, 1) == ["ready"]
    for writer in writers:
        let_go(writer)
    for writer in writers:
        writer.communicate(timeout=PATIENCE_SECONDS)
        assert writer.returncode == 0
    with open_database(url) as database:
        summaries = History(database).experiments()
    assert {each.experiment.name: dict(each.outcomes) for each in summaries} == {
        name: {"completed": EACH} for name in ("one", "other")
    }
