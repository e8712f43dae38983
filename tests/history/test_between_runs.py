"""Studies over production runs: their generations, who may take them up, and which promise something."""

from tests.history.fakes import living, new_experiment, new_trial

from flyball.history.finding import BETWEEN_RUNS
from flyball.history.records import FINISHED, INTERRUPTED, WAITING
from flyball.history.store import History

OF_RUNS = {BETWEEN_RUNS: {"script": "abc"}}


def test_the_generations_of_a_study_are_those_of_its_name_the_newest_first(history: History) -> None:
    for name in ("nightly", "nightly@2", "nightly-too", "nightly@3", "nigh%", "Nightly@2"):
        new_experiment(history, name, options=OF_RUNS)
    assert [each.name for each in history.generations("nightly")] == ["nightly@3", "nightly@2", "nightly"]
    assert [each.name for each in history.generations("nigh%")] == ["nigh%"]
    assert history.generations("weekly") == []


def test_a_study_that_waits_is_held_by_nobody_and_resumed_by_no_autotune(history: History) -> None:
    made = new_experiment(history, options=OF_RUNS)
    history.claim(made, living())
    history.set_experiment_status(made, WAITING)
    record = history.experiment(made)
    assert (record.status, record.owner) == (WAITING, None)
    assert history.latest_resumable() is None
    plain = new_experiment(history, "plain")
    history.set_experiment_status(plain, INTERRUPTED)
    found = history.latest_resumable()
    assert found is not None
    assert found.id == plain


def test_an_experiment_is_read_by_its_id_and_by_its_trial(history: History) -> None:
    new_experiment(history, "2")
    second = new_experiment(history, "second")
    assert history.experiment(second).name == "second"
    trial = new_trial(history, second, 0)
    assert history.experiment_of_trial(trial).id == second


def test_only_recommendations_of_alike_machines_are_listed(history: History) -> None:
    for name, verdict in (("a", "recommended"), ("b", "keep"), ("c", "recommended"), ("d", None)):
        made = new_experiment(history, name)
        if verdict is not None:
            history.save_recommendation(made, {"verdict": verdict})
            history.set_experiment_status(made, FINISHED)
    assert [each.name for each in history.recommending("machine-a")] == ["c", "a"]
    assert [each.name for each in history.recommending("machine-a", limit=1)] == ["c"]
    assert history.recommending("machine-b") == []
