"""A study spread over production runs: what each run does, what is remembered, what they come to."""

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sqlalchemy import select
from tests.tuners.production_bench import MACHINE, SPACE, Fate, Production, alike

from flyball import tuners
from flyball.collectors.fingerprint import Gpu
from flyball.database import open_database
from flyball.errors import FlyballError, OptionError
from flyball.history.finding import BETWEEN_RUNS
from flyball.history.models import ExperimentRow
from flyball.tuners.objective import Objective
from flyball.tuners.options import StudyOptions
from flyball.tuners.results.promise import promised
from flyball.tuners.study.resume import experiments_to_resume

SCHEMA = jsonschema.Draft202012Validator(
    json.loads((Path(tuners.__file__).parent / "schema" / "recommendation.schema.json").read_text())
)
OUT_OF_MEMORY = {"type": "OutOfMemoryError", "message": "CUDA out of memory", "where": None}
REFUSED = {"type": "ValidationError", "message": "no such key", "where": None, "in_deepspeed_config": True}
BROKEN = {"type": "RuntimeError", "message": "shapes differ", "where": None}

WIDE = "knobs:\n  micro_batch: [1, 2, 4, 8]\n  threads: [1, 2, 3]\n"


@pytest.fixture
def job(tmp_path: Path) -> Production:
    return Production(tmp_path)


def searched(job: Production) -> Production:
    """The job after its own run and those of the search."""
    job.runs(4)
    return job


def decided(job: Production) -> Production:
    searched(job).runs(6)
    return job


# ---- the course of a study --------------------------------------------------------------------------


def test_the_first_run_is_the_users_own_command_as_typed(job: Production) -> None:
    turn = job.begin()
    assert (turn.is_own, turn.tokens, turn.environment) == (True, None, {})
    assert "study nightly begins" in turn.lines[0]


def test_the_search_tries_each_point_once_and_then_both_run_alternately(job: Production) -> None:
    tried = job.runs(10)
    assert tried[0] == 1
    assert sorted(tried[1:4]) == [2, 4, 8]
    assert sorted(tried[4:]) == [1, 1, 1, 8, 8, 8]
    assert all(sorted(tried[4 + pair : 6 + pair]) == [1, 8] for pair in (0, 2, 4))


def test_the_evidence_decides_and_the_results_are_those_of_a_plain_study(job: Production) -> None:
    searched(job).runs(5)
    turn, recorded = job.run()
    assert recorded is not None
    assert any("8" in line for line in recorded.lines[1:])
    document = job.recommendation()
    SCHEMA.validate(document)
    assert document["verdict"] == "recommended"
    assert document["recommended"]["ds_config"]["train_micro_batch_size_per_gpu"] == 8
    assert document["speedup"]["low"] < 8**0.3 < document["speedup"]["high"]
    assert document["speedup_json"] == document["speedup"]
    assert "rank-sum" in document["verification"]["test"]
    output = job.folder / "flyball_results" / "nightly"
    assert {"ds_config_optimal.json", "cmd_optimal.txt", "summary.txt", "report.html"} <= {
        path.name for path in output.iterdir()
    }
    plan = json.loads((output / "verification_plan.json").read_text())
    assert plan["looks"] == document["verification"]["looks"]
    assert turn.study == "nightly"


def test_further_runs_use_what_is_recommended_and_are_promised_its_rate(job: Production) -> None:
    turn, _ = decided(job).run()
    assert (job.micro(turn), turn.is_own) == (8, False)
    assert "recommended" in turn.lines[-1]
    promise = promised(job.recommendation())
    assert promise is not None
    assert turn.promise == {"experiment": "nightly", "low": promise.low, "high": promise.high}
    assert promise.low < 100 * 8**0.3 < promise.high


def test_where_nothing_is_faster_the_users_own_stays(tmp_path: Path) -> None:
    job = Production(tmp_path, speed=alike)
    job.runs(20)
    SCHEMA.validate(job.recommendation())
    assert job.recommendation()["verdict"] == "keep"
    turn = job.begin()
    assert (turn.is_own, turn.trial_id) == (True, None)
    assert "keep" in turn.lines[-1]


def test_the_users_own_is_measured_again_now_and_then(tmp_path: Path) -> None:
    job = Production(tmp_path, space=WIDE, search_runs=10)
    turns = [job.run()[0].is_own for _ in range(11)]
    assert turns == [True, *[False] * 4, True, *[False] * 4, True]


def test_drift_of_the_machine_is_no_gain(tmp_path: Path) -> None:
    job = Production(tmp_path, space=WIDE, search_runs=6, noise=0.005)
    job.speed = lambda micro: 100.0 * 1.03**job.number
    job.runs(45)
    assert job.recommendation()["verdict"] == "keep"


def test_runs_that_do_not_explore_are_the_users_own_and_are_not_recorded(job: Production) -> None:
    job.runs(1)
    turn = job.begin(explore=False)
    assert (turn.is_own, turn.trial_id) == (True, None)
    assert len(job.trials()) == 1


# ---- what a production run must not turn ------------------------------------------------------------


def test_only_knobs_that_keep_numerics_and_checkpoints_are_turned(tmp_path: Path) -> None:
    space = "knobs:\n  micro_batch: [1, 2]\n  global_batch: [16, 32]\n  zero_stage: [0, 1, 2]\n"
    job = Production(tmp_path, space=space, search_runs=12)
    assert job.runs(3)[:2] == [1, 2]
    turned = {knob for trial in job.trials() for knob in trial.configuration.assignment}
    assert turned == {"micro_batch"}


def test_a_batch_that_may_not_follow_the_config_is_left_alone_and_said(tmp_path: Path) -> None:
    job = Production(tmp_path, space=WIDE)
    (tmp_path / "train.py").write_text("import deepspeed  # train_micro_batch_size_per_gpu\n")
    job.runs(1)
    turn = job.begin()
    assert job.micro(turn) == 1
    assert any("micro_batch is not tried" in line and "--map" in line for line in turn.lines)
    assert {knob for trial in job.trials() for knob in trial.configuration.assignment} == {"threads"}


def test_a_folder_with_results_of_something_else_is_refused(job: Production) -> None:
    (job.folder / "flyball_results" / "nightly").mkdir(parents=True)
    (job.folder / "flyball_results" / "nightly" / "observed.json").write_text("{}")
    turn = job.begin()
    assert turn.refused is not None
    assert "holds results already" in turn.refused


def test_nothing_of_a_users_command_is_redirected(tmp_path: Path) -> None:
    job = Production(tmp_path, more=("--output_dir", "out"))
    job.runs(1)
    turn = job.begin()
    assert turn.tokens is not None
    assert turn.tokens[-2:] == ("--output_dir", "out")
    assert "guard_writes" not in turn.probe


# ---- failures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raises", "outcome"),
    [(OUT_OF_MEMORY, "out_of_memory"), (REFUSED, "invalid_config"), (BROKEN, "crashed")],
)
def test_what_fails_before_its_first_step_is_followed_by_the_users_own_at_once(
    job: Production, raises: dict[str, Any], outcome: str
) -> None:
    job.runs(1)
    failed = job.begin()
    recorded = job.end(failed, Fate(steps=0, exit_status=1, raises=raises))
    assert recorded.restart
    assert outcome.replace("_", " ") in recorded.lines[0]
    again = job.begin(own_only=True)
    assert again.is_own
    assert not job.end(again).restart
    assert job.outcomes() == ["completed", outcome, "completed"]
    assert job.micro(failed) not in job.runs(8)


def test_what_fails_later_is_not_started_again_and_the_next_run_is_the_users_own(job: Production) -> None:
    job.runs(1)
    _, recorded = job.run(Fate(exit_status=1, raises=OUT_OF_MEMORY))
    assert recorded is not None
    assert not recorded.restart
    turn, _ = job.run()
    assert turn.is_own
    assert not job.run()[0].is_own


def test_the_users_own_that_fails_is_not_started_again(job: Production) -> None:
    _, recorded = job.run(Fate(steps=0, exit_status=1, raises=BROKEN))
    assert recorded is not None
    assert not recorded.restart
    assert job.begin().is_own


@pytest.mark.parametrize(
    "fate",
    [
        Fate(steps=0, signal=signal.SIGINT),
        Fate(steps=0, exit_status=1, told=(signal.SIGTERM,)),
        Fate(steps=0, exit_status=143),
        Fate(steps=0, exit_status=1, raises={"type": "KeyboardInterrupt", "message": ""}),
    ],
)
def test_what_was_asked_to_end_is_not_started_again_and_not_counted(job: Production, fate: Fate) -> None:
    job.runs(1)
    _, recorded = job.run(fate)
    assert recorded is not None
    assert not recorded.restart
    assert job.outcomes() == ["completed", "interrupted"]


@pytest.mark.parametrize(("on_terminal", "restarts"), [(True, False), (False, True)])
def test_on_a_terminal_only_a_reason_in_the_journal_starts_it_again(
    job: Production, on_terminal: bool, restarts: bool
) -> None:
    job.runs(1)
    _, recorded = job.run(Fate(steps=0, exit_status=1, on_terminal=on_terminal))
    assert recorded is not None
    assert recorded.restart is restarts


def test_a_run_that_its_scheduler_ends_counts_once_it_can_be_measured(job: Production) -> None:
    job.run(Fate(exit_status=143, told=(signal.SIGTERM,)))
    assert job.outcomes() == ["completed"]


def test_a_run_too_short_to_be_measured_is_not_counted(job: Production) -> None:
    _, recorded = job.run(Fate(steps=3))
    assert recorded is not None
    assert "not counted" in recorded.lines[0]
    assert job.begin().is_own


@pytest.mark.parametrize("fate", [Fate(flyball_killed=True), Fate(steps=20, signal=signal.SIGKILL)])
def test_a_run_that_is_killed_is_never_counted_and_the_next_goes_on(job: Production, fate: Fate) -> None:
    job.runs(1)
    killed, _ = job.run(fate)
    tried = job.runs(9)
    assert sorted(tried[:3]) == [2, 4, 8]
    assert job.micro(killed) in tried[:3]
    assert job.outcomes()[1] == "interrupted"
    assert job.recommendation()["verdict"] == "recommended"


def test_a_configuration_that_is_cut_off_twice_is_left_alone(job: Production) -> None:
    job.runs(1)
    killed = [job.micro(job.run(Fate(flyball_killed=True))[0]) for _ in range(2)]
    assert killed[0] == killed[1]
    assert killed[0] not in job.runs(8)


def test_a_recommendation_that_fails_twice_in_use_is_withdrawn(job: Production) -> None:
    decided(job)
    for _ in range(2):
        assert job.micro(job.run(Fate(exit_status=1, raises=OUT_OF_MEMORY))[0]) == 8
        assert job.run()[0].is_own
    assert job.begin().is_own


# ---- several at once, and changes -------------------------------------------------------------------


def test_two_jobs_share_a_study(job: Production) -> None:
    assert job.begin().is_own
    second = job.begin()
    assert second.is_own
    job.end(second)
    third, fourth = job.begin(), job.begin()
    assert len({job.micro(third), job.micro(fourth), 1}) == 3
    job.end(fourth)
    job.end(third)
    assert [trial.number for trial in job.trials()] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("file", "text", "part"),
    [
        ("train.py", "import deepspeed  # changed\n", "script"),
        ("space.yaml", "knobs:\n  micro_batch: [1, 2, 4]\n", "space"),
    ],
)
def test_a_changed_job_begins_anew_and_says_why(job: Production, file: str, text: str, part: str) -> None:
    job.runs(3)
    before = (job.folder / file).read_text()
    (job.folder / file).write_text(text)
    turn = job.begin()
    assert turn.is_own
    assert turn.study == "nightly@2"
    assert f"its {part} changed" in turn.lines[0]
    assert turn.lines[0].endswith("with what it had before, runs go on with nightly")
    assert len(job.trials(generation=1)) == 3
    job.end(turn)
    (job.folder / file).write_text(before)
    assert job.begin().study == "nightly"


def test_a_config_that_changes_while_it_runs_decides_nothing(job: Production) -> None:
    searched(job).runs(5)
    turn = job.begin()
    config = json.loads((job.folder / "ds.json").read_text())
    micro = job.micro(turn)
    (job.folder / "ds.json").write_text(json.dumps({**config, "gradient_clipping": 1.0}))
    assert len(job.end(turn).lines) == 1
    assert micro in (1, 8)
    assert not (job.folder / "flyball_results" / "nightly" / "recommendation.json").exists()


def test_another_output_folder_is_the_same_job(tmp_path: Path) -> None:
    job = Production(tmp_path, more=("--output_dir", "monday"))
    job.runs(2)
    job.more = ("--output_dir", "tuesday")
    assert job.begin().study == "nightly"


def test_a_study_that_has_begun_tells_of_a_fault_and_refuses_nothing(job: Production) -> None:
    job.runs(1)
    job.more = ("{trial_dir}",)
    with pytest.raises(FlyballError):
        job.begin()


@pytest.mark.parametrize(
    ("more", "space", "told"),
    [
        (("{trial_dir}",), SPACE, "{trial_dir}"),
        ((), "knobs:\n  no_such_knob: [1]\n", "space.yaml:2"),
    ],
)
def test_what_cannot_begin_is_refused_in_one_line(
    tmp_path: Path, more: tuple[str, ...], space: str, told: str
) -> None:
    turn = Production(tmp_path, more=more, space=space).begin()
    assert turn.refused is not None
    assert told in turn.refused


def test_a_name_that_a_study_of_autotunes_has_is_refused(job: Production) -> None:
    job.begin()
    with open_database(job.database_url) as database, database.writing() as session:
        for row in session.scalars(select(ExperimentRow)):
            row.options = {key: value for key, value in row.options.items() if key != BETWEEN_RUNS}
    refused = job.begin().refused or ""
    assert refused.startswith("--study: nightly is a study of autotune's")


def test_autotune_does_not_resume_it(job: Production) -> None:
    job.runs(2)
    options = StudyOptions(
        command=(), cwd=job.folder, database_url=job.options.database_url, resume="nightly"
    )
    with pytest.raises(OptionError, match="flyball run --study nightly"):
        experiments_to_resume(options)


# ---- other objectives -------------------------------------------------------------------------------


def test_a_study_for_latency_compares_seconds_a_step(tmp_path: Path) -> None:
    job = Production(tmp_path, objective=Objective.LATENCY)
    decided(job)
    found = job.recommendation()
    SCHEMA.validate(found)
    own, best = (found[side]["objective"]["point"] for side in ("baseline", "recommended"))
    assert found["objective"]["unit"] == "s/step"
    assert found["speedup"]["point"] == pytest.approx(own / best, rel=0.03)
    assert promised(found) is None


def test_with_another_objective_the_study_begins_anew(job: Production) -> None:
    searched(job)
    job.objective = Objective.LATENCY
    turn = job.begin()
    assert turn.is_own
    assert turn.lines[0] == (
        "study nightly: its objective (throughput, now latency) changed, so it begins anew as nightly@2; "
        "with --objective throughput, runs go on with nightly"
    )
    job.end(turn)
    job.objective = Objective.THROUGHPUT
    back = job.begin()
    assert (back.study, back.objective) == ("nightly", "throughput"), "as the line says"
    assert len(job.trials(generation=1)) > len(job.trials(generation=0)) == 1


def test_a_study_keeps_its_objective_where_the_option_is_forgotten(tmp_path: Path) -> None:
    job = Production(tmp_path, objective=Objective.LATENCY)
    searched(job)
    job.objective = None
    turn = job.begin()
    assert (turn.study, turn.objective) == ("nightly", "latency")
    assert turn.lines[0] == "study nightly: its objective is latency, as it was begun"
    job.end(turn)
    decided(job)
    assert job.recommendation()["objective"]["unit"] == "s/step"


def test_a_study_without_a_word_of_an_objective_is_for_throughput(tmp_path: Path) -> None:
    job = Production(tmp_path, objective=None)
    first = job.begin()
    job.end(first)
    assert [first.objective, len(first.lines), len(job.begin().lines)] == ["throughput", 2, 1]


def test_energy_on_a_cpu_is_refused_before_the_command_runs(job: Production) -> None:
    job.objective = Objective.ENERGY
    refused = job.begin().refused or ""
    assert refused.startswith("--objective: energy cannot be measured")


@pytest.fixture
def on_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Production:
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    gpu = Gpu(name="fake", memory_bytes=2**34, uuid="GPU-a", driver="580")
    return Production(tmp_path, objective=Objective.ENERGY, machine=replace(MACHINE, gpus=(gpu,)))


def test_a_study_for_energy_takes_the_joules_of_whole_runs(on_gpu: Production) -> None:
    def samples_a_joule(micro: int) -> dict[str, Any]:
        point = {1: 0.10, 2: 0.15, 4: 0.20, 8: 0.12}[micro] * on_gpu.random.gauss(1.0, 0.01)
        return {"point": point, "low": point * 0.98, "high": point * 1.02}

    on_gpu.energy = samples_a_joule
    decided(on_gpu)
    found = on_gpu.recommendation()
    assert found["recommended"]["ds_config"]["train_micro_batch_size_per_gpu"] == 4
    assert found["recommended"]["objective"]["point"] == pytest.approx(5.0, rel=0.03)
    assert found["throughput_ratio"]["point"] == pytest.approx(4**0.3, rel=0.03)


def test_a_run_that_tells_no_joules_does_not_count_and_says_so(on_gpu: Production) -> None:
    on_gpu.energy = lambda micro: {"unavailable": "a GPU's energy counter was not read: no_permission"}
    _, recorded = on_gpu.run()
    assert recorded is not None
    assert "not counted: no energy figure: a GPU's energy counter was not read" in recorded.lines[0]
    assert on_gpu.outcomes() == ["interrupted"]
    assert on_gpu.begin().is_own
