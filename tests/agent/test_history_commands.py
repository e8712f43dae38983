"""``flyball history`` over experiments of its own making."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.agent.fakes import HOSTILE
from tests.tuners.explanation_fakes import explained

from flyball.agent.cli import run
from flyball.agent.history_records import Past, PastExperiment, PastTrial
from flyball.agent.wiring import Wiring
from flyball.tuners.explaining.explanation_json import explanation_json

BASE = {"train_micro_batch_size_per_gpu": 4, "zero_optimization": {"stage": 0}}
FASTER = {"train_micro_batch_size_per_gpu": 16, "zero_optimization": {"stage": 1}}
KNOBS = {"micro_batch": 16, "zero_stage": 1}
RECOMMENDATION = {
    "verdict": "recommended",
    "speedup": {"point": 1.34, "low": 1.31, "high": 1.37},
    "reasons": ["faster"],
    "changes": [
        {
            "place": "ds_config",
            "path": "zero_optimization.stage",
            "before": 0,
            "after": 1,
            "reason": "optimizer states are shared out",
        }
    ],
}


def past_experiment(number: int, name: str, **given: Any) -> PastExperiment:
    defaults: dict[str, Any] = {
        "status": "running",
        "created": 1_790_000_000.0 + number,
        "seconds": 90.0,
        "command": ("deepspeed", "train.py", "--data", "s3://key:s3cret@host/x"),
        "base_config": BASE,
        "space": {},
        "options": {"trials": 3},
        "seed": 7,
        "budget_seconds": 600.0,
        "output_directory": str(Path.cwd() / name),
        "fingerprint": {"cpu": "x", "gpus": []},
        "outcomes": {},
        "best_samples_per_second": None,
        "verdict": None,
        "recommendation": None,
    }
    return PastExperiment(id=number, name=name, **(defaults | given))


def past_trial(number: int, *, rate: float | None = None, **given: Any) -> PastTrial:
    interval = rate and {"point": rate, "low": rate - 3, "high": rate + 3}
    defaults: dict[str, Any] = {
        "phase": "search",
        "outcome": "completed",
        "reason": "precise enough",
        "launcher": "warm",
        "startup_seconds": 1.5,
        "total_seconds": 6.0,
        "notes": ("a note",),
        "assignment": {},
        "ds_config": BASE,
        "arguments": {},
        "environment": {},
        "probe": {},
        "measurement": {"samples_per_second": interval, "steps": 40} if interval else None,
    }
    return PastTrial(number=number, **(defaults | given))


@dataclass
class FakePast:
    held: list[tuple[PastExperiment, list[PastTrial]]] = field(default_factory=list)

    def experiments(self) -> list[PastExperiment]:
        return [experiment for experiment, _ in self.held]

    def trials(self, experiment: PastExperiment) -> list[PastTrial]:
        return next(trials for held, trials in self.held if held is experiment)


PAST = FakePast()


@contextmanager
def open_fake_history(url: str) -> Iterator[Past]:
    yield PAST


@pytest.fixture(autouse=True)
def _empty_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLYBALL_DB", raising=False)
    PAST.held.clear()


@pytest.fixture
def two_experiments() -> None:
    """``older`` is finished and recommended; ``newer`` is running and holds hostile text."""
    older = past_experiment(
        1,
        "older",
        status="finished",
        outcomes={"completed": 3, "out_of_memory": 1},
        best_samples_per_second=134.0,
        verdict="recommended",
        recommendation=RECOMMENDATION,
    )
    oom = {"outcome": "out_of_memory", "reason": "rank 1: 2 GiB asked for"}
    trials = [
        past_trial(0, phase="baseline", rate=100.0),
        past_trial(1, rate=134.0, ds_config=FASTER, assignment=KNOBS),
        past_trial(2, assignment=KNOBS, **oom),
        past_trial(3, phase="verification", rate=135.0, ds_config=FASTER, assignment=KNOBS),
    ]
    newer = past_experiment(2, "newer", outcomes={"crashed": 1, "running": 1})
    hostile = past_trial(0, outcome="crashed", reason=HOSTILE, assignment={HOSTILE: HOSTILE})
    running = past_trial(1, outcome="running", reason="", total_seconds=None, startup_seconds=None)
    PAST.held += [(newer, [hostile, running]), (older, trials)]


def history(*arguments: str) -> int:
    return run(["history", *arguments], wiring=Wiring(open_history=open_fake_history))


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert history(*arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "s3cret" not in captured.out
    return captured.out


def test_an_empty_history_is_one_friendly_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "experiments") == "no experiments yet; make one with autotune -- COMMAND...\n"
    assert json.loads(shown(capsys, "experiments", "--json")) == []


@pytest.mark.usefixtures("two_experiments")
def test_experiments_stand_in_a_table_the_newest_first(capsys: pytest.CaptureFixture[str]) -> None:
    header, newer, older = shown(capsys, "experiments").splitlines()
    assert header.split() == ["name", "status", "verdict", "x", "trials", "best/s", "started"]
    assert newer.split()[:6] == ["newer", "running", "-", "-", "2", "-"]
    assert older.split()[:6] == ["older", "finished", "recommended", "1.34", "4", "134"]


@pytest.mark.usefixtures("two_experiments")
def test_trials_stand_in_a_table_with_what_went_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    header, baseline, faster, failed, _ = shown(capsys, "trials", "older").splitlines()
    assert header.split() == ["trial", "phase", "outcome", "samples/s", "took", "changes"]
    assert baseline.split()[:5] == ["0", "baseline", "completed", "100", "6s"]
    assert faster.endswith("micro_batch=16 zero_stage=1")
    assert "out_of_memory" in failed
    assert "rank 1: 2 GiB asked for" in failed


def test_knobs_that_write_what_the_users_own_config_says_are_no_changes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The user's own run is recorded before the space is known, with no knob of its own."""
    knobs = {"micro_batch": 16, "zero_stage": 0, "threads": 2}
    faster = {**BASE, "train_micro_batch_size_per_gpu": 16}
    first = past_trial(0, phase="baseline", assignment={}, ds_config=BASE)
    trials = [first, past_trial(1, assignment=knobs, ds_config=faster, environment={})]
    by_option = past_trial(2, assignment=knobs, ds_config=BASE, arguments={"--batch": "16"}, environment={})
    PAST.held.append((past_experiment(1, "quiet"), [*trials, by_option]))
    _, own, changed, unsure = shown(capsys, "trials", "quiet").splitlines()
    assert own.endswith("your own configuration")
    assert changed.endswith("  micro_batch=16")
    assert "micro_batch=16" in unsure


def test_trials_of_another_objective_show_it_and_only_what_differs_from_the_users_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def timed(number: int, steps_per_second: float, **given: Any) -> PastTrial:
        rates = {
            name: {"point": rate, "low": rate * 0.9, "high": rate * 1.1}
            for name, rate in (
                ("samples_per_second", steps_per_second * 16),
                ("steps_per_second", steps_per_second),
            )
        }
        return past_trial(number, measurement={**rates, "objective": "latency"}, **given)

    own, best = {"micro_batch": 4, "zero_stage": 1}, {"micro_batch": 16, "zero_stage": 1}
    timely = past_experiment(1, "timely", options={"objective": "latency"}, best_samples_per_second=80.0)
    PAST.held.append(
        (timely, [timed(0, 2.5, phase="baseline", assignment=own), timed(1, 5.0, assignment=best)])
    )
    header, baseline, faster = shown(capsys, "trials", "timely").splitlines()
    assert header.split()[3:5] == ["s/step", "samples/s"]
    assert baseline.split()[3:5] == ["0.4", "40"]
    assert baseline.endswith("your own configuration")
    assert faster.split()[3:5] == ["0.2", "80"]
    assert faster.endswith("  micro_batch=16")
    page = shown(capsys, "show", "timely")
    assert "fastest seen  80 samples/s" in page
    assert "best seen" not in page


def test_alerts_of_trials_have_a_column_where_there_are_any(capsys: pytest.CaptureFixture[str]) -> None:
    alert = {"rule": "SmUtilizationLow", "annotations": {"summary": "GPU 0 waits"}}
    alerted = past_trial(0, phase="baseline", rate=100.0, alerts=(alert, alert))
    PAST.held.append((past_experiment(1, "led"), [alerted, past_trial(1, rate=120.0, alerts=())]))
    PAST.held.append((past_experiment(2, "older"), [past_trial(0, rate=100.0)]))
    header, first, second = shown(capsys, "trials", "led").splitlines()
    assert header.split()[-2:] == ["alerts", "changes"]
    assert first.split().count("SmUtilizationLow") == 1
    assert "-" in second.split()
    assert "alerts" not in shown(capsys, "trials", "older")
    assert "SmUtilizationLow: GPU 0 waits" in shown(capsys, "show", "led", "--trial", "0")


@pytest.mark.usefixtures("two_experiments")
@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ([], [0, 1, 2, 3]),
        (["--outcome", "out_of_memory"], [2]),
        (["--phase", "search"], [1, 2]),
        (["--phase", "search", "--outcome", "completed"], [1]),
        (["--outcome", "hung"], []),
    ],
)
def test_trials_are_chosen_by_outcome_and_phase(
    options: list[str], numbers: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(shown(capsys, "trials", "older", "--json", *options))
    assert [trial["number"] for trial in found] == numbers
    text = shown(capsys, "trials", "older", *options)
    assert [int(line.split()[0]) for line in text.splitlines()[1:]] == numbers
    assert numbers or text == "none of its 4 trials\n"


@pytest.mark.usefixtures("two_experiments")
@pytest.mark.parametrize("reference", ["older", "1", "{folder}/older", "./older"])
def test_an_experiment_is_known_by_name_id_and_folder(
    reference: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = shown(capsys, "show", reference.format(folder=tmp_path))
    assert page.startswith("experiment  older (id 1)")


@pytest.mark.usefixtures("two_experiments")
def test_an_experiment_shows_all_there_is_to_say(capsys: pytest.CaptureFixture[str]) -> None:
    page = shown(capsys, "show", "older")
    assert "deepspeed train.py --data s3://key:***@host/x" in page
    assert "1.34x (1.31 to 1.37)" in page
    assert "zero_optimization.stage" in page
    assert "optimizer states are shared out" in page
    assert "3 completed" in page
    assert "rank 1: 2 GiB asked for" in page
    document = json.loads(shown(capsys, "show", "older", "--json"))
    assert document["recommendation"]["speedup"]["point"] == 1.34
    assert [trial["number"] for trial in document["trials"]] == [0, 1, 2, 3]


def test_an_experiment_shows_what_explains_its_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    explanation = explanation_json(explained())
    PAST.held += [
        (past_experiment(1, "why", recommendation={**RECOMMENDATION, "explanation": explanation}), []),
        (past_experiment(2, "race", recommendation={**RECOMMENDATION, "explanation": None}), []),
    ]
    page = " ".join(shown(capsys, "show", "why").split())
    for words in (
        "matters micro_batch 71% (52% to 83%)",
        "micro_batch: 1.120x (1.109 to 1.131); zero_stage: without it nothing measurable is lost",
        "cost 2 GPU hours (search 1.6, start-up 0.4)",
        "paid back after 1.25 h of production",
        "pipeline_chunks: the job is not a",
    ):
        assert words in page
    assert "matters" not in shown(capsys, "show", "race")


@pytest.mark.usefixtures("two_experiments")
def test_a_trial_shows_its_difference_from_the_users_own(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line.split() for line in shown(capsys, "show", "older", "--trial", "1").splitlines()]
    assert ["ds_config", "train_micro_batch_size_per_gpu", "4", "16"] in lines
    assert ["ds_config", "zero_optimization.stage", "0", "1"] in lines
    assert ["samples/s", "134", "(131", "to", "137)"] in lines
    assert "the configuration is yours" in shown(capsys, "show", "older", "--trial", "0")
    assert json.loads(shown(capsys, "show", "older", "--trial", "1", "--json"))["ds_config"] == FASTER


@pytest.mark.usefixtures("two_experiments")
@pytest.mark.parametrize(
    "arguments", [["trials", "newer"], ["show", "newer"], ["show", "newer", "--trial=0"]]
)
def test_hostile_text_cannot_reach_the_terminal(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(capsys, *arguments)
    assert "[bold red]big[/]" in text
    assert not set(text) & {"\x1b", "\x07", "\u202e"}


@pytest.mark.usefixtures("two_experiments")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "oldr"], "EXPERIMENT: there is no experiment 'oldr'; did you mean older?"),
        (["trials", "zzz"], "the newest is newer; flyball history experiments lists them all"),
        (["trials", "99999999999999999999"], "there is no experiment"),
        (
            ["trials", "older", "--outcome", "oom"],
            "--outcome: 'oom' is none of them; choose one of comp",
        ),
        (["trials", "older", "--phase", "x"], "--phase: 'x' is none of them; choose one of baseline, "),
        (["show", "older", "--trial", "9"], "--trial: older has no trial 9; its trials are 0 to 3"),
        (["show", "older", "--trial", "x"], "--trial: 'x' does not fit"),
        (["show"], "EXPERIMENT: is missing"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert history(*arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert "s3cret" not in captured.err


def test_in_an_empty_history_nothing_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert history("show", "x") == 2
    assert "the history is empty; make one with autotune" in capsys.readouterr().err
