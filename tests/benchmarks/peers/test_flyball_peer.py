"""A study's folder, read as a peer's search."""

import json
import os
from pathlib import Path

import pytest
from tests.benchmarks.peers.base import MEASURED, OUT_OF_MEMORY
from tests.benchmarks.peers.flyball_peer import Span, read_study
from tests.benchmarks.peers.peer_fakes import CONFIG, bench
from tests.benchmarks.peers.registry import PEERS

TUNED = {**CONFIG, "train_micro_batch_size_per_gpu": 8}


def run(
    results: Path, number: int, phase: str, *, at: float, rate: float | None, outcome: str = "completed"
) -> None:
    """One run's metrics.json as a study writes it."""
    folder = results / "trials" / str(number)
    folder.mkdir(parents=True)
    measurement = {"samples_per_second": {"point": rate, "low": rate, "high": rate}} if rate else None
    metrics = {
        "number": number,
        "phase": phase,
        "outcome": outcome,
        "reason": "",
        "assignment": {"micro_batch": number},
        "measurement": measurement,
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    os.utime(folder / "metrics.json", (at, at))


@pytest.fixture
def study(tmp_path):
    results = tmp_path / "out"
    run(results, 0, "baseline", at=1010, rate=100.0)
    run(results, 1, "search", at=1020, rate=150.0)
    run(results, 2, "search", at=1030, rate=None, outcome="out_of_memory")
    run(results, 3, "play_off", at=1040, rate=151.0)
    run(results, 4, "verification", at=1050, rate=148.0)
    run(results, 5, "confirmation", at=1060, rate=149.0)
    (results / "cmd_optimal.txt").write_text(
        f'exec deepspeed train.py {results / "ds_config_optimal.json"} "$@"\n'
    )
    return results


def document(verdict: str = "recommended") -> dict[str, object]:
    side = {
        "ds_config": TUNED,
        "arguments": {},
        "environment": {"OMP_NUM_THREADS": "1"},
        "probe": {"compile": True},
    }
    return {
        "verdict": verdict,
        "speedup": {"point": 1.48, "low": 1.4, "high": 1.6},
        "recommended": side,
        "trials": {"completed": 5, "out_of_memory": 1},
    }


def test_search_and_verification_are_told_apart(study):
    found = read_study(study, document(), Span(began=1000, ended=1065), seed=1, budget_seconds=60)
    assert (found.search_seconds, found.verification_seconds) == (40, 25)
    assert [trial.outcome for trial in found.trials] == [MEASURED, MEASURED, OUT_OF_MEMORY]
    assert [trial.at_seconds for trial in found.trials] == [10, 20, 30]


def test_the_pick_is_the_whole_command(study):
    pick = read_study(study, document(), Span(began=1000, ended=1065), seed=1, budget_seconds=60).pick
    assert pick.config_path in pick.script
    assert pick.ds_config == TUNED
    assert pick.probe == {"compile": True}


def test_on_keep_the_pick_is_the_users_own_command(study):
    (study / "cmd_optimal.txt").write_text('exec deepspeed train.py ds.json "$@"\n')
    found = read_study(study, document("keep"), Span(began=1000, ended=1065), seed=1, budget_seconds=60)
    assert found.pick.script == ""
    assert "verdict: keep" in found.notes[0]


def test_a_study_that_fails_is_a_reason(tmp_path):
    found = PEERS["flyball"].search(bench(tmp_path), tmp_path / "study", seed=0, budget_seconds=5)
    assert found.pick is None
    assert found.reason.startswith("autotune ended with status 2: ")
    assert "train.py" in found.reason
