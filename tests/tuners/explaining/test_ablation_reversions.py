"""One knob at a time put back: what goes with it, what it writes, what cannot be run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyball.tuners.base import Configuration
from flyball.tuners.explaining.ablation_reversions import reversions
from flyball.tuners.legality.context import Context
from flyball.tuners.space.space import Space, load_space

CONFIG: dict[str, Any] = {
    "train_batch_size": 16,
    "train_micro_batch_size_per_gpu": 1,
    "optimizer": {"type": "AdamW", "params": {"lr": 0.001, "torch_adam": True}},
    "bf16": {"enabled": True},
    "zero_optimization": {"stage": 0},
}


def space(folder: Path, text: str, **context: Any) -> Space:
    (folder / "space.yaml").write_text(f"knobs:\n{text}")
    usual = {"world_size": 2, "device": "cuda", "data_parallel_size": 2}
    return load_space(folder / "space.yaml", CONFIG, Context(**{**usual, **context}))


def fits(configuration: Configuration) -> str | None:
    return None


def put_back(own: Space, order: dict[str, float] | None = None, **chosen: Any) -> tuple[Configuration, Any]:
    recommended = own.render(own.completed(chosen))
    return recommended, reversions(own, recommended, order or {}, cannot_fit=fits)


def test_each_changed_knob_goes_back_alone_and_nothing_else(tmp_path: Path) -> None:
    own = space(
        tmp_path, "  micro_batch: [1, 2, 8]\n  zero_stage: [0, 1, 2]\n  fused_optimizer: [true, false]\n"
    )
    _, found = put_back(own, micro_batch=8, zero_stage=2)
    assert [each.knob for each in found] == ["micro_batch", "zero_stage"]
    micro, stage = found
    assert micro.configuration.ds_config["train_micro_batch_size_per_gpu"] == 1
    assert micro.configuration.ds_config["zero_optimization"]["stage"] == 2
    assert stage.configuration.ds_config["zero_optimization"]["stage"] == 0
    assert stage.configuration.ds_config["train_micro_batch_size_per_gpu"] == 8
    assert (micro.own, micro.recommended, micro.together, micro.impossible) == (1, 8, (), None)


def test_keys_that_one_knob_writes_go_back_together_its_own_first(tmp_path: Path) -> None:
    own = space(tmp_path, "  micro_batch: [1, 2, 8]\n")
    recommended, (micro,) = put_back(own, micro_batch=8)
    assert micro.paths == ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
    assert micro.configuration.digest != recommended.digest
    assert micro.configuration.digest == own.render(own.baseline_assignment()).digest


def test_what_only_acts_beside_a_knob_goes_back_with_it(tmp_path: Path) -> None:
    own = space(
        tmp_path, "  zero_stage: [0, 3]\n  stage3_param_persistence_threshold: [10000, 100000, 1000000]\n"
    )
    _, found = put_back(own, zero_stage=3, stage3_param_persistence_threshold=10000)
    together = {each.knob: each.together for each in found}
    assert together == {
        "zero_stage": ("stage3_param_persistence_threshold",),
        "stage3_param_persistence_threshold": (),
    }


def test_what_is_not_legal_alone_says_why(tmp_path: Path) -> None:
    loaded = space(tmp_path, "  global_batch: [16, 64]\n  micro_batch: [1, 2]\n")
    # A space leaves out a value that is not legal beside the user's own; three knobs together may be so.
    batch, micro = loaded.entries
    own = replace(loaded, entries=(batch, replace(micro, values=(1, 32))))
    _, found = put_back(own, global_batch=64, micro_batch=32)
    reasons = {each.knob: each.impossible for each in found}
    assert reasons["micro_batch"] is None
    assert reasons["global_batch"] is not None
    assert reasons["global_batch"].startswith("not legal alone: train_")


def test_what_certainly_cannot_fit_is_not_run(tmp_path: Path) -> None:
    own = space(tmp_path, "  zero_stage: [0, 3]\n")
    recommended = own.render(own.completed({"zero_stage": 3}))

    def full(configuration: Configuration) -> str | None:
        return None if configuration.ds_config["zero_optimization"]["stage"] else "needs at least 15 GiB"

    (stage,) = reversions(own, recommended, {}, cannot_fit=full)
    assert stage.impossible == "needs at least 15 GiB"


@pytest.mark.parametrize(
    ("order", "first"),
    [
        ({}, "micro_batch"),
        ({"zero_stage": 0.6, "micro_batch": 0.2}, "zero_stage"),
        ({"zero_stage": 0.6}, "zero_stage"),
    ],
    ids=["nothing measured: what usually decides", "measured", "measured of one"],
)
def test_the_most_important_comes_first(tmp_path: Path, order: dict[str, float], first: str) -> None:
    own = space(tmp_path, "  micro_batch: [1, 2, 8]\n  zero_stage: [0, 1, 2]\n")
    assert put_back(own, order, micro_batch=8, zero_stage=2)[1][0].knob == first


def test_the_users_own_has_nothing_to_put_back(tmp_path: Path) -> None:
    own = space(tmp_path, "  micro_batch: [1, 2, 8]\n  zero_stage: [0, 1, 2]\n")
    assert put_back(own)[1] == ()
