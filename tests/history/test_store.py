"""What a study writes into the history is what it reads from it, on SQLite and PostgreSQL alike."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.history.fakes import (
    FakeClock,
    FakeFingerprint,
    complete,
    living,
    measured,
    new_configuration,
    new_experiment,
    new_trial,
)

from flyball.database import open_database
from flyball.errors import DatabaseError, OptionError
from flyball.history.digest import command_digest
from flyball.history.store import History


def test_an_experiment_is_read_as_it_was_written(history: History, clock: FakeClock) -> None:
    made = new_experiment(history, base_config={"zero": {"b": 1, "a": [None, 0.5, "é"]}})
    record = history.find_experiment(made)
    assert (record.id, record.name, record.status) == (made, "first", "running")
    assert (record.created_time, record.finished_time) == (clock.now, None)
    assert record.command == ("deepspeed", "train.py")
    assert list(record.base_config["zero"].items()) == [("b", 1), ("a", [None, 0.5, "é"])]
    assert (record.seed, record.budget_seconds, record.options) == (2**40, 600.0, {"cwd": "/job"})
    assert (record.fingerprint_digest, record.fingerprint) == ("machine-a", {"cpu_model": "test"})
    assert record.owner is None


def test_a_name_is_given_once(history: History) -> None:
    new_experiment(history)
    with pytest.raises(OptionError, match=r"there is an experiment first already; .* --resume first"):
        new_experiment(history)


def test_experiments_on_one_machine_share_its_fingerprint(history: History) -> None:
    records = [history.find_experiment(new_experiment(history, name)) for name in ("a", "b")]
    assert {record.fingerprint_digest for record in records} == {"machine-a"}


@pytest.mark.parametrize("key", ["first", "1", "/results/first"])
def test_an_experiment_is_found_by_what_its_user_knows(history: History, key: str) -> None:
    made = new_experiment(history)
    assert history.find_experiment(key).id == made


def test_an_experiment_is_found_by_its_folder_from_where_one_stands(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = new_experiment(history, output_directory=tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    assert history.find_experiment("results").id == made


@pytest.mark.parametrize(
    ("key", "mend"),
    [
        ("frist", "did you mean first?"),
        ("zzz", "flyball history experiments"),
        ("9" * 30, "history"),
        ("7", "history"),
    ],
)
def test_an_unknown_experiment_is_said_with_a_mend(history: History, key: str, mend: str) -> None:
    new_experiment(history)
    with pytest.raises(DatabaseError, match=f"there is no experiment {key}") as caught:
        history.find_experiment(key)
    assert mend in str(caught.value)


def test_a_configuration_is_kept_once_in_an_experiment(history: History) -> None:
    one, other = new_experiment(history, "one"), new_experiment(history, "other")
    first = new_configuration(history, one, "same")
    assert new_configuration(history, one, "same") == first
    assert new_configuration(history, one, "another") != first
    assert new_configuration(history, other, "same") != first


def test_a_finished_trial_is_read_as_it_was_written(history: History, clock: FakeClock) -> None:
    experiment = new_experiment(history)
    trial = new_trial(
        history, experiment, 3, optuna_number=7, label="round 2", placement={"hosts": ["here"], "ranks": 2}
    )
    clock.now += 12
    assert complete(
        history,
        trial,
        50.0,
        launcher="warm",
        startup_seconds=1.5,
        notes=("a", "b"),
        rank=1,
        waited_seconds=4.0,
    )
    (record,) = history.trials(experiment)
    assert (record.number, record.phase, record.optuna_number, record.label) == (3, "search", 7, "round 2")
    assert (record.status, record.outcome, record.reason) == ("finished", "completed", "measured")
    assert (record.launcher, record.startup_seconds, record.total_seconds) == ("warm", 1.5, 10.0)
    assert record.waited_seconds == 4.0
    assert record.finished_time == clock.now == record.started_time + 12
    assert (record.notes, record.rank, record.owner) == (("a", "b"), 1, living())
    assert record.placement == {"hosts": ["here"], "ranks": 2}
    assert record.configuration.assignment == {"stage": 1, "micro_batch": 4, "overlap": True}
    assert record.configuration.environment == {"OMP_NUM_THREADS": "1"}
    assert record.measurement is not None
    assert record.measurement.document == measured(50.0)
    assert (record.samples_per_second, record.measurement.samples_per_second_low) == (50.0, 49.0)
    assert record.measurement.peak_reserved_bytes == 2**33


def test_a_trial_that_failed_has_no_measurement(history: History, clock: FakeClock) -> None:
    experiment = new_experiment(history)
    trial = new_trial(history, experiment, 0)
    clock.now += 4
    assert history.finish_trial(trial, outcome="out_of_memory", reason="CUDA out of memory")
    (record,) = history.trials(experiment)
    assert (record.outcome, record.measurement, record.samples_per_second) == ("out_of_memory", None, None)
    assert record.total_seconds == 4


def test_finishing_twice_counts_once(history: History) -> None:
    experiment = new_experiment(history)
    trial = new_trial(history, experiment, 0)
    assert complete(history, trial, 50.0)
    assert not complete(history, trial, 60.0)
    assert not history.finish_trial(trial, outcome="crashed", reason="late", total_seconds=99.0)
    (record,) = history.trials(experiment)
    assert (record.outcome, record.samples_per_second) == ("completed", 50.0)
    assert history.spend(experiment) == 10.0


def test_what_json_cannot_hold_is_not_available(history: History) -> None:
    experiment = new_experiment(history)
    rate = {"point": 5.0, "low": float("nan"), "high": float("inf")}
    odd = measured(
        5.0, samples_per_second=rate, tokens_per_second=float("-inf"), losses=[[1.0, float("nan")]]
    )
    complete(history, new_trial(history, experiment, 0), 0.0, measurement=odd, startup_seconds=float("nan"))
    (record,) = history.trials(experiment)
    assert record.measurement is not None
    assert record.measurement.samples_per_second == 5.0
    assert record.measurement.samples_per_second_high is None
    assert record.measurement.tokens_per_second is None
    assert record.measurement.document["losses"] == [[1.0, None]]
    assert record.startup_seconds is None


_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(reason=_TEXT, value=_JSON)
def test_any_last_words_and_any_json_can_be_kept(history: History, reason: str, value: object) -> None:
    name = f"experiment {len(history.experiments())}"
    experiment = new_experiment(history, name, options={"given": value})
    history.finish_trial(new_trial(history, experiment, 0), outcome="crashed", reason=reason, notes=[reason])
    (record,) = history.trials(experiment)
    kept = "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in reason)
    assert (record.reason, record.notes) == (kept, (kept,))
    assert history.find_experiment(name).options == {"given": value}


def test_time_spent_is_the_sum_over_trials(history: History) -> None:
    experiment = new_experiment(history)
    assert history.spend(experiment) == 0.0
    for number, seconds in enumerate((1.5, 2.5)):
        complete(history, new_trial(history, experiment, number), 5.0, total_seconds=seconds)
    new_trial(history, experiment, 9)
    assert history.spend(experiment) == 4.0


def test_a_recommendation_replaces_the_one_before(history: History, clock: FakeClock) -> None:
    experiment = new_experiment(history)
    assert history.recommendation(experiment) is None
    history.save_recommendation(experiment, {"verdict": "unverified"})
    clock.now += 5
    history.save_recommendation(experiment, {"verdict": "keep", "noise": float("nan")})
    record = history.recommendation(experiment)
    assert record is not None
    assert (record.verdict, record.created_time) == ("keep", clock.now)
    assert record.document == {"verdict": "keep", "noise": None}


def test_a_summary_counts_what_became_of_the_trials(history: History, clock: FakeClock) -> None:
    new_experiment(history, "empty")
    experiment = new_experiment(history)
    rates = [("baseline", 10.0), ("search", 30.0), ("search", 20.0), ("verification", 99.0)]
    for number, (phase, rate) in enumerate(rates):
        complete(history, new_trial(history, experiment, number, phase=phase), rate)
    failed = new_trial(history, experiment, 4)
    history.finish_trial(failed, outcome="hung", reason="no step", total_seconds=60.0)
    new_trial(history, experiment, 5)
    clock.now += 200
    history.save_recommendation(
        experiment, {"verdict": "recommended", "speedup": {"point": 3.0, "low": 2.5, "high": 3.5}}
    )
    history.set_experiment_status(experiment, "finished")

    newest, oldest = history.experiments()
    assert newest == history.summary(experiment)
    assert newest.outcomes == {"completed": 4, "hung": 1}
    assert (newest.running_trials, newest.trials) == (1, 6)
    assert (newest.trial_seconds, newest.duration_seconds) == (100.0, 200.0)
    assert (newest.best_number, newest.best_samples_per_second) == (1, 30.0)
    assert newest.baseline_samples_per_second == 10.0
    assert (newest.verdict, newest.speedup) == ("recommended", {"point": 3.0, "low": 2.5, "high": 3.5})
    assert (oldest.experiment.name, oldest.outcomes, oldest.trials) == ("empty", {}, 0)
    assert (oldest.best_number, oldest.verdict, oldest.duration_seconds) == (None, None, 0.0)
    assert [each.experiment.name for each in history.experiments(limit=1)] == ["first"]


def test_only_alike_experiments_warm_a_study(history: History) -> None:
    command = ["deepspeed", "train.py"]
    digest = command_digest(command, "/job")
    alike = new_experiment(history, "alike", command_digest=digest)
    complete(history, new_trial(history, alike, 0, phase="baseline"), 10.0)
    complete(history, new_trial(history, alike, 1), 30.0)
    complete(history, new_trial(history, alike, 2, phase="verification"), 31.0)
    failed = new_trial(history, alike, 3)
    history.finish_trial(failed, outcome="out_of_memory", reason="", total_seconds=1.0)
    gone = new_trial(history, alike, 4)
    history.finish_trial(gone, outcome="interrupted", reason="", total_seconds=1.0)
    new_trial(history, alike, 5)
    others = [
        new_experiment(history, "other folder", command_digest=command_digest(command, "/elsewhere")),
        new_experiment(history, "other machine", command_digest=digest, fingerprint=FakeFingerprint("b")),
        own := new_experiment(history, "own", command_digest=digest),
    ]
    for other in others:
        complete(history, new_trial(history, other, 0), 99.0)

    past = history.matching("machine-a", digest, excluding=own)
    assert [(each.number, each.outcome, each.samples_per_second) for each in past] == [
        (1, "completed", 30.0),
        (0, "completed", 10.0),
        (3, "out_of_memory", None),
    ]
    assert {each.experiment for each in past} == {"alike"}
    assert past[0].assignment == {"stage": 1, "micro_batch": 4, "overlap": True}


def test_all_of_it_is_there_when_the_database_is_opened_again(url: str) -> None:
    with open_database(url) as database:
        history = History(database)
        experiment = new_experiment(history)
        complete(history, new_trial(history, experiment, 0), 5.0)
        before = history.trials(experiment), history.experiments()
    with open_database(url, for_reading=True) as database:
        history = History(database)
        assert (history.trials(experiment), history.experiments()) == before
