"""The loop of the peers that make single cold runs, and what each of them proposes."""

import json

import pytest
from tests.benchmarks._outside_run import OutsideRun
from tests.benchmarks.peers.base import CUT_OFF, MEASURED, OUT_OF_MEMORY, Found
from tests.benchmarks.peers.peer_fakes import CONFIG, bench
from tests.benchmarks.peers.registry import PEERS

SINGLE = ["random", "tpe", "grid"]


@pytest.mark.parametrize("name", SINGLE)
def test_the_users_own_comes_first_and_the_fastest_run_wins(name, tmp_path):
    made = bench(tmp_path)
    found = PEERS[name].search(made, tmp_path, seed=0, budget_seconds=1000)
    assert made.measure.made[0].ds_config == CONFIG
    assert found.pick.ds_config["train_micro_batch_size_per_gpu"] == 4
    assert found.verification_seconds is None


@pytest.mark.parametrize("name", SINGLE)
def test_the_budget_is_wall_time_and_a_run_that_it_ends_does_not_count(name, tmp_path):
    found = PEERS[name].search(bench(tmp_path), tmp_path, seed=0, budget_seconds=35)
    assert [trial.at_seconds for trial in found.trials] == [10, 20, 30, 35]
    assert [trial.outcome for trial in found.trials][3] == CUT_OFF
    assert found.trials[3].samples_per_second is None
    assert (found.search_seconds, found.ended) == (35, "budget")


@pytest.mark.parametrize("name", SINGLE)
def test_every_run_is_a_legal_point_of_the_space(name, tmp_path):
    made = bench(tmp_path, space=None)
    PEERS[name].search(made, tmp_path, seed=3, budget_seconds=300)
    assert len(made.measure.made) == 30
    for configuration in made.measure.made:
        assert made.space.findings(configuration.assignment) == []
        assert configuration.probe == {}


@pytest.mark.parametrize("name", ["random", "grid"])
def test_no_point_is_run_twice_and_the_search_ends_with_the_space(name, tmp_path):
    made = bench(tmp_path)
    found = PEERS[name].search(made, tmp_path, seed=0, budget_seconds=100_000)
    points = [json.dumps(trial.settings, sort_keys=True) for trial in found.trials]
    assert len(points) == len(set(points)) == 16
    assert found.ended == "by itself"


@pytest.mark.parametrize("name", SINGLE)
def test_the_same_seed_draws_the_same_points(name, tmp_path):
    def drawn(seed: int) -> list[object]:
        found = PEERS[name].search(bench(tmp_path), tmp_path, seed=seed, budget_seconds=80)
        return [trial.settings for trial in found.trials]

    assert drawn(5) == drawn(5)


def test_another_seed_draws_others(tmp_path):
    drawn = [
        [
            trial.settings
            for trial in PEERS["random"]
            .search(bench(tmp_path), tmp_path, seed=seed, budget_seconds=80)
            .trials
        ]
        for seed in (1, 2)
    ]
    assert drawn[0] != drawn[1]


def test_runs_out_of_memory_are_told_and_never_picked(tmp_path):
    found = PEERS["grid"].search(bench(tmp_path), tmp_path, seed=0, budget_seconds=100_000)
    assert found.count(OUT_OF_MEMORY) == 4
    assert found.count(MEASURED) == 12


def test_rates_are_in_samples_of_the_configurations_own_global_batch(tmp_path):
    found = PEERS["grid"].search(bench(tmp_path), tmp_path, seed=0, budget_seconds=10)
    assert found.trials[0].samples_per_second == 2.0 * 16


@pytest.mark.parametrize("name", SINGLE)
def test_without_a_measured_run_nothing_is_picked_and_the_reason_is_the_runs(name, tmp_path):
    made = bench(tmp_path, outcome=lambda ds_config: OutsideRun(reason="ended with status 1 at step 0"))
    found = PEERS[name].search(made, tmp_path, seed=0, budget_seconds=40)
    assert found.pick is None
    assert "ended with status 1 at step 0" in found.reason


def test_the_most_trials_hold(tmp_path):
    found = PEERS["random"].search(bench(tmp_path, most_trials=2), tmp_path, seed=0, budget_seconds=1000)
    assert len(found.trials) == 2


def test_what_the_probe_alone_applies_is_left_out_and_named(tmp_path):
    made = bench(
        tmp_path, device="cuda", space="knobs:\n  micro_batch: [1, 2, 4]\n  compile: [false, true]\n"
    )
    found = PEERS["grid"].search(made, tmp_path, seed=0, budget_seconds=1000)
    assert all("compile" not in trial.settings for trial in found.trials)
    assert any("compile" in note for note in found.notes)


def test_what_was_found_survives_its_file(tmp_path):
    found = PEERS["random"].search(bench(tmp_path), tmp_path, seed=0, budget_seconds=60)
    assert Found.of(json.loads(json.dumps(found.document()))) == found


def test_a_peer_that_found_nothing_survives_its_file():
    nothing = Found(peer="grid", seed=0, budget_seconds=1.0, reason="needs a GPU")
    assert Found.of(json.loads(json.dumps(nothing.document()))) == nothing
