from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import InMemoryStorage
from tests.tuners.statistics_fakes import configuration, measurement

from flyball.runner.outcome import Outcome, OutcomeKind
from flyball.tuners.base import Configuration, Measurement, Phase, TrialReport
from flyball.tuners.legality.context import Context
from flyball.tuners.memory.screen import MemoryScreen, error_note, prediction_errors
from flyball.tuners.search.sampler import Search
from flyball.tuners.space.space import Space, load_space

GIB = 2**30
BILLION = 10**9
GPUS = Context(
    world_size=8,
    device="cuda",
    parameters=7 * BILLION,
    device_memory_bytes=80 * GIB,
    deepspeed_version="0.19.8",
    torch_version="2.13.0",
)
BF16 = {
    "train_batch_size": 4608,
    "train_micro_batch_size_per_gpu": 1,
    "bf16": {"enabled": True},
    "optimizer": {"type": "AdamW"},
    "zero_optimization": {"stage": 3},
}
A_SAMPLE = 4 * GIB
"""Activations, made up."""
STATES = {1: 70 * GIB, 2: 45 * GIB, 3: 20 * GIB}
"""What else is there by stage, made up."""


def config(stage: int, micro: int = 1) -> dict[str, Any]:
    return {**BF16, "train_micro_batch_size_per_gpu": micro, "zero_optimization": {"stage": stage}}


def needed(ds_config: Mapping[str, Any]) -> int:
    stage = ds_config["zero_optimization"]["stage"]
    return STATES.get(stage, 200 * GIB) + A_SAMPLE * ds_config["train_micro_batch_size_per_gpu"]


def run(ds_config: Mapping[str, Any], peak: int | None = None) -> Measurement:
    allocated = peak or needed(ds_config)
    return measurement(
        peak_reserved_bytes=allocated,
        peak_allocated_bytes=allocated,
        resting_allocated_bytes=STATES[ds_config["zero_optimization"]["stage"]],
        kept_activation_bytes=A_SAMPLE * ds_config["train_micro_batch_size_per_gpu"],
        device_memory_bytes=80 * GIB,
    )


def report(
    number: int, wanted: Configuration, measured: Measurement | None, phase: Phase = Phase.SEARCH
) -> TrialReport:
    return TrialReport(
        number=number,
        phase=phase,
        configuration=wanted,
        outcome=Outcome(kind=OutcomeKind.COMPLETED, reason="measured"),
        measurement=measured,
        launcher="warm",
        startup_seconds=1.0,
        total_seconds=5.0,
    )


def made(stage: int, micro: int = 1, peak: int | None = None) -> TrialReport:
    wanted = config(stage, micro)
    return report(0, configuration(wanted), run(wanted, peak))


def test_only_what_certainly_cannot_fit_is_rejected() -> None:
    screen = MemoryScreen.of(GPUS)
    reason = screen.cannot_fit(configuration(config(0)), called="zero_stage 0")
    assert reason == "needs at least 130.4 GiB of 80.0 GiB a device"
    assert screen.cannot_fit(configuration(config(1)), called="zero_stage 1") is None
    assert screen.notes() == (f"1 point was not tried, as they cannot fit: zero_stage 0 {reason}",)


@pytest.mark.parametrize(
    "context",
    [
        replace(GPUS, parameters=None),
        replace(GPUS, device_memory_bytes=None),
        replace(GPUS, device="cpu"),
        replace(GPUS, pipeline=True),
        replace(GPUS, model_parallel=True),
    ],
)
def test_without_the_figures_nothing_is_rejected_or_put_off(context: Context) -> None:
    screen = MemoryScreen.of(context, [made(3)])
    assert screen.cannot_fit(configuration(config(0)), called="zero_stage 0") is None
    assert not screen.is_doubtful(configuration(config(3, 64)))
    assert screen.notes() == ()


def test_a_batch_that_cannot_fit_is_seen_from_a_smaller_one() -> None:
    screen = MemoryScreen.of(GPUS, [made(2, 4)])
    assert screen.cannot_fit(configuration(config(2, 8))) is None
    assert screen.cannot_fit(configuration(config(2, 64))) is not None


def test_what_likely_passes_the_limit_is_doubtful_and_not_rejected() -> None:
    screen = MemoryScreen.of(GPUS, [made(3, 1), made(3, 2)])
    assert not screen.is_doubtful(configuration(config(3, 8)))
    likely_over = configuration(config(3, 18))
    assert screen.is_doubtful(likely_over)
    assert screen.cannot_fit(likely_over) is None
    lower = MemoryScreen.of(GPUS, [made(3, 1), made(3, 2)], limit_ratio=0.4)
    assert lower.is_doubtful(configuration(config(3, 8)))


def test_every_configuration_counts_once_in_the_error() -> None:
    seen = [made(3, 1), made(3, 2), made(3, 2), made(3, 2)]
    assert len(prediction_errors(GPUS, seen)) == 1
    (found,) = prediction_errors(GPUS, [made(3, 1), made(3, 2, peak=40 * GIB), made(3, 2, peak=1)])
    assert -0.5 < found < -0.2


def test_the_error_is_told_where_there_is_one() -> None:
    assert error_note(GPUS, [made(3, 1)]) == ()
    assert error_note(GPUS, [report(0, configuration(config(3)), None)]) == ()
    (one,) = error_note(GPUS, [made(3, 1), made(3, 2)])
    assert one.startswith("reserved memory was predicted from earlier runs within")
    assert one.endswith("(1 configuration)")
    (two,) = error_note(GPUS, [made(3, 1), made(3, 2), made(3, 4)])
    assert "median of 2 configurations, worst" in two


# ---- the search -----------------------------------------------------------------------------------


@pytest.fixture
def space(tmp_path: Path) -> Space:
    path = tmp_path / "space.yaml"
    path.write_text("knobs:\n  micro_batch: [1, 2, 4, 8]\n  zero_stage: [0, 1, 2, 3]\n")
    return load_space(path, BF16, GPUS)


def searched(space: Space, screen: MemoryScreen) -> list[tuple[Any, Any]]:
    """Every point that a search asks for, larger micro batches being faster."""
    search = Search("study", InMemoryStorage(), 0, space, memory=screen)
    search.enqueue(space.baseline_assignment())
    asked: list[tuple[Any, Any]] = []
    while (proposal := search.ask()) is not None:
        stage, micro = proposal.assignment["zero_stage"], proposal.assignment["micro_batch"]
        asked.append((stage, micro))
        wanted = space.render(proposal.assignment)
        if needed(wanted.ds_config) > 80 * GIB:
            search.tell_infeasible(proposal.trial, "out_of_memory")
            continue
        screen.learn(report(len(asked), wanted, run(wanted.ds_config)))
        search.tell_completed(proposal.trial, 100.0 * float(micro) ** 0.5 - float(stage))
    return asked


def test_a_search_never_asks_for_what_cannot_fit(space: Space) -> None:
    screen = MemoryScreen.of(GPUS)
    asked = searched(space, screen)
    assert {stage for stage, _ in asked} == {1, 2, 3}
    assert "zero_stage 0" in screen.rejected
    assert all(name.startswith(("micro_batch", "zero_stage 0")) for name in screen.rejected)


def test_what_likely_passes_the_limit_comes_last(space: Space) -> None:
    """It is asked for all the same: a prediction rejects nothing."""
    screen = MemoryScreen.of(GPUS, limit_ratio=0.5)
    asked = searched(space, screen)
    doubtful = [
        index for index, point in enumerate(asked) if screen.is_doubtful(space.render(of(space, point)))
    ]
    sure = [index for index in range(len(asked)) if index not in doubtful]
    assert doubtful
    # One run of the doubtful stages may come before their own peaks have been seen.
    assert sum(index < max(sure) for index in doubtful) <= 2
    assert (2, 1) in asked


def of(space: Space, point: tuple[Any, Any]) -> dict[str, Any]:
    return {**space.baseline_assignment(), "zero_stage": point[0], "micro_batch": point[1]}
