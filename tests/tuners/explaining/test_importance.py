"""Which knobs decided: found where they did, and nothing said where nothing can be."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.tuners.statistics_fakes import measurement, trial

from flyball.runner.outcome import Outcome, OutcomeKind
from flyball.tuners.base import Assignment, TrialReport
from flyball.tuners.explaining.importance import LEAST_POINTS, memory_importance, speed_importance
from flyball.tuners.legality.context import Context
from flyball.tuners.space.space import Space, load_space

CONFIG = {
    "train_batch_size": 64,
    "train_micro_batch_size_per_gpu": 1,
    "optimizer": {"type": "AdamW", "params": {"lr": 0.001, "torch_adam": True}},
    "zero_optimization": {"stage": 2},
}
SPACE = """knobs:
  micro_batch: [1, 2, 4, 8, 16, 32]
  zero_stage: [0, 1, 2]
  overlap_comm: [true, false]
  fused_optimizer: [true, false]
  threads: [1, 2, 4]
"""


@pytest.fixture
def space(tmp_path: Path) -> Space:
    (tmp_path / "space.yaml").write_text(SPACE)
    return load_space(tmp_path / "space.yaml", CONFIG, Context(world_size=2, cores=8, threads=1))


def drawn(
    space: Space, speed: Callable[[Assignment], float | None], *, count: int, seed: int = 1
) -> list[TrialReport]:
    """Runs of random points; a speed of None runs out of memory."""
    random = np.random.default_rng(seed)
    reports = []
    for number in range(count):
        point = space.draw(random)
        rate = speed(point)
        run = rate and rate * math.exp(random.normal(0, 0.02))
        report = replace(trial(number, rate=run), configuration=space.render(point))
        if rate is None:
            failed = Outcome(kind=OutcomeKind.OUT_OF_MEMORY, reason="2 GiB asked for")
            report = replace(report, outcome=failed)
        reports.append(report)
    return reports


def by_micro_batch(point: Assignment) -> float:
    return 100 * float(point["micro_batch"]) ** 0.3 * (1.15 if point["zero_stage"] == 0 else 1.0)


def test_what_decides_comes_first_and_its_interval_holds_the_truth(space: Space) -> None:
    found = speed_importance(space, drawn(space, by_micro_batch, count=30), seed=3)
    # Variances of 0.3 log(micro batch) and of 0.14 at one of three stages, over their sum.
    micro = np.var([0.3 * math.log(2**power) for power in range(6)])
    stage = np.var([math.log(1.15), 0.0, 0.0])
    truth = {"micro_batch": micro / (micro + stage), "zero_stage": stage / (micro + stage), "threads": 0.0}
    shares = {each.knob: each.share for each in found.knobs}
    assert found.reason == ""
    assert next(iter(shares)) == "micro_batch"
    for knob, share in truth.items():
        assert shares[knob].low <= share + 1e-4 <= shares[knob].high + 1e-4
    assert shares["micro_batch"].low > 0.7
    assert shares["threads"].high < 0.15
    assert found == speed_importance(space, drawn(space, by_micro_batch, count=30), seed=3), "seeded"


@pytest.mark.parametrize("seed", range(8))
def test_noise_alone_is_said_to_be_noise(space: Space, seed: int) -> None:
    found = speed_importance(space, drawn(space, lambda point: 100.0, count=20, seed=seed), seed=seed)
    assert found.knobs == ()
    assert "the trials do not tell" in found.reason


def test_too_few_trials_say_so_instead_of_anything_else(space: Space) -> None:
    reports = drawn(space, by_micro_batch, count=LEAST_POINTS - 1)
    found = speed_importance(space, [*reports, *reports], seed=1)
    assert found.knobs == ()
    assert found.reason == (
        f"not enough trials: {LEAST_POINTS - 1} configurations were measured, {LEAST_POINTS} are needed"
    )


def test_a_knob_that_no_trial_turned_has_no_share(space: Space) -> None:
    reports = [
        replace(report, configuration=space.render({**report.configuration.assignment, "threads": 1}))
        for report in drawn(space, by_micro_batch, count=20)
    ]
    assert "threads" not in {each.knob for each in speed_importance(space, reports, seed=1).knobs}


def test_what_ran_out_of_memory_has_no_speed_and_says_what_fits(space: Space) -> None:
    def speed(point: Assignment) -> float | None:
        return None if float(point["micro_batch"]) > 8 else by_micro_batch(point)

    reports = drawn(space, speed, count=40)
    ran = [report for report in reports if report.measurement]
    assert speed_importance(space, reports, seed=1) == speed_importance(space, ran, seed=1)
    fits = memory_importance(space, reports, memory_limit_ratio=0.9, seed=1)
    assert fits is not None
    assert (fits.knobs[0].knob, fits.points) == (
        "micro_batch",
        len({r.configuration.digest for r in reports}),
    )
    assert memory_importance(space, ran, memory_limit_ratio=0.9, seed=1) is None


def test_above_the_memory_limit_is_measured_and_does_not_fit(space: Space) -> None:
    def reserved(report: TrialReport) -> TrialReport:
        large = float(report.configuration.assignment["micro_batch"]) > 8
        run = measurement(100.0, peak_reserved_bytes=95 if large else 50, device_memory_bytes=100)
        return replace(report, measurement=run)

    reports = [reserved(report) for report in drawn(space, by_micro_batch, count=40)]
    found = memory_importance(space, reports, memory_limit_ratio=0.9, seed=1)
    assert found is not None
    assert found.knobs[0].knob == "micro_batch"
    assert memory_importance(space, reports, memory_limit_ratio=0.96, seed=1) is None
