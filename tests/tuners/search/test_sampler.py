import math
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.trial import TrialState

from flyball.tuners.base import Assignment
from flyball.tuners.legality.context import Context
from flyball.tuners.search.sampler import Search, tpe
from flyball.tuners.search.surrogate import OUT_OF_MEMORY, Observation
from flyball.tuners.space.space import Space, load_space

CPU = Context(
    world_size=2, device="cpu", cores=2, threads=2, deepspeed_version="0.19.8", torch_version="2.13.0"
)
CONFIG = {
    "train_micro_batch_size_per_gpu": 1,
    "gradient_accumulation_steps": 32,
    "zero_optimization": {"stage": 3},
}
GRID = """knobs:
  micro_batch: default
  zero_stage: default
  communication_data_type: default
  threads: default
"""


SMALL = """knobs:
  micro_batch: default
  zero_stage: [0, 3]
  threads: default
"""


@pytest.fixture
def space(tmp_path: Path) -> Space:
    path = tmp_path / "grid.yaml"
    path.write_text(GRID)
    return load_space(path, CONFIG, CPU)


@pytest.fixture
def small_space(tmp_path: Path) -> Space:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return load_space(path, CONFIG, CPU)


def search(space: Space, seed: int = 0, **options: Any) -> Search:
    return Search("study", InMemoryStorage(), seed, space, **options)


def speed(point: Assignment) -> float:
    micro, stage = float(point["micro_batch"]), float(point["zero_stage"])
    return micro / (micro + 3) * (1 - 0.15 * stage) * (1.0 if point["threads"] == 1 else 0.9)


def run(study: Search, trials: int, limit: float = math.inf) -> list[Assignment]:
    """Let a search spend ``trials`` on a job that runs out of memory above a micro batch of ``limit``."""
    asked = []
    for _ in range(trials):
        proposal = study.ask()
        if proposal is None:
            break
        asked.append(proposal.assignment)
        if float(proposal.assignment["micro_batch"]) > limit:
            study.tell_infeasible(proposal.trial, OUT_OF_MEMORY)
        else:
            study.tell_completed(proposal.trial, speed(proposal.assignment))
    return asked


def test_the_users_own_point_comes_first_and_unpacks(space: Space) -> None:
    study = search(space)
    study.enqueue(space.baseline_assignment())
    proposal = study.ask()
    assert proposal is not None
    trial, assignment = proposal
    assert assignment == space.baseline_assignment()
    assert trial.number == 0


def test_no_point_is_proposed_twice_and_the_space_ends(small_space: Space) -> None:
    study = search(small_space)
    asked = run(study, 100)
    assert len(asked) == small_space.size() == 24
    assert len({tuple(sorted(point.items())) for point in asked}) == 24
    assert study.ask() is None


@pytest.mark.parametrize("seed", range(3))
def test_a_quarter_of_the_grid_finds_the_best_region(space: Space, seed: int) -> None:
    study = search(space, seed)
    study.enqueue(space.baseline_assignment())
    best = max(speed(point) for point in space.enumerate())
    assert max(speed(point) for point in run(study, 24)) >= 0.97 * best


def test_the_same_seed_asks_the_same(space: Space) -> None:
    assert run(search(space, 7), 16) == run(search(space, 7), 16)
    assert run(search(space, 7), 16) != run(search(space, 8), 16)


def test_tpe_learns_to_avoid_what_runs_out_of_memory(space: Space) -> None:
    """Optuna's TPE alone, without the rules of this search: out of memory is told, never forbidden."""

    def share_out_of_memory(sampler: optuna.samplers.BaseSampler) -> float:
        study = optuna.create_study(direction="maximize", sampler=sampler)
        failed = []
        for _ in range(40):
            trial = study.ask()
            point = space.suggest(trial)
            failed.append(float(point["micro_batch"]) > 4)
            if failed[-1]:
                trial.set_constraint(OUT_OF_MEMORY, 1.0)
                study.tell(trial, state=TrialState.PRUNED)
            else:
                trial.set_constraint(OUT_OF_MEMORY, 0.0)
                study.tell(trial, speed(point))
        return float(np.mean(failed[10:]))

    taught = np.mean([share_out_of_memory(tpe(seed)) for seed in range(3)])
    blind = np.mean([share_out_of_memory(optuna.samplers.RandomSampler(seed)) for seed in range(3)])
    assert blind > 0.4
    assert taught < 0.5 * blind


def test_the_search_stops_asking_for_what_runs_out_of_memory(space: Space) -> None:
    asked = run(search(space), 30, limit=4)
    failed = [float(point["micro_batch"]) > 4 for point in asked]
    # Half of the grid runs out of memory, and everywhere else a larger micro batch is faster.
    assert sum(failed) <= 10


def test_a_point_heavier_than_one_that_ran_out_is_never_proposed(small_space: Space) -> None:
    asked = run(search(small_space), 100, limit=4)
    assert len(asked) < small_space.size()
    for index, point in enumerate(asked):
        for earlier in asked[:index]:
            alike = {**point, "micro_batch": 0, "threads": 0} == {**earlier, "micro_batch": 0, "threads": 0}
            heavier = float(point["micro_batch"]) >= float(earlier["micro_batch"]) > 4
            assert not (alike and heavier)


def test_what_failed_by_chance_may_be_asked_again(small_space: Space) -> None:
    space = small_space
    study = search(space)
    study.enqueue(space.baseline_assignment())
    proposal = study.ask()
    assert proposal is not None
    study.tell_failed(proposal.trial)
    assert study.observations() == []
    study.enqueue(space.baseline_assignment())
    assert space.baseline_assignment() in run(study, 1)


def test_a_throughput_that_is_no_number_is_a_failure(space: Space) -> None:
    study = search(space)
    proposal = study.ask()
    assert proposal is not None
    study.tell_completed(proposal.trial, math.nan)
    assert study.study.trials[0].state is TrialState.FAIL


def test_a_satisfied_constraint_is_not_infeasible(space: Space) -> None:
    study = search(space)
    proposal = study.ask()
    assert proposal is not None
    with pytest.raises(ValueError, match="above zero"):
        study.tell_infeasible(proposal.trial, OUT_OF_MEMORY, 0.0)


def test_a_killed_study_goes_on_from_its_storage(space: Space, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'history.db'}"
    first = Search("study", url, 0, space)
    done = run(first, 3)
    left = first.ask()
    assert left is not None
    second = Search("study", RDBStorage(url), 0, space)
    assert second.recover() == 1
    assert second.recover() == 0
    assert [seen.assignment for seen in second.observations()] == done
    following = second.ask()
    assert following is not None
    assert following.assignment not in done


def test_a_warm_start_teaches_without_using_up_points(space: Space) -> None:
    past = [Observation(assignment=point, value=speed(point)) for point in space.enumerate()]
    stranger = Observation(assignment={"micro_batch": 3, "zero_stage": 0}, value=1.0)
    study = search(space)
    assert study.warm_start([*past, stranger]) == len(past)
    assert study.warm_start(past) == 0
    best = max(space.enumerate(), key=speed)
    assert best in run(study, 8)


def test_what_ran_out_of_memory_in_another_study_can_be_tried_again(space: Space) -> None:
    """The device may have been shared then, or the sequences longer."""
    past = [Observation(assignment=point, value=None) for point in space.enumerate()]
    study = search(space)
    assert study.warm_start(past) == len(past)
    assert len(run(study, 3)) == 3


def test_optunas_parameters_come_back_as_the_same_point(space: Space) -> None:
    study = search(space)
    for point in list(space.enumerate())[::17]:
        study.enqueue(point)
        proposal = study.ask()
        assert proposal is not None
        assert proposal.assignment == point
        study.tell_completed(proposal.trial, 1.0)


def asked_first(study: Search, space: Space, trials: int) -> list[dict[str, object]]:
    """What differs from the user's own in the first proposals, which all run equally fast."""
    own = space.baseline_assignment()
    study.enqueue(own)
    asked = []
    while len(asked) <= trials:
        proposal = study.ask()
        assert proposal is not None
        asked.append({name: value for name, value in proposal.assignment.items() if own[name] != value})
        study.tell_completed(proposal.trial, 1.0)
    assert asked[0] == {}, "the user's own is first whatever is suggested"
    return asked[1:]


def test_knobs_that_alerts_suggest_go_first_in_their_order(space: Space) -> None:
    study = search(space, suggested=("zero_stage", "micro_batch"))
    first, second = asked_first(study, space, 2)
    assert first == {"zero_stage": 0}
    assert second.keys() == {"zero_stage", "micro_batch"}


def test_of_a_knob_without_a_promising_value_both_neighbours_are_tried(tmp_path: Path) -> None:
    path = tmp_path / "buckets.yaml"
    path.write_text("knobs:\n  zero_stage: default\n  reduce_bucket_size: [1000000, 500000000, 900000000]\n")
    config = {**CONFIG, "zero_optimization": {"stage": 2, "reduce_bucket_size": 500_000_000}}
    buckets = load_space(path, config, CPU)
    asked = asked_first(search(buckets, suggested=("reduce_bucket_size",)), buckets, 3)
    assert asked[:2] == [{"reduce_bucket_size": 1_000_000}, {"reduce_bucket_size": 900_000_000}]
    assert "zero_stage" in asked[2], "then as ever"


def test_a_knob_that_the_space_does_not_vary_changes_nothing(space: Space) -> None:
    suggested = search(space, 7, suggested=("powersgd", "no_such_knob"))
    assert run(suggested, 16) == run(search(space, 7), 16)


def test_suggestions_make_no_search_longer(small_space: Space) -> None:
    study = search(small_space, suggested=("threads", "zero_stage", "micro_batch"))
    asked = run(study, 100)
    assert len(asked) == len({tuple(sorted(point.items())) for point in asked}) == small_space.size()


def test_where_the_first_suggestion_runs_out_of_memory_the_next_is_tried_alone(space: Space) -> None:
    study = search(space, suggested=("micro_batch", "zero_stage"))
    first, second = run(study, 2, limit=1)
    own = space.baseline_assignment()
    assert first["micro_batch"] != own["micro_batch"]
    assert second == {**own, "zero_stage": 0}


def test_suggestions_go_on_where_a_killed_search_stopped(space: Space, tmp_path: Path) -> None:
    def opened(name: str) -> Search:
        url = f"sqlite:///{tmp_path / name}"
        return Search("study", url, 7, space, suggested=("zero_stage", "micro_batch"))

    whole = run(opened("whole.db"), 4)
    stopped = run(opened("stopped.db"), 1)
    left = opened("stopped.db")
    left.ask()
    resumed = opened("stopped.db")
    assert resumed.recover() == 1
    assert [*stopped, *run(resumed, 3)] == whole


MANY_FAMILIES = """knobs:
  micro_batch: [1, 2, 4, 8]
  zero_stage: [0, 1, 2, 3]
  communication_data_type: [fp32, bf16]
  threads: default
"""


def of_structure(point: Assignment) -> tuple[object, object]:
    return point["zero_stage"], point["communication_data_type"]


def test_many_families_are_screened_and_those_that_lose_are_left(tmp_path: Path) -> None:
    path = tmp_path / "many.yaml"
    path.write_text(MANY_FAMILIES)
    space = load_space(path, CONFIG, CPU)
    screening = search(space, trials=24)
    screening.enqueue(space.baseline_assignment())
    first = run(screening, 10)
    assert len({of_structure(point) for point in first}) == 8
    left = 0
    for _ in range(3):
        (point,) = run(screening, 1)
        assert not screening.screening.is_left(point)
        left = max(left, len(screening.screening.left))
    assert left > 0
    assert any(why.startswith("zero_stage=3") for why in screening.screening.left.values())


def test_few_trials_screen_no_more_families_than_half_of_them(tmp_path: Path) -> None:
    path = tmp_path / "many.yaml"
    path.write_text(MANY_FAMILIES)
    space = load_space(path, CONFIG, CPU)
    assert search(space, trials=8).screening.wanted == 4
    assert search(space, trials=30).screening.wanted == 8


def test_few_families_are_left_to_the_surrogate(small_space: Space) -> None:
    assert search(small_space, trials=24).screening.wanted == 0
    assert search(small_space, trials=24).screening.left == {}
