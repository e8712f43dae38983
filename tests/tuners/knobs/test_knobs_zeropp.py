"""ZeRO++: at stage 3 on CUDA between hosts, believed by the engine's own flags and the bytes on the wire."""

from types import SimpleNamespace
from typing import Any

import pytest
from tests.tuners.statistics_fakes import configuration, measurement

from flyball.runner.probe.header import zeropp_flags
from flyball.tuners.base import Measurement
from flyball.tuners.legality.context import Context
from flyball.tuners.measurement.measurement import ENGINE, engine_facts
from flyball.tuners.measurement.witness import idle_knobs
from flyball.tuners.space.space import Space, load_space

WEIGHTS, GRADIENTS, SECONDARY = (
    "zero_quantized_weights",
    "zero_quantized_gradients",
    "zero_hpz_partition_size",
)


def job(stage: int = 2, hosts: int | None = 2, **other: Any) -> Space:
    config = {
        "train_batch_size": 16,
        "train_micro_batch_size_per_gpu": 1,
        "bf16": {"enabled": True},
        "zero_optimization": {"stage": stage},
    }
    fields: dict[str, Any] = {"world_size": 16, "device": "cuda", **other}
    return load_space(None, config, Context(hosts=hosts, **fields))


@pytest.mark.parametrize("stage", [2, 3])
def test_between_hosts_it_is_offered_at_whatever_stage_the_user_is(stage: int) -> None:
    space = job(stage)
    assert space.entry(WEIGHTS).values == (False, True)
    assert space.entry(GRADIENTS).values == (False, True)
    assert space.entry(SECONDARY).values == (1, 8)


def test_it_acts_at_stage_3_alone() -> None:
    space = job()
    lower = space.completed({"zero_stage": 2, WEIGHTS: True})
    upper = space.completed({"zero_stage": 3, WEIGHTS: True, SECONDARY: 8})
    assert WEIGHTS not in lower
    assert space.findings(upper) == []
    section = space.render(upper).ds_config["zero_optimization"]
    assert section | {"stage": 3, WEIGHTS: True, SECONDARY: 8} == section


@pytest.mark.parametrize(
    ("name", "space", "why"),
    [
        (WEIGHTS, job(device="cpu"), "not implemented on CPU"),
        (WEIGHTS, job(world_size=1), "one replica"),
        (WEIGHTS, job(hosts=1), "not offered by default here"),
        (GRADIENTS, job(hosts=1), "falls back to dense gradients on one host"),
        (SECONDARY, job(pipeline=True), "no stage 3"),
    ],
)
def test_it_is_left_out_where_it_cannot_act(name: str, space: Space, why: str) -> None:
    assert why in space.left_out[name]


def test_the_engine_says_what_it_has() -> None:
    engine = SimpleNamespace(zero_quantized_weights=lambda: True, zero_hpz_partition_size=lambda: 8)
    assert zeropp_flags(engine) == {WEIGHTS: True, SECONDARY: 8}
    assert engine_facts({"zero_stage": 3, "zeropp": {WEIGHTS: True}}) == {"zero_stage": 3, WEIGHTS: True}


def seen(all_to_all: float = 0.0, **flags: Any) -> Measurement:
    sent = {"all_gather_into_tensor": 500.0, "all_to_all_single": all_to_all}
    return measurement(communicated_bytes_per_step=sent, witnesses={ENGINE: flags})


@pytest.mark.parametrize(
    ("case", "name", "run", "idle"),
    [
        ("weights in 8 bits", WEIGHTS, seen(**{WEIGHTS: True}), ()),
        ("the flag was lost", WEIGHTS, seen(**{WEIGHTS: False}), (WEIGHTS,)),
        ("gradients in 4 bits", GRADIENTS, seen(100.0, **{GRADIENTS: True}), ()),
        ("fell back", GRADIENTS, seen(0.0, **{GRADIENTS: True}), (GRADIENTS,)),
        ("the flag was lost", GRADIENTS, seen(0.0, **{GRADIENTS: False}), (GRADIENTS,)),
    ],
)
def test_flags_and_bytes_tell(case: str, name: str, run: Measurement, idle: tuple[str, ...]) -> None:
    assert idle_knobs(configuration(assignment={name: True}), [run]) == idle


def test_experts_that_make_all_to_alls_anyway_prove_nothing() -> None:
    own = configuration(assignment={GRADIENTS: True})
    assert idle_knobs(own, [seen(100.0)], [seen(100.0)]) == (GRADIENTS,)
    assert idle_knobs(own, [seen(150.0)], [seen(100.0)]) == ()
