import copy
from pathlib import Path
from typing import Any

import pytest

from flyball.tuners.base import Assignment, Configuration
from flyball.tuners.knobs.knob import Applied
from flyball.tuners.legality.context import Batch, Context
from flyball.tuners.space.render import Change, difference, render, trackers_off, trackers_off_environment

CONFIG: dict[str, Any] = {
    "train_batch_size": 32,
    "gradient_accumulation_steps": 16,
    "optimizer": {"type": "AdamW", "params": {"torch_adam": True}},
    "zero_optimization": {"stage": 1, "reduce_bucket_size": 5e8},
}
CPU = Context(world_size=2, device="cpu", threads=2)
HF = Context(
    world_size=2,
    batch=Batch(micro=4, accumulation=2, global_batch=16),
    maps={
        "train_micro_batch_size_per_gpu": "--per_device_train_batch_size",
        "gradient_accumulation_steps": "--gradient_accumulation_steps",
    },
)
AUTO = {
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
}


def test_the_base_config_is_never_changed() -> None:
    before = copy.deepcopy(CONFIG)
    render(CONFIG, {"zero_stage": 3, "micro_batch": 8, "fused_optimizer": True}, CPU)
    assert before == CONFIG


def test_the_users_own_values_change_nothing() -> None:
    own: Assignment = {"zero_stage": 1, "micro_batch": 1, "reduce_bucket_size": 500_000_000, "threads": 2}
    made = render(CONFIG, own, CPU)
    assert made.ds_config == CONFIG
    assert (made.arguments, made.environment, made.probe) == ({}, {}, {})


def test_accumulation_follows_the_micro_batch_at_a_fixed_global_batch() -> None:
    made = render(CONFIG, {"micro_batch": 8}, CPU).ds_config
    assert (made["train_micro_batch_size_per_gpu"], made["gradient_accumulation_steps"]) == (8, 2)
    assert made["train_batch_size"] == 32


def test_the_global_batch_moves_only_on_request() -> None:
    made = render(CONFIG, {"global_batch": 64, "micro_batch": 8}, CPU).ds_config
    assert (made["train_batch_size"], made["gradient_accumulation_steps"]) == (64, 4)


def test_auto_values_stay_auto_and_the_options_move() -> None:
    made = render(AUTO, {"micro_batch": 8}, HF)
    assert made.ds_config == AUTO
    assert made.arguments == {"--per_device_train_batch_size": "8", "--gradient_accumulation_steps": "1"}


def test_numbers_that_are_mapped_move_in_both_places() -> None:
    fixed = {**AUTO, "train_micro_batch_size_per_gpu": 4}
    made = render(fixed, {"micro_batch": 8}, HF)
    assert made.ds_config["train_micro_batch_size_per_gpu"] == 8
    assert made.arguments["--per_device_train_batch_size"] == "8"


def test_chunks_are_the_accumulation_of_a_pipeline() -> None:
    pipeline = Context(world_size=2, pipeline=True, data_parallel_size=1)
    config = {"train_micro_batch_size_per_gpu": 8, "gradient_accumulation_steps": 1}
    made = render(config, {"pipeline_chunks": 4}, pipeline).ds_config
    assert (made["train_micro_batch_size_per_gpu"], made["gradient_accumulation_steps"]) == (2, 4)


def test_a_default_that_moves_with_the_stage_is_written_out() -> None:
    made = render(CONFIG, {"zero_stage": 3, "overlap_comm": False}, CPU).ds_config
    assert made["zero_optimization"]["overlap_comm"] is False


def test_the_old_form_of_the_zero_section_becomes_a_section() -> None:
    made = render({"train_batch_size": 8, "zero_optimization": True}, {"zero_stage": 2}, CPU).ds_config
    assert made["zero_optimization"] == {"stage": 2}


WAYS: list[tuple[Assignment, str, dict[str, Any]]] = [
    ({"threads": 1}, "environment", {"OMP_NUM_THREADS": "1"}),
    ({"compile": True}, "probe", {"compile": True}),
    ({"powersgd": 4}, "probe", {"powersgd": {"rank": 4, "start_step": 2, "min_compression": 2.0}}),
]


@pytest.mark.parametrize(("assignment", "way", "written"), WAYS)
def test_each_knob_is_applied_its_own_way(assignment: Assignment, way: str, written: dict[str, Any]) -> None:
    made = render(CONFIG, assignment, CPU)
    assert getattr(made, way) == written
    assert made.ds_config == CONFIG


def test_trackers_are_off_in_a_copy() -> None:
    config = {
        "wandb": {"enabled": True, "project": "ours"},
        "tensorboard": {"enabled": True},
        "flops_profiler": {},
    }
    quiet = trackers_off(config)
    assert quiet == {
        "wandb": {"enabled": False, "project": "ours"},
        "tensorboard": {"enabled": False},
        "flops_profiler": {},
    }
    assert config["wandb"] == {"enabled": True, "project": "ours"}


def test_what_cannot_be_switched_off_writes_into_the_trial(tmp_path: Path) -> None:
    environment = trackers_off_environment(tmp_path)
    assert environment["WANDB_MODE"] == "disabled"
    assert environment["MLFLOW_TRACKING_URI"].startswith(tmp_path.as_uri())
    assert environment["TENSORBOARD_LOGGING_DIR"].startswith(str(tmp_path))


def test_the_difference_names_every_changed_leaf() -> None:
    base = render(CONFIG, {}, CPU)
    other = render(CONFIG, {"micro_batch": 8, "zero_stage": 0, "threads": 1, "compile": True}, CPU)
    assert difference(base, other) == [
        Change(kind=Applied.CONFIG, path="gradient_accumulation_steps", old=16, new=2),
        Change(kind=Applied.CONFIG, path="train_micro_batch_size_per_gpu", old=None, new=8),
        Change(kind=Applied.CONFIG, path="zero_optimization.stage", old=1, new=0),
        Change(kind=Applied.ENVIRONMENT, path="OMP_NUM_THREADS", old=None, new="1"),
        Change(kind=Applied.PROBE, path="compile", old=None, new=True),
    ]
    assert difference(base, base) == []


def test_removed_keys_are_a_difference() -> None:
    base = Configuration(assignment={}, ds_config={"a": None, "b": {}})
    other = Configuration(assignment={}, ds_config={"b": {}})
    assert difference(base, other) == [Change(kind=Applied.CONFIG, path="a", old=None, new=None)]
