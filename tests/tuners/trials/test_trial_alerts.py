"""Which alerts fire in a trial of seconds, by rules that were written for runs of days."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.tuners.trial_fakes import gpu_sample, journal, record, recorded, sm_utilization, steps

from flyball.collectors import catalog
from flyball.collectors.base import Sample
from flyball.collectors.journal import RankJournal
from flyball.history.alert_records import Alert
from flyball.policies.rule import Rule
from flyball.policies.rule_file import read_rules
from flyball.tuners.knobs.registry import BY_NAME
from flyball.tuners.trials.trial_alerts import MOST_ALERTS, TrialRules

DEFAULT = read_rules(["default"], known_knobs=BY_NAME)


def rules_of(tmp_path: Path, text: str) -> tuple[Rule, ...]:
    path = tmp_path / "policies.yaml"
    path.write_text(f"policies:\n  - {{alert: Mine, {text}}}\n")
    return read_rules([path], known_knobs=BY_NAME)


def fired(
    journals: Mapping[int, RankJournal] | RankJournal,
    readings: list[list[Sample]] | None = None,
    *,
    rules: Sequence[Rule] = DEFAULT,
    warmup_steps: int = 0,
) -> tuple[Alert, ...]:
    judge = TrialRules(rules)
    by_rank = {0: journals} if isinstance(journals, RankJournal) else journals
    gpus = recorded(readings, judge.gpu_metrics) if readings else None
    found = judge.fired(by_rank, gpus, run="gpt-0", warmup_steps=warmup_steps)
    assert found is not None
    return found


def names(alerts: Iterable[Alert]) -> list[str]:
    return [alert.rule for alert in alerts]


def memory(**given: int) -> dict[str, Any]:
    usual = {"allocated": 60, "reserved": 100, "active": 60, "inactive_split": 0, "retries": 0, "ooms": 0}
    return {**usual, "peak_active": 95, "peak_reserved": 100, **given}


def test_an_idle_gpu_is_an_alert_that_says_what_to_try() -> None:
    readings = sm_utilization({second / 2: 0.41 for second in range(41)})
    (alert,) = fired(journal(steps(20)), readings)
    assert alert.rule == "SmUtilizationLow"
    assert alert.value == pytest.approx(0.41)
    assert alert.suggests[0] == "micro_batch"
    assert alert.annotations["summary"].startswith("GPU 0 of h trains with 41% of its SM cycles")


def test_warm_up_other_gpus_and_what_comes_after_the_steps_do_not_count() -> None:
    during = {float(second): 0.9 for second in range(6, 21)}
    around = {float(second): 0.0 for second in (*range(-5, 5), *range(22, 60))}
    readings = [*sm_utilization({**during, **around}), *sm_utilization({10.0: 0.0}, uuid="GPU-b")]
    ended = [*steps(20), record("end", 60, reason="exit")]
    assert fired(journal(ended), readings, warmup_steps=5) == ()
    assert names(fired(journal(ended), readings)) == ["SmUtilizationLow"], "warm-up and all"


def test_a_pause_between_the_steps_does_not_count() -> None:
    paused = [
        *steps(10),
        record("pause", 10, phase="evaluating", edge="begin"),
        record("pause", 40, phase="evaluating", edge="end"),
        *steps(10, begin=40),
    ]
    busy = {float(second): 0.0 if 10 < second < 40 else 0.9 for second in range(51)}
    assert fired(journal(paused), sm_utilization(busy)) == ()
    assert names(fired(journal(paused), sm_utilization({s: 0.9 - v for s, v in busy.items()}))) == [
        "SmUtilizationLow"
    ]


@pytest.mark.parametrize("held_seconds", [5, 12, 19])
def test_a_condition_without_a_window_must_hold_for_most_of_the_trial(held_seconds: int) -> None:
    # Peaks are the greatest since the run began, so a run only ever becomes less fragmented.
    held = steps(20, memory=lambda number: memory(peak_active=60 if number <= held_seconds else 95))
    found = fired(journal(held))
    assert names(found) == (["FragmentationHigh"] if held_seconds == 19 else [])


@pytest.mark.parametrize(("retries", "expected"), [(3, []), (4, ["AllocatorRetries"])])
def test_counts_are_those_of_the_trial_and_not_scaled_up(retries: int, expected: list[str]) -> None:
    counted = steps(20, memory=lambda number: memory(retries=min(number, retries + 1) - 1))
    assert names(fired(journal(counted))) == expected


def test_a_run_that_ran_out_of_memory_has_its_alert_without_any_step() -> None:
    broken = journal([record("out_of_memory", 3, engine=0, message="2 GiB"), record("end", 4, reason="exit")])
    (alert,) = fired(broken)
    assert alert.rule == "OutOfMemory"
    assert "activation_checkpointing" in alert.suggests


def test_nothing_fires_in_a_healthy_trial_however_long_it_goes_without_a_checkpoint() -> None:
    healthy = {
        rank: journal(
            [
                step | {"step": step["step"] * 1000, "count": 1000, "loss": 5.0, "memory": memory()}
                for step in steps(60)
            ],
            rank,
        )
        for rank in (0, 1)
    }
    readings = sm_utilization({float(second): 0.85 + 0.1 * math.sin(second) for second in range(61)})
    assert fired(healthy, readings) == ()


def test_what_fits_into_the_trial_is_judged_as_it_stands(tmp_path: Path) -> None:
    rules = rules_of(tmp_path, "metric: loss, above: 4, for: 5s, while: stepping")
    spiky = steps(20, loss=lambda number: 5.0 if 8 <= number <= 14 else 1.0)
    assert names(fired(journal(spiky), rules=rules)) == ["Mine"]
    short = steps(20, loss=lambda number: 5.0 if 8 <= number <= 10 else 1.0)
    assert fired(journal(short), rules=rules) == ()


@pytest.mark.parametrize(
    "text",
    [
        "metric: loss, absent: true, for: 1s",
        "metric: loss, aggregate: avg, window: 1s, baseline: {window: 30m}, above: 0%",
        "metric: steps_since_checkpoint, above: 0",
    ],
    ids=["missing series", "against earlier", "of checkpoints"],
)
def test_what_a_trial_says_nothing_about_is_not_judged(tmp_path: Path, text: str) -> None:
    assert fired(journal(steps(20, loss=5.0)), rules=rules_of(tmp_path, text)) == ()


def test_the_gpu_metrics_of_the_rules_are_those_that_are_recorded(tmp_path: Path) -> None:
    rules = rules_of(tmp_path, "metric: gpu_temperature_celsius, above: 90, for: 10m")
    assert TrialRules(rules).gpu_metrics == {catalog.GPU_TEMPERATURE}
    readings = [[gpu_sample(catalog.GPU_TEMPERATURE, float(second), 95.0)] for second in range(21)]
    assert names(fired(journal(steps(20)), readings, rules=rules)) == ["Mine"]


def test_the_same_journals_give_the_same_alerts() -> None:
    ranks = {rank: journal(steps(20, loss=math.nan), rank) for rank in range(3)}
    assert names(fired(ranks)) == ["LossNan"] * 3
    assert repr(fired(ranks)) == repr(fired(ranks)), "as text: NaN is not equal to itself"


def test_a_job_of_many_ranks_keeps_a_bounded_number() -> None:
    ranks = {rank: journal(steps(5, loss=math.nan), rank) for rank in range(MOST_ALERTS + 1)}
    assert len(fired(ranks)) == MOST_ALERTS


def test_of_a_run_that_wrote_nothing_nothing_is_known() -> None:
    assert TrialRules(DEFAULT).fired({}, None, run="gpt-0") is None
