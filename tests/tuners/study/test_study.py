"""A whole study on a fake workload: what comes out for which speeds, and what survives an interruption."""

import errno
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.tuners.fake_job import FakeHandle
from tests.tuners.study_bench import (
    CONFIG,
    Bench,
    all_alike,
    eight_runs_out,
    larger_is_faster,
    two_ranks_of,
)

from flyball.errors import BadInput, BaselineFailed, ConfigError, Interrupted, OptionError, StorageFailed
from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import Phase, TrialReport
from flyball.tuners.interruption import Interruption
from flyball.tuners.options import LATEST
from flyball.tuners.results.output import storage, write_trial_metrics
from flyball.tuners.verification.declared import FILE

WIDE = (
    "knobs:\n  micro_batch: [1, 2, 4, 8]\n  zero_stage: [0, 1, 2]\n  contiguous_gradients: [true, false]\n"
    "  reduce_bucket_size: [1000000, 4000000, 16000000, 64000000, 256000000]\n"
)


@pytest.fixture(autouse=True)
def two_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyball.tuners.job.job.parse_command", two_ranks_of)


def test_a_faster_configuration_is_recommended_and_verified_on_fresh_runs(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    result = bench.run()
    found = bench.recommendation()
    assert result.verdict == found["verdict"] == "recommended"
    assert found["recommended"]["ds_config"]["train_micro_batch_size_per_gpu"] == 8
    assert found["recommended"]["ds_config"]["zero_optimization"]["stage"] == 0
    true_gain = 8**0.3 * 1.1
    assert found["speedup"]["low"] < true_gain < found["speedup"]["high"]
    assert found["speedup_json"] == found["speedup"]
    assert found["confirmation"]["ratio"] > 1
    assert (
        json.loads((tmp_path / "out/ds_config_optimal.json").read_text()) == found["recommended"]["ds_config"]
    )
    assert "RECOMMENDED" in result.summary
    assert all(trial.telemetry and "gpu" in trial.telemetry for trial in bench.trials() if trial.measurement)


def test_a_study_begins_once_all_was_found_to_be_in_order_and_before_the_first_run(tmp_path: Path) -> None:
    bench = Bench(tmp_path, all_alike)
    begun: list[int] = []
    bench.run(begin=lambda: begun.append(len(bench.made)))
    assert begun == [0]
    another = replace(bench.options, dry_run=True, output=tmp_path / "another")
    bench.run(another, begin=lambda: begun.append(-1))
    assert begun == [0]


@pytest.mark.parametrize("fault", ["config", "illegal", "space", "policies", "database", "output"])
def test_a_study_that_cannot_be_run_never_begins(tmp_path: Path, fault: str) -> None:
    bench = Bench(tmp_path, all_alike)
    options = bench.options
    if fault == "config":
        (tmp_path / "ds.json").write_text("{")
    elif fault == "illegal":
        (tmp_path / "ds.json").write_text(json.dumps({**CONFIG, "train_batch_size": 7}))
    elif fault == "space":
        (tmp_path / "space.yaml").write_text("micro_bach: [1]\n")
    elif fault == "policies":
        options = replace(options, policies=(str(tmp_path / "gone.yaml"),))
    elif fault == "database":
        options = replace(options, database_url=f"sqlite:///{tmp_path}/no/history.db")
    else:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine").touch()
    begun: list[str] = []
    with pytest.raises(BadInput):
        bench.run(options, begin=lambda: begun.append("too early"))
    assert begun == []


def test_what_the_beginning_refuses_ends_the_study_with_nothing_recorded(tmp_path: Path) -> None:
    bench = Bench(tmp_path, all_alike)
    options = replace(bench.options, output=None)

    def refuse() -> None:
        raise OptionError("was taken this moment", where="--from-alert")

    with pytest.raises(OptionError, match="was taken this moment"):
        bench.run(options, begin=refuse)
    assert list((tmp_path / "flyball_results").iterdir()) == []
    assert list(bench.history().experiments()) == []


def test_the_users_config_comes_back_byte_for_byte_when_nothing_is_faster(tmp_path: Path) -> None:
    bench = Bench(tmp_path, all_alike)
    assert bench.run().verdict == "keep"
    assert (tmp_path / "out/ds_config_optimal.json").read_bytes() == (tmp_path / "ds.json").read_bytes()
    assert "python train.py --deepspeed_config ds.json" in (tmp_path / "out/cmd_optimal.txt").read_text()


def test_what_runs_out_of_memory_is_a_trial_and_never_the_recommendation(tmp_path: Path) -> None:
    bench = Bench(tmp_path, eight_runs_out)
    assert bench.run().verdict == "recommended"
    found = bench.recommendation()
    assert found["recommended"]["ds_config"]["train_micro_batch_size_per_gpu"] == 4
    assert found["trials"]["out_of_memory"] >= 1


def test_a_baseline_that_fails_says_where_to_look(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda config, environment: OutcomeKind.CRASHED)
    with pytest.raises(BaselineFailed, match="was not measured: crashed: it ended as crashed"):
        bench.run()
    assert all(launcher.closed for launcher in bench.made if launcher.name == "warm")


def test_a_budget_that_holds_no_search_is_unverified_not_keep(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    result = bench.run(replace(bench.options, trials=None, budget_seconds=10.0))
    assert result.verdict == "unverified"
    assert "no search run was made" in result.summary


@pytest.mark.parametrize(
    ("others", "verdict", "changed"), [(95.0, "keep", False), (130.0, "unverified", True)]
)
def test_what_the_search_found_slower_is_not_handed_out_unverified(
    tmp_path: Path, others: float, verdict: str, changed: bool
) -> None:
    bench = Bench(tmp_path, lambda config, environment: 100.0 if config == CONFIG else others)
    result = bench.run(replace(bench.options, trials=1, budget_seconds=15.0))
    assert result.verdict == verdict
    assert bench.recommendation()["trials"]["completed"] == 2
    assert bool(bench.recommendation()["changes"]) is changed
    assert ("your configuration" in result.summary) is not changed


def test_the_budget_holds_verification_too(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    began = bench.clock.now
    bench.run(replace(bench.options, trials=None, budget_seconds=200.0))
    assert bench.clock.now - began < 200.0 * 1.1


def test_the_budget_holds_the_cold_runs_of_the_confirmation(tmp_path: Path) -> None:
    """A start of 16 s whose first one built operators for 12 s: no quarter of it is what later ones take."""
    bench = Bench(tmp_path, larger_is_faster, startup=lambda config: 2.5, first_startup=28.0)
    bench.cold_startup, bench.startup_parts = 16.0, {"op_builds": 12.0}
    (tmp_path / "space.yaml").write_text(WIDE)
    began = bench.clock.now
    bench.run(replace(bench.options, trials=None, budget_seconds=180.0))
    assert [each.phase for each in bench.observer.finished].count(Phase.CONFIRMATION) == 2
    assert 0.9 * 180.0 < bench.clock.now - began < 1.05 * 180.0


def test_a_budget_that_holds_no_verification_is_searched_through(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster, startup=lambda config: 2.5, first_startup=130.0)
    bench.cold_startup, bench.startup_parts = 16.0, {"op_builds": 110.0}
    (tmp_path / "space.yaml").write_text(WIDE)
    began = bench.clock.now
    assert bench.run(replace(bench.options, trials=None, budget_seconds=180.0)).verdict == "unverified"
    assert 0.9 * 180.0 < bench.clock.now - began < 180.0
    assert len([each for each in bench.observer.finished if each.phase is Phase.SEARCH]) > 5
    (ended,) = (note for note in bench.observer.notes if note.startswith("search ended"))
    assert "holds no verification; give a larger --budget" in ended


def test_stopped_in_the_search_and_resumed_loses_and_repeats_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    bench.on_step = _stop_in_the_fifth_run(bench)
    with pytest.raises(Interrupted, match="--resume"):
        bench.run()
    (experiment,) = bench.history().experiments()
    before = bench.history().trials(experiment.experiment.id)
    assert experiment.experiment.status == "interrupted"
    assert [trial.outcome for trial in before].count("completed") == 4

    bench.on_step, bench.interruption = None, Interruption()
    assert bench.run(replace(bench.options, command=(), resume=LATEST, output=None)).verdict == "recommended"
    after = bench.history().trials(experiment.experiment.id)
    assert [trial.number for trial in after] == list(range(len(after)))
    assert after[: len(before)] == before
    search = [trial for trial in after if trial.phase == Phase.SEARCH and trial.outcome == "completed"]
    digests = [trial.configuration.digest for trial in search]
    assert len(set(digests)) == len(digests)
    with pytest.raises(OptionError, match="is finished"):
        bench.run(replace(bench.options, command=(), resume=str(tmp_path / "out")))


def _stop_in_the_fifth_run(bench: Bench) -> Any:
    def on_step(handle: FakeHandle, step: int) -> None:
        if handle.request.directory.name == "4" and step == 3:
            bench.interruption.request("test")
            bench.interruption.request("test")
            handle.kill("stopped by the user")

    return on_step


def test_a_disk_that_fills_up_in_the_middle_leaves_a_study_that_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    monkeypatch.setattr("flyball.tuners.trials.trial_runner.write_trial_metrics", _full_after(3))
    with pytest.raises(StorageFailed, match="No space left on device; make room"):
        bench.run()
    monkeypatch.undo()
    monkeypatch.setattr("flyball.tuners.job.job.parse_command", two_ranks_of)
    (experiment,) = bench.history().experiments()
    assert experiment.experiment.status == "interrupted"
    assert experiment.outcomes == {"completed": 3, "interrupted": 1}
    assert bench.run(replace(bench.options, command=(), resume=LATEST, output=None)).verdict == "recommended"


def _full_after(runs: int) -> Callable[[Path, TrialReport], None]:
    def write(folder: Path, report: TrialReport) -> None:
        if report.number >= runs:
            with storage(folder):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_trial_metrics(folder, report)

    return write


def test_an_output_folder_with_results_is_not_overwritten(tmp_path: Path) -> None:
    bench = Bench(tmp_path, all_alike)
    bench.run()
    with pytest.raises(OptionError, match="holds results already"):
        bench.run(replace(bench.options, name="second"))


def test_a_dry_run_launches_nothing_and_makes_no_file(tmp_path: Path) -> None:
    bench = Bench(tmp_path, all_alike)
    before = sorted(path.name for path in tmp_path.iterdir())
    result = bench.run(replace(bench.options, dry_run=True))
    assert result.verdict is None
    assert "12 legal points" in result.summary
    assert bench.made == []
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "taken",
    [{"name": "nightly"}, {"name": "other", "output": None}, {"name": None}],
    ids=["name", "folder", "output"],
)
def test_a_dry_run_refuses_what_the_study_would_refuse(tmp_path: Path, taken: dict[str, Any]) -> None:
    bench = Bench(tmp_path, all_alike)
    bench.run(replace(bench.options, name="nightly", trials=1))
    (tmp_path / "flyball_results" / "other").mkdir(parents=True)
    (tmp_path / "flyball_results" / "other" / "summary.txt").write_text("")
    bench.made.clear()
    said = []
    for dry_run in (True, False):
        with pytest.raises(OptionError) as refused:
            bench.run(replace(bench.options, **taken, dry_run=dry_run))
        said.append(str(refused.value))
    assert said[0] == said[1]
    assert (
        "there is an experiment nightly already" if taken["name"] == "nightly" else "holds results"
    ) in said[0]
    assert bench.made == []


def test_a_dry_run_knows_a_trainers_batch_and_how_long_a_run_took_before(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    (tmp_path / "train.py").write_text("from transformers import HfArgumentParser, Trainer\n")
    auto = {key: "auto" for key in CONFIG if "batch" in key} | {"gradient_accumulation_steps": "auto"}
    (tmp_path / "ds.json").write_text(json.dumps({**CONFIG, **auto}))
    command = (*bench.options.command, "--gradient_accumulation_steps", "2")
    dry = replace(bench.options, command=command, dry_run=True)
    text = bench.run(dry).summary
    # Eight is the Trainer's own default: 8 x 2 on a rank.
    assert "micro_batch  1 2 4 [8]" in text
    assert "how long a run takes is known after the first one" in text
    bench = Bench(tmp_path, larger_is_faster)
    bench.run()
    assert "a run took" in bench.run(replace(bench.options, dry_run=True, output=None)).summary


def test_the_global_batch_moves_only_where_it_may_and_its_rule_is_reported(tmp_path: Path) -> None:
    def larger_batch_is_faster(config: Mapping[str, Any], environment: Mapping[str, str]) -> float:
        return 100.0 * int(config["train_batch_size"]) ** 0.5

    bench = Bench(tmp_path, larger_batch_is_faster)
    assert bench.run().verdict == "keep"
    allowed = replace(bench.options, allow_global_batch=True, output=tmp_path / "allowed", name="allowed")
    result = bench.run(allowed)
    sizes = {request.ds_config["train_batch_size"] for request in bench.made[-2].requests}
    assert sizes > {16}
    assert "arXiv 1706.02677" in result.summary + (tmp_path / "allowed" / "recommendation.json").read_text()


def test_a_resumed_verification_keeps_to_the_plan_that_it_declared(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)

    def stop_in_verification(handle: FakeHandle, step: int) -> None:
        if (tmp_path / "out" / FILE).exists() and step == 3:
            bench.interruption.request("test")
            bench.interruption.request("test")
            handle.kill("stopped by the user")

    bench.on_step = stop_in_verification
    with pytest.raises(Interrupted):
        bench.run()
    declared = (tmp_path / "out" / FILE).read_bytes()
    bench.on_step, bench.interruption = None, Interruption()
    # With so little time left a new plan would be another one.
    options = replace(bench.options, command=(), resume=LATEST, output=None, budget_seconds=1.0)
    assert bench.run(options).verdict in ("unverified", "recommended")
    assert (tmp_path / "out" / FILE).read_bytes() == declared
    (candidate,) = json.loads(declared)["candidates"]
    labels = {
        trial.label
        for summary in bench.history().experiments()
        for trial in bench.history().trials(summary.experiment.id)
        if trial.phase == Phase.VERIFICATION and not trial.label.startswith("baseline")
    }
    assert all(label.startswith(candidate) for label in labels)


def test_after_one_interrupt_a_resumed_search_is_not_bound_by_the_earlier_leader(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    bench.on_step = lambda handle, step: (
        bench.interruption.request("test") if handle.request.directory.name == "1" and step == 3 else None
    )
    assert bench.run().verdict == "unverified"
    bench.on_step, bench.interruption = None, Interruption()
    assert bench.run(replace(bench.options, command=(), resume=LATEST, output=None)).verdict == "recommended"
    best = bench.recommendation()["recommended"]["ds_config"]
    assert (best["train_micro_batch_size_per_gpu"], best["zero_optimization"]["stage"]) == (8, 0)


def test_the_users_own_run_may_load_as_long_as_the_budget(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    bench.run(replace(bench.options, budget_seconds=7200.0, trials=2))
    first, second = (request.limits for request in bench.made[0].requests[:2])
    assert (first.startup_seconds, first.hang_floor_seconds) == (7200.0, 300.0)
    assert second.startup_seconds < first.startup_seconds
    assert second.hang_floor_seconds == 300.0


def test_what_compiles_anew_in_every_run_gives_way_to_what_the_budget_can_verify(tmp_path: Path) -> None:
    def stage_zero_compiles(config: Mapping[str, Any]) -> float:
        return 90.0 if config["zero_optimization"]["stage"] == 0 else 1.0

    bench = Bench(tmp_path, larger_is_faster, startup=stage_zero_compiles)
    result = bench.run(replace(bench.options, budget_seconds=600.0, trials=11))
    found = bench.recommendation()
    assert result.verdict == "recommended"
    best = found["recommended"]["ds_config"]
    assert (best["train_micro_batch_size_per_gpu"], best["zero_optimization"]["stage"] > 0) == (8, True)
    assert any("each of its runs takes 1 min 3" in note for note in found["notes"])
    plan = json.loads((tmp_path / "out" / FILE).read_text())
    assert plan["series"] == 1
    pairs = [trial.label for trial in bench.trials() if trial.label.endswith("series 2")]
    # The pairs are fresh on both sides: the runs beside the first candidate are not used again.
    assert sum(label.startswith("baseline") for label in pairs) >= 6


def test_an_earlier_study_of_the_same_job_teaches_the_next_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    bench.run()

    def taught(name: str) -> bool:
        bench.observer.notes.clear()
        bench.run(replace(bench.options, name=name, output=tmp_path / name, trials=2))
        return any("runs of earlier studies" in note for note in bench.observer.notes)

    assert taught("again")
    (tmp_path / "train.py").write_text("import deepspeed  # with longer sequences\n")
    assert not taught("changed")


def test_a_script_that_builds_a_pipeline_is_held_to_its_rules_before_it_runs(tmp_path: Path) -> None:
    bench = Bench(tmp_path, all_alike)
    (tmp_path / "train.py").write_text(
        "from deepspeed.pipe import PipelineModule\nnet = PipelineModule([])\n"
    )
    with pytest.raises(ConfigError, match="pipeline parallelism"):
        bench.run()
    assert bench.made == []


def test_steps_too_long_for_the_budget_are_told_at_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda config, environment: 16 / 60)
    assert bench.run(replace(bench.options, budget_seconds=600.0)).verdict == "unverified"
    assert any("larger --budget" in note for note in bench.observer.notes)
    baseline = bench.observer.finished[0]
    assert baseline.total_seconds < 600.0


def test_what_the_environment_gains_is_told_apart_from_what_the_json_gains(tmp_path: Path) -> None:
    def one_thread_is_faster(config: Mapping[str, Any], environment: Mapping[str, str]) -> float:
        return larger_is_faster(config, environment) * (
            1.5 if environment.get("SCRIPTS_ALGORITHM") == "Ring" else 1.0
        )

    bench = Bench(tmp_path, one_thread_is_faster)
    (tmp_path / "space.yaml").write_text(
        "knobs:\n  micro_batch: [1, 8]\n"
        "  algo: {environment: SCRIPTS_ALGORITHM, values: [Tree, Ring], current: Tree}\n"
    )
    assert bench.run(replace(bench.options, trials=4)).verdict == "recommended"
    found = bench.recommendation()
    assert found["recommended"]["environment"]["SCRIPTS_ALGORITHM"] == "Ring"
    whole, alone = found["speedup"], found["speedup_json"]
    assert whole["low"] < 8**0.3 * 1.5 < whole["high"]
    assert alone["low"] < 8**0.3 < alone["high"]
    assert alone["high"] < whole["low"]
    ran = [trial for trial in bench.trials() if trial.label.startswith("json alone")]
    assert len({trial.label for trial in ran}) == 8
    for trial in ran:
        told = tmp_path / "out" / "trials" / str(trial.number) / "metrics.json"
        assert json.loads(told.read_text("utf-8"))["assignment"]["algo"] == "Tree", trial.label
    assert "SCRIPTS_ALGORITHM=Ring" in (tmp_path / "out" / "cmd_optimal.txt").read_text()


@pytest.mark.parametrize(("tells_losses", "verdict"), [(True, "recommended"), (False, "unverified")])
def test_what_is_faster_and_whose_loss_nobody_knows_is_neither_recommended_nor_kept_out(
    tmp_path: Path, tells_losses: bool, verdict: str
) -> None:
    def bf16_is_faster(config: Mapping[str, Any], environment: Mapping[str, str]) -> float:
        return 200.0 if config.get("communication_data_type") == "bf16" else 100.0

    bench = Bench(tmp_path, bf16_is_faster, tells_losses=tells_losses)
    (tmp_path / "space.yaml").write_text("knobs:\n  communication_data_type: [fp32, bf16]\n")
    assert bench.run(replace(bench.options, trials=3)).verdict == verdict
    found = bench.recommendation()
    assert found["recommended"]["ds_config"]["communication_data_type"] == "bf16"
    assert found["speedup"]["low"] > 1.5
    assert found["loss_guard"]["guard"] == ("passed" if tells_losses else "not_judged")
    if not tells_losses:
        assert "could not be judged" in found["reasons"][0]


def test_an_options_own_value_is_shown_beside_the_new_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    command = (*bench.options.command, "--batch", "1")
    maps = {"train_micro_batch_size_per_gpu": "--batch"}
    bench.run(replace(bench.options, command=command, maps=maps))
    (change,) = [each for each in bench.recommendation()["changes"] if each["path"] == "--batch"]
    assert (change["before"], change["after"]) == ("1", "8")


def test_a_mapped_key_that_deepspeed_does_not_read_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, all_alike)
    with pytest.raises(ConfigError, match="no key train_micro_batch") as caught:
        bench.run(replace(bench.options, maps={"train_micro_batch": "--batch"}))
    assert caught.value.where == "--map"
    assert "'train_micro_batch_size_per_gpu'" in str(caught.value)
    assert bench.made == []


def test_a_trial_may_be_silent_for_a_share_of_the_budget(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    bench.run(replace(bench.options, budget_seconds=240.0, trials=2))
    first, second = (request.limits for request in bench.made[0].requests[:2])
    assert (first.hang_floor_seconds, second.hang_floor_seconds) == (300.0, 30.0)


def test_a_keep_hands_back_a_command_that_runs_as_it_stands(tmp_path: Path) -> None:
    bench = Bench(tmp_path, all_alike)
    command = ("python", "train.py", "--config={ds_config}", "--out", "{trial_dir}/out")
    options = replace(bench.options, command=command, config=tmp_path / "ds.json")
    assert bench.run(options).verdict == "keep"
    text = (tmp_path / "out/cmd_optimal.txt").read_text()
    assert "{" not in text
    assert str(tmp_path / "out/ds_config_optimal.json") in text


def test_what_the_lint_says_of_the_users_config_is_told_at_the_start(tmp_path: Path) -> None:
    bench = Bench(tmp_path, all_alike)
    config = {**CONFIG, "comms_logger": {"enabled": False}, "wall_clock_breakdown": True}
    (tmp_path / "ds.json").write_text(json.dumps(config, indent=1))
    bench.run(replace(bench.options, trials=1))
    path = tmp_path / "ds.json"
    told = [note for note in bench.observer.notes if note.startswith(f"{path}:")]
    logger, breakdown = told
    assert logger.startswith(f"{path}:14: comms_logger: is on whenever the key is present")
    assert breakdown == (f"{path}:17: wall_clock_breakdown: prints in every step; set it to false")
