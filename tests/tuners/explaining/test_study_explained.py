"""What explains the verdict of a whole study on a fake workload, and that it never endangers the verdict."""

import itertools
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.tuners.fake_job import FakeHandle
from tests.tuners.study_bench import Bench, all_alike, larger_is_faster, micro_of, two_ranks_of

from flyball import tuners
from flyball.errors import OptionError, StorageFailed
from flyball.history.records import FINISHED, INTERRUPTED
from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import TrialReport
from flyball.tuners.interruption import Interruption
from flyball.tuners.options import LATEST
from flyball.tuners.results.output import write_trial_metrics

SCHEMA = jsonschema.Draft202012Validator(
    json.loads((Path(tuners.__file__).parent / "schema" / "recommendation.schema.json").read_text())
)
TRUE = {"micro_batch": 8**0.3, "zero_stage": 1.1}


@pytest.fixture(autouse=True)
def two_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyball.tuners.job.job.parse_command", two_ranks_of)


def ablating(folder: Path, speed: Any = larger_is_faster, **given: Any) -> Bench:
    return Bench(folder, speed, **{"ablation_seconds": 500.0, **given})


def effects(bench: Bench) -> dict[str, dict[str, Any]]:
    found = bench.recommendation()
    SCHEMA.validate(found)
    return {each["knob"]: each for each in found["explanation"]["effects"]}


def phases(bench: Bench) -> Counter[str]:
    return Counter(trial.phase for trial in bench.trials())


def test_each_change_is_put_back_alone_and_its_effect_stands_in_all_that_comes_out(tmp_path: Path) -> None:
    bench = ablating(tmp_path)
    result = bench.run()
    found = effects(bench)
    assert list(found) == ["micro_batch", "zero_stage"], "the most important first"
    for knob, true in TRUE.items():
        assert found[knob]["effect"] == "faster"
        assert found[knob]["ratio"]["low"] < true < found[knob]["ratio"]["high"]
        assert found[knob]["text"] in (tmp_path / "out/report.html").read_text()
        assert f"{found[knob]['ratio']['point']:.3f}x" in result.summary
    assert found["micro_batch"]["paths"] == ["train_micro_batch_size_per_gpu", "gradient_accumulation_steps"]
    (experiment,) = bench.history().experiments()
    kept = bench.history().recommendation(experiment.experiment.id)
    assert kept is not None
    assert kept.document == bench.recommendation()
    assert (tmp_path / "out/summary.txt").read_text() == result.summary
    assert experiment.experiment.status == FINISHED


def test_its_runs_are_interleaved_with_the_recommended_and_as_long_as_those_of_verification(
    tmp_path: Path,
) -> None:
    bench = ablating(tmp_path)
    bench.run()
    own = [trial for trial in bench.trials() if trial.phase == "ablation"]
    rounds = effects(bench)["micro_batch"]["rounds"]
    assert len(own) == 3 * rounds
    best = bench.recommendation()["recommended"]["ds_config"]
    orders = set()
    for number in range(rounds):
        made = own[3 * number : 3 * number + 3]
        assert sum(trial.configuration.ds_config == best for trial in made) == 1
        orders.add(tuple(trial.label.partition(",")[0] for trial in made))
    assert len(orders) > 1, "in an order that is drawn"
    assert [trial.number for trial in own] == sorted(trial.number for trial in own)
    assert min(trial.number for trial in own) > max(
        trial.number for trial in bench.trials() if trial.phase in ("verification", "confirmation")
    )
    lengths = {
        phase: [
            trial.measurement.seconds
            for trial in bench.trials()
            if trial.phase == phase and trial.measurement and trial.configuration.ds_config == best
        ]
        for phase in ("verification", "ablation")
    }
    assert max(lengths["ablation"]) < 1.5 * max(lengths["verification"])
    assert max(lengths["verification"]) < 1.5 * max(lengths["ablation"])


class LuckyStage:
    """The user's own stage runs slow once, when the search tries it, and as fast as the others ever after."""

    def __init__(self) -> None:
        self.unlucky = True

    def __call__(self, config: Mapping[str, Any], environment: Mapping[str, str]) -> float:
        rate = 100.0 * micro_of(config) ** 0.3
        if micro_of(config) == 8 and config["zero_optimization"]["stage"] == 2 and self.unlucky:
            self.unlucky = False
            return rate * 0.6
        return rate * (0.8 if config["zero_optimization"]["stage"] == 1 else 1.0)


def test_a_change_that_brings_nothing_is_said_and_stays_recommended(tmp_path: Path) -> None:
    bench = ablating(tmp_path, LuckyStage(), run_noise=0.003)
    result = bench.run()
    found = effects(bench)
    assert found["micro_batch"]["effect"] == "faster"
    assert found["zero_stage"]["effect"] == "nothing_measurable"
    assert "without it nothing measurable is lost" in found["zero_stage"]["text"]
    assert "may go      zero_stage: without it nothing measurable is lost" in result.summary
    assert bench.recommendation()["recommended"]["ds_config"]["zero_optimization"]["stage"] == 0
    assert (
        json.loads((tmp_path / "out/ds_config_optimal.json").read_text())["zero_optimization"]["stage"] == 0
    )


def test_a_change_without_which_the_run_fails_is_needed_and_is_run_once(tmp_path: Path) -> None:
    counted = itertools.count()

    def speed(config: Mapping[str, Any], environment: Mapping[str, str]) -> float | OutcomeKind:
        if micro_of(config) == 8 and config["zero_optimization"]["stage"] == 2:
            next(counted)
            return OutcomeKind.OUT_OF_MEMORY
        return larger_is_faster(config, environment)

    bench = ablating(tmp_path, speed)
    bench.run()
    found = effects(bench)["zero_stage"]
    assert found["effect"] == "needed"
    assert found["ratio"] is None
    assert "ended as out of memory: it ended as out_of_memory" in found["reason"]
    assert next(counted) == 1, "the search or the first round of the ablation, and never again"
    assert effects(bench)["micro_batch"]["effect"] == "faster"


def test_of_a_single_change_verification_has_measured_the_effect(tmp_path: Path) -> None:
    bench = ablating(tmp_path)
    (tmp_path / "space.yaml").write_text("knobs:\n  micro_batch: [1, 2, 4, 8]\n")
    bench.run()
    found = effects(bench)["micro_batch"]
    assert found["measured_by"] == "verification"
    assert found["ratio"] == bench.recommendation()["speedup"]
    assert phases(bench)["ablation"] == 0


def test_switched_off_it_makes_no_run_and_says_so(tmp_path: Path) -> None:
    bench = ablating(tmp_path, ablation_seconds=0.0)
    bench.run()
    assert phases(bench)["ablation"] == 0
    assert {each["reason"] for each in effects(bench).values()} == {"switched off by --ablation off"}


@pytest.mark.parametrize("limit", [30.0, 1.0])
def test_what_does_not_fit_is_listed_with_what_it_would_take(tmp_path: Path, limit: float) -> None:
    bench = ablating(tmp_path, ablation_seconds=limit)
    bench.run()
    found = effects(bench)
    assert (found["micro_batch"]["effect"] == "faster") is (limit == 30.0)
    assert found["zero_stage"]["effect"] == "not_measured"
    assert f"{limit:.0f} s were left, and one knob takes" in found["zero_stage"]["reason"]
    spent = sum(trial.total_seconds or 0 for trial in bench.trials() if trial.phase == "ablation")
    assert spent <= limit


@pytest.mark.parametrize("budget", [150.0, 200.0, 300.0])
def test_it_spends_no_more_than_the_budget_leaves(tmp_path: Path, budget: float) -> None:
    bench = ablating(tmp_path, ablation_seconds=None)
    began = bench.clock.now
    bench.run(replace(bench.options, trials=None, budget_seconds=budget))
    assert bench.recommendation()["verdict"] == "recommended"
    assert bench.clock.now - began <= budget * 1.05


def test_without_a_budget_it_takes_as_long_as_search_or_verification(tmp_path: Path) -> None:
    bench = ablating(tmp_path, ablation_seconds=None)
    bench.run()
    spent: Counter[str] = Counter()
    for trial in bench.trials():
        spent[trial.phase] += round(trial.total_seconds or 0)
    assert 0 < spent["ablation"] <= max(spent["search"], spent["verification"]) + 2


@pytest.mark.parametrize("signals", [1, 2])
def test_a_signal_leaves_the_finished_recommendation_and_a_resume_goes_on(
    tmp_path: Path, signals: int
) -> None:
    bench = ablating(tmp_path)

    def stop(handle: FakeHandle, step: int) -> None:
        if step != 2 or phases(bench)["ablation"] != 8:
            return
        for _ in range(signals - int(bench.interruption.finish_requested)):
            bench.interruption.request("test")
        if bench.interruption.stop_now:
            handle.kill("stopped by the user")

    bench.on_step = stop
    assert bench.run().verdict == "recommended"
    first = bench.recommendation()
    (experiment,) = bench.history().experiments()
    assert experiment.experiment.status == INTERRUPTED
    assert effects(bench)["micro_batch"]["rounds"] == 2
    before = bench.trials()
    assert [trial.outcome for trial in before].count("interrupted") == signals - 1

    bench.on_step, bench.interruption = None, Interruption()
    bench.run(replace(bench.options, command=(), resume=LATEST, output=None))
    after = bench.trials()
    assert after[: len(before)] == before
    whole = bench.recommendation()
    for key in ("verdict", "speedup", "changes", "recommended", "confirmation"):
        assert whole[key] == first[key]
    assert effects(bench)["micro_batch"]["rounds"] == 8
    labels = Counter(trial.label for trial in after if trial.label and trial.outcome == "completed")
    assert max(labels.values()) == 1, "nothing is measured twice"
    with pytest.raises(OptionError, match="is finished"):
        bench.run(replace(bench.options, command=(), resume=str(tmp_path / "out")))


def test_a_disk_that_fills_up_in_it_leaves_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(directory: Path, report: TrialReport) -> None:
        if report.phase == "ablation":
            raise StorageFailed("cannot write: No space left on device", where=str(directory))
        write_trial_metrics(directory, report)

    monkeypatch.setattr("flyball.tuners.trials.trial_runner.write_trial_metrics", full)
    bench = ablating(tmp_path)
    assert bench.run().verdict == bench.recommendation()["verdict"] == "recommended"
    assert any("was left off: " in note and "No space left" in note for note in bench.observer.notes)
    reasons = {each["reason"] for each in effects(bench).values()}
    assert reasons == {"cannot write: No space left on device after 0 rounds"}
    monkeypatch.undo()
    monkeypatch.setattr("flyball.tuners.job.job.parse_command", two_ranks_of)
    bench.run(replace(bench.options, command=(), resume=LATEST, output=None))
    assert effects(bench)["micro_batch"]["effect"] == "faster"


def test_the_forecast_comes_first_and_says_what_ctrl_c_keeps(tmp_path: Path) -> None:
    bench = ablating(tmp_path, ablation_seconds=30.0)
    bench.run()
    (note,) = [note for note in bench.observer.notes if "put back one at a time" in note]
    assert "within 30 s: micro_batch; not measured: zero_stage" in note
    assert "Ctrl-C keeps the recommendation" in note


def test_on_keep_there_is_nothing_to_put_back_and_the_rest_is_explained(tmp_path: Path) -> None:
    bench = ablating(tmp_path, all_alike)
    result = bench.run()
    assert result.verdict == "keep"
    found = bench.recommendation()["explanation"]
    SCHEMA.validate(bench.recommendation())
    assert (found["effects"], found["payback"], phases(bench)["ablation"]) == ([], None, 0)
    assert "do not tell" in found["importance"]["reason"]
    assert "cost        " in result.summary
    assert "paid back" not in result.summary


def test_too_few_trials_are_said_to_be_too_few(tmp_path: Path) -> None:
    bench = ablating(tmp_path, ablation_seconds=0.0)
    bench.run(replace(bench.options, trials=3))
    assert bench.recommendation()["explanation"]["importance"]["reason"].startswith("not enough trials: 4 ")


def test_cost_and_payback_are_those_of_the_runs(tmp_path: Path) -> None:
    bench = ablating(tmp_path)
    bench.run()
    found = bench.recommendation()
    cost, hours = found["explanation"]["cost"], found["explanation"]["payback"]["production_hours"]
    spent = sum(trial.total_seconds or 0 for trial in bench.trials()) / 3600
    assert cost["unit"] == "rank hours"
    assert cost["device_hours"] == pytest.approx(2 * spent)
    assert math.fsum(cost["device_hours_by_phase"].values()) == pytest.approx(cost["device_hours"])
    startups = sum(trial.startup_seconds or 0 for trial in bench.trials()) / 3600
    assert cost["device_hours_by_phase"]["start-up"] == pytest.approx(2 * startups)
    assert hours["point"] == pytest.approx(spent / (found["speedup"]["point"] - 1))


def test_what_was_not_tried_stands_with_its_reason(tmp_path: Path) -> None:
    bench = ablating(tmp_path, ablation_seconds=0.0)
    bench.run(replace(bench.options, trials=3))
    found = bench.recommendation()["explanation"]["not_tried"]
    by_kind = {group["because"]: group for group in found}
    assert by_kind["budget"]["count"] == 12 - 4
    assert by_kind["budget"]["reason"].endswith("the search ended: 3 trials were made")
    assert by_kind["outside_the_space"]["reason"] == "the space does not name them"
    page = (tmp_path / "out/report.html").read_text()
    assert all(group["reason"] in page for group in found)
