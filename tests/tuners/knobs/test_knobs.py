from pathlib import Path

import pytest

from flyball.tuners.config.reading import known_keys
from flyball.tuners.knobs.batch import scaling_note
from flyball.tuners.knobs.knob import Applied, Knob, Situation
from flyball.tuners.knobs.registry import BY_NAME, KNOBS
from flyball.tuners.legality.context import Context
from flyball.tuners.space.render import render
from flyball.tuners.space.space_file import bundled, read_wishes

PAGE = Path(__file__).parents[3] / "docs" / "knobs.md"
SITUATION = Situation(
    config={
        "train_batch_size": 64,
        "train_micro_batch_size_per_gpu": 2,
        "optimizer": {"type": "AdamW", "params": {"torch_adam": True}},
    },
    context=Context(world_size=2, device="cpu", cores=4, threads=4),
)

every_knob = pytest.mark.parametrize("knob", KNOBS, ids=lambda knob: knob.name)


@every_knob
def test_every_knob_has_a_row_in_its_page(knob: Knob) -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{knob.name}` |")]
    assert len(rows) == 1
    cells = [cell.strip() for cell in rows[0].strip("|").split("|")]
    assert cells[1].startswith(knob.applied.value)
    assert cells[5] == ("yes" if knob.changes_numerics else "no")


def test_the_page_names_no_knob_that_is_gone() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert {line.split("`")[1] for line in rows} == set(BY_NAME)


@every_knob
def test_every_knob_can_say_why_and_prove_that_it_acted(knob: Knob) -> None:
    assert knob.summary
    assert knob.reason
    assert knob.witness
    assert knob.path


@every_knob
def test_every_knob_accepts_its_own_values(knob: Knob) -> None:
    assert [value for value in knob.values(SITUATION) if knob.accepts(value)] == []


@every_knob
def test_what_a_config_knob_writes_is_what_it_then_reads(knob: Knob) -> None:
    for value in knob.values(SITUATION):
        made = render(SITUATION.config, {knob.name: value}, SITUATION.context)
        if knob.applied is Applied.CONFIG:
            after = Situation(config=made.ds_config, context=SITUATION.context)
            assert knob.read(after) == value
            assert set(made.ds_config) <= known_keys().top_level
        else:
            assert made.ds_config == SITUATION.config


@every_knob
def test_a_knob_comes_after_those_it_depends_on(knob: Knob) -> None:
    order = list(BY_NAME)
    assert all(order.index(name) < order.index(knob.name) for name in knob.depends_on)


def test_the_default_space_offers_every_knob_but_the_global_batch() -> None:
    assert {wish.knob.name for wish in read_wishes(None)} == set(BY_NAME) - {"global_batch"}


@pytest.mark.parametrize("name", sorted(bundled()))
def test_every_bundled_space_reads_and_is_documented(name: str) -> None:
    assert read_wishes(Path(name))
    assert f"`{name}`" in PAGE.read_text()


def test_a_changed_global_batch_comes_with_the_learning_rate_rule() -> None:
    assert scaling_note(SITUATION, {"global_batch": 64}) is None
    assert "scale the learning rate" in str(scaling_note(SITUATION, {"global_batch": 128}))


@pytest.mark.parametrize("on", [False, True])
def test_activation_checkpointing_starts_from_what_the_script_does(on: bool) -> None:
    context = Context(world_size=2, device="cuda").observed(
        {"activation_checkpointing": on, "device": "cuda"}
    )
    assert BY_NAME["activation_checkpointing"].read(Situation(config={}, context=context)) is on
    same = render({}, {"activation_checkpointing": on}, context)
    other = render({}, {"activation_checkpointing": not on}, context)
    assert (same.probe, other.probe) == ({}, {"activation_checkpointing": not on})
