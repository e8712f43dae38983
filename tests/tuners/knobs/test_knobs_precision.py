"""The number format: what it writes, where it makes no sense, and what shows that it acted."""

from typing import Any

import pytest
from tests.tuners.statistics_fakes import configuration, header, job, steps

from flyball.tuners.base import Measurement
from flyball.tuners.config.shape import precision
from flyball.tuners.knobs.knob import Situation
from flyball.tuners.knobs.registry import BY_NAME
from flyball.tuners.legality.context import Context
from flyball.tuners.measurement.measurement import measure
from flyball.tuners.measurement.witness import idle_knobs
from flyball.tuners.space.render import render

KNOB = BY_NAME["precision"]
GPU = Context(world_size=1, device="cuda")
BF16, FP16, OLD = ({name: {"enabled": True}} for name in ("bf16", "fp16", "bfloat16"))


def situation(config: dict[str, Any], **context: Any) -> Situation:
    return Situation(config=config, context=Context(**{"world_size": 1, "device": "cuda", **context}))


@pytest.mark.parametrize(
    ("config", "values"), [({}, ("fp32", "bf16")), (FP16, ("fp16", "bf16")), (BF16, ("bf16",))]
)
def test_bf16_is_tried_beside_the_users_own(config: dict[str, Any], values: tuple[str, ...]) -> None:
    assert KNOB.values(situation(config)) == values


@pytest.mark.parametrize("own", [{}, BF16, FP16, OLD], ids=["fp32", "bf16", "fp16", "bfloat16"])
@pytest.mark.parametrize("wanted", ["fp32", "bf16", "fp16"])
def test_one_format_is_on_and_nothing_is_written_that_need_not_be(own: dict[str, Any], wanted: str) -> None:
    made = render(own, {"precision": wanted}, GPU).ds_config
    assert precision(made) == wanted
    if precision(own) == wanted:
        assert made == own
    if own == OLD:
        assert "bf16" not in made
    scaled = {"fp16": {"enabled": True, "initial_scale_power": 12}}
    assert render(scaled, {"precision": "bf16"}, GPU).ds_config["fp16"]["initial_scale_power"] == 12


@pytest.mark.parametrize(
    ("config", "context", "reason"),
    [
        ({"bf16": {"enabled": "auto"}}, {}, "auto"),
        ({"amp": {"enabled": True}}, {}, "amp"),
        ({"torch_autocast": {"enabled": True}}, {}, "torch_autocast"),
        ({}, {"parameters_by_type": {"bfloat16": 10}}, "by itself"),
    ],
)
def test_where_the_format_is_decided_otherwise_it_is_left_out(
    config: dict[str, Any], context: dict[str, Any], reason: str
) -> None:
    assert reason in str(KNOB.pointless(situation(config, **context)))
    assert KNOB.pointless(situation({})) is None


def test_it_is_offered_by_itself_on_a_gpu_in_fp32_alone() -> None:
    assert KNOB.by_default(situation({}))
    assert not KNOB.by_default(situation(BF16))
    assert not KNOB.by_default(situation({}, device="cpu"))


def test_what_the_model_is_made_of_tells_whether_it_acted() -> None:
    types = {"bfloat16": 900, "float32": 10}
    seen = measure(job(steps([0.1] * 20), **header(parameters_by_type=types)))
    assert isinstance(seen, Measurement)
    assert idle_knobs(configuration(assignment={"precision": "bf16"}), [seen]) == ()
    assert idle_knobs(configuration(assignment={"precision": "fp32"}), [seen]) == ("precision",)
