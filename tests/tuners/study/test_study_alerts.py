"""A study's alerts: kept with its trials, told to nobody, followed by the search and its recommendation."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.tuners.study_bench import Bench, all_alike, larger_is_faster, two_ranks_of

from flyball.errors import Interrupted, PolicyError
from flyball.history.alert_records import Alert, AlertStatus
from flyball.tuners.base import Phase
from flyball.tuners.interruption import Interruption
from flyball.tuners.job.lead import Lead
from flyball.tuners.options import LATEST, StudyOptions

POLICIES = """policies:
  - alert: StepSlow
    metric: step_seconds
    while: stepping
    aggregate: avg
    window: 5m
    above: 100ms
    for: 5m
    severity: warning
    annotations: {summary: "steps of {{ labels.run }} take {{ value | duration }}"}
    suggests: [zero_stage, micro_batch]
"""
"""The user's own config steps 16 samples at 100 a second: in 160 ms."""


@pytest.fixture(autouse=True)
def two_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyball.tuners.job.job.parse_command", two_ranks_of)


def alarmed(bench: Bench) -> StudyOptions:
    path = bench.folder / "policies.yaml"
    path.write_text(POLICIES)
    return replace(bench.options, policies=(str(path),))


def lead(*suggests: str) -> Lead:
    alert = Alert(
        rule="SmUtilizationLow",
        labels={"alertname": "SmUtilizationLow", "severity": "warning", "gpu": "0"},
        fingerprint="0" * 16,
        annotations={"summary": "GPU 0 waits"},
        suggests=suggests,
        status=AlertStatus.FIRING,
        value=0.4,
        active_time=1.0,
    )
    return Lead(url="http://agent:19753/api/v1/tuning_requests/7", run="gpt", alert=alert)


def test_what_fires_in_a_trial_is_kept_with_it_everywhere(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    bench.run(alarmed(bench))
    baseline = bench.trials()[0]
    assert baseline.phase == Phase.BASELINE
    assert baseline.alerts is not None
    assert [alert["rule"] for alert in baseline.alerts] == ["StepSlow"] * 2, "one a rank"
    assert baseline.alerts[0]["annotations"]["summary"].startswith("steps of out-0 take 1")
    for trial in bench.trials():
        metrics = json.loads((tmp_path / f"out/trials/{trial.number}/metrics.json").read_text())
        assert metrics["alerts"] == (None if trial.alerts is None else list(trial.alerts))
    fast = [trial for trial in bench.trials() if (trial.samples_per_second or 0) > 180]
    assert fast
    assert all(trial.alerts == () for trial in fast)
    assert "StepSlow" in (tmp_path / "out/report.html").read_text()


def test_the_recommendation_names_the_alert_that_led_to_a_change(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    result = bench.run(alarmed(bench))
    found = bench.recommendation()
    assert found["verdict"] == "recommended"
    stage = next(change for change in found["changes"] if change["path"] == "zero_optimization.stage")
    assert stage["alert"] == "StepSlow"
    assert stage["reason"].startswith("StepSlow fired in your own run: a lower stage communicates less")
    assert [(alert["rule"], alert["seen_in"]) for alert in found["alerts"]] == [("StepSlow", "baseline")] * 2
    assert "alerts      StepSlow fired in your own run" in result.summary


def test_a_change_that_no_alert_suggested_names_none(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    (tmp_path / "policies.yaml").write_text(POLICIES.replace("zero_stage, micro_batch", "micro_batch"))
    bench.run(replace(bench.options, policies=(str(tmp_path / "policies.yaml"),)))
    changes = {change["path"]: change for change in bench.recommendation()["changes"]}
    assert changes["zero_optimization.stage"]["alert"] is None
    assert "StepSlow" not in changes["zero_optimization.stage"]["reason"]
    assert changes["train_micro_batch_size_per_gpu"]["alert"] == "StepSlow"


def first_changes(bench: Bench) -> dict[str, Any]:
    own = {"micro_batch": 1, "zero_stage": 2}
    trial = next(trial for trial in bench.trials() if trial.phase == Phase.SEARCH)
    return {name: value for name, value in trial.configuration.assignment.items() if own[name] != value}


def test_suggested_knobs_are_tried_first_and_the_user_is_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    bench.run(alarmed(bench))
    assert first_changes(bench) == {"zero_stage": 0}
    (note,) = (note for note in bench.observer.notes if note.startswith("StepSlow fired"))
    assert note.startswith("StepSlow fired in your own run: steps of out-0 take 1")
    assert note.endswith("; tried first: zero_stage, micro_batch")


def test_an_alert_that_suggests_nothing_is_told_too(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    (tmp_path / "policies.yaml").write_text(POLICIES.replace("zero_stage, micro_batch", ""))
    bench.run(replace(bench.options, trials=1, policies=(str(tmp_path / "policies.yaml"),)))
    (note,) = (note for note in bench.observer.notes if note.startswith("StepSlow fired in your own run"))
    assert "tried first" not in note


def test_without_alerts_the_search_begins_as_ever(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster, policies=("default",))
    bench.run()
    assert bench.trials()[0].alerts == ()
    assert first_changes(bench).keys() == {"micro_batch"}
    assert bench.recommendation()["alerts"] == []


def test_a_whole_study_of_a_healthy_job_raises_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, all_alike, policies=("default",))
    bench.run()
    assert {trial.alerts for trial in bench.trials()} == {()}


def test_the_alert_of_a_tuning_request_leads_too_and_goes_before(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    bench.run(replace(alarmed(bench), lead=lead("micro_batch")))
    assert first_changes(bench).keys() == {"micro_batch"}
    found = bench.recommendation()
    assert found["alerts"][0] == {
        "rule": "SmUtilizationLow",
        "severity": "warning",
        "labels": {"alertname": "SmUtilizationLow", "severity": "warning", "gpu": "0"},
        "summary": "GPU 0 waits",
        "value": "0.4",
        "suggests": ["micro_batch"],
        "seen_in": "run",
        "run": "gpt",
        "request": "http://agent:19753/api/v1/tuning_requests/7",
    }
    reasons = {change["path"]: change["reason"] for change in found["changes"]}
    assert reasons["train_micro_batch_size_per_gpu"].startswith("SmUtilizationLow fired in the run gpt: ")
    assert reasons["zero_optimization.stage"].startswith("StepSlow fired in your own run: ")


def test_a_resumed_study_keeps_its_policies_its_lead_and_what_fired_before(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster, policies=("default",))

    def stop(handle: Any, step: int) -> None:
        if handle.request.directory.name == "2" and step == 3:
            bench.interruption.request("test")
            bench.interruption.request("test")
            handle.kill("stopped by the user")

    bench.on_step = stop
    with pytest.raises(Interrupted):
        bench.run(replace(alarmed(bench), lead=lead("micro_batch")))
    bench.on_step, bench.interruption = None, Interruption()
    bench.run(replace(bench.options, command=(), resume=LATEST, output=None))
    alerts = bench.recommendation()["alerts"]
    assert [alert["rule"] for alert in alerts] == ["SmUtilizationLow", "StepSlow", "StepSlow"]
    assert all(trial.alerts is not None for trial in bench.trials() if trial.outcome == "completed")


def test_faulty_policies_are_refused_before_anything_runs(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    (tmp_path / "policies.yaml").write_text("policies:\n  - alert: Mine\n    metric: no_such_metric\n")
    with pytest.raises(PolicyError, match="'no_such_metric' is no metric"):
        bench.run(replace(bench.options, policies=(str(tmp_path / "policies.yaml"),)))
    assert bench.made == []
    assert not (tmp_path / "out").exists()


def test_results_go_to_where_the_user_is_and_are_named_from_there(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "here").mkdir()
    bench = Bench(tmp_path / "job", larger_is_faster)
    options = replace(bench.options, trials=1, typed_in=tmp_path / "here", output=None, name="led")
    result = bench.run(options)
    assert result.output_directory == tmp_path / "here/flyball_results/led"
    assert "\n  sh flyball_results/led/cmd_optimal.txt\n" in result.summary
    assert not (tmp_path / "job/flyball_results").exists()


def test_a_dry_run_shows_what_a_request_would_have_tried_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path, larger_is_faster)
    asked = replace(bench.options, dry_run=True, lead=lead("zero_stage"))
    assert "\n  0  yours\n  1  zero_stage=0\n" in bench.run(asked).summary
    assert "\n  0  yours\n  1  micro_batch=" in bench.run(replace(asked, lead=None)).summary
