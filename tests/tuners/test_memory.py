from typing import Any

import pytest

from flyball.tuners.base import Assignment
from flyball.tuners.context import Context
from flyball.tuners.memory import at_least_as_heavy, cannot_fit, least_bytes

BILLION = 10**9
GPUS = Context(world_size=8, device="cuda", parameters=7 * BILLION, device_memory_bytes=80 * 2**30)
BF16 = {"bf16": {"enabled": True}, "optimizer": {"type": "AdamW"}, "train_batch_size": 8}


@pytest.mark.parametrize(
    ("stage", "bytes_a_parameter"),
    [(0, 2 + 2 + 12), (1, 2 + 2 + 12 / 8), (2, 2 + 2 / 8 + 12 / 8), (3, 16 / 8)],
)
def test_mixed_precision_adam_follows_the_table_of_the_zero_paper(
    stage: int, bytes_a_parameter: float
) -> None:
    config = {**BF16, "zero_optimization": {"stage": stage}}
    assert least_bytes(config, GPUS) == pytest.approx(7 * BILLION * bytes_a_parameter, rel=1e-6)


def test_only_what_certainly_cannot_fit_is_rejected() -> None:
    assert "at least 104.3 GiB of 80.0 GiB" in str(
        cannot_fit({**BF16, "zero_optimization": {"stage": 0}}, GPUS)
    )
    assert cannot_fit({**BF16, "zero_optimization": {"stage": 1}}, GPUS) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"optimizer": {"type": "SGD"}},
        {"zero_optimization": {"stage": 3, "offload_param": {"device": "cpu"}}},
        {"zero_optimization": {"stage": 1, "offload_optimizer": {"device": "cpu"}}},
    ],
)
def test_what_is_not_known_or_elsewhere_is_not_counted(changed: dict[str, Any]) -> None:
    whole = least_bytes({**BF16, "zero_optimization": {"stage": 0}}, GPUS)
    part = least_bytes({**BF16, **changed}, GPUS)
    assert whole is not None
    assert part is not None
    assert part < whole


@pytest.mark.parametrize(
    "context",
    [
        Context(world_size=8, device="cuda", device_memory_bytes=1),
        Context(world_size=8, device="cuda", parameters=BILLION),
        Context(world_size=8, device="cuda", parameters=BILLION, device_memory_bytes=1, pipeline=True),
        Context(world_size=8, device="cpu", parameters=BILLION, device_memory_bytes=1),
    ],
)
def test_without_the_figures_nothing_is_rejected(context: Context) -> None:
    assert cannot_fit(BF16, context) is None


PAIRS: list[tuple[Assignment, Assignment, bool]] = [
    ({"micro_batch": 16, "zero_stage": 1}, {"micro_batch": 8, "zero_stage": 1}, True),
    (
        {"micro_batch": 8, "zero_stage": 1, "threads": 2},
        {"micro_batch": 8, "zero_stage": 1, "threads": 1},
        True,
    ),
    ({"micro_batch": 4, "zero_stage": 1}, {"micro_batch": 8, "zero_stage": 1}, False),
    ({"micro_batch": 16, "zero_stage": 2}, {"micro_batch": 8, "zero_stage": 1}, False),
    ({"micro_batch": 16, "compile": True}, {"micro_batch": 8, "compile": False}, False),
    ({"micro_batch": 16}, {"micro_batch": 8, "reduce_bucket_size": 1}, False),
    ({"micro_batch": 8, "reduce_bucket_size": 9}, {"micro_batch": 8, "reduce_bucket_size": 1}, True),
]


@pytest.mark.parametrize(("point", "other", "heavier"), PAIRS)
def test_a_point_is_heavier_only_where_nothing_speaks_against_it(
    point: Assignment, other: Assignment, heavier: bool
) -> None:
    assert at_least_as_heavy(point, other) is heavier


def test_a_number_format_that_the_script_decides_is_not_guessed() -> None:
    assert least_bytes({**BF16, "bf16": {"enabled": "auto"}}, GPUS) is None
