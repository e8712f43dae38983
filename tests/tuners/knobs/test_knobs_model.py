"""Attention is offered as the model and the installation have it; emptying the cache when asked for."""

from pathlib import Path
from typing import Any

import pytest
from tests.tuners.statistics_fakes import configuration, measurement

from flyball.tuners.legality.context import Context
from flyball.tuners.measurement.witness import idle_knobs
from flyball.tuners.space.render import render
from flyball.tuners.space.space import load_space


def seen(device: str = "cuda:0", **header: Any) -> Context:
    facts = {"attention": "eager", "attentions": ["eager", "sdpa"], "device": device}
    return Context(world_size=1, device=device.partition(":")[0]).observed({**facts, **header})


def test_it_starts_from_what_the_model_uses() -> None:
    entry = load_space(None, {}, seen()).entry("attention")
    assert (entry.current, entry.values) == ("eager", ("eager", "sdpa"))
    assert render({}, {"attention": "eager"}, seen()).probe == {}
    assert render({}, {"attention": "sdpa"}, seen()).probe == {"attention": "sdpa"}


@pytest.mark.parametrize(
    ("context", "why"),
    [
        (seen(attention=None), "no switch"),
        (seen("cpu"), "not offered by default here"),
        (seen(attentions=["eager"]), "nothing to choose from"),
    ],
)
def test_it_is_left_out_where_there_is_no_choice(context: Context, why: str) -> None:
    assert why in load_space(None, {}, context).left_out["attention"]


def test_a_value_that_is_not_installed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("knobs:\n  attention: [eager, sdpa, flash_attention_2]\n")
    space = load_space(tmp_path / "space.yaml", {}, seen("cpu"))
    assert space.entry("attention").values == ("eager", "sdpa")
    assert "not installed" in space.left_out["attention=flash_attention_2"]


def test_emptying_the_cache_is_for_who_asks(tmp_path: Path) -> None:
    assert "not offered by default" in load_space(None, {}, seen()).left_out["empty_cache_every"]
    memory = load_space(Path("memory"), {}, seen())
    assert memory.entry("empty_cache_every").values == (0, 10, 100)
    assert "not CUDA's" in load_space(Path("memory"), {}, seen("cpu")).left_out["empty_cache_every"]
    assert render({}, {"empty_cache_every": 10}, seen()).probe == {"empty_cache_every": 10}


@pytest.mark.parametrize(
    ("knob", "setting", "acted", "idle"),
    [
        ("attention", "sdpa", {"layers": 3}, {"layers": 0}),
        ("empty_cache_every", 10, {"emptied": 2}, {}),
    ],
)
def test_they_are_believed_when_seen(knob: str, setting: Any, acted: Any, idle: Any) -> None:
    own = configuration(assignment={knob: setting}, probe={knob: setting})
    assert idle_knobs(own, [measurement(witnesses={knob: acted})]) == ()
    assert idle_knobs(own, [measurement(witnesses={knob: idle})]) == (knob,)
