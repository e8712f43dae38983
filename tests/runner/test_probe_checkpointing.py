from pathlib import Path
from typing import Any

import pytest
import torch
from tests.runner.probe_fakes import FakeEngine, read, watched
from transformers import LlamaConfig, LlamaForCausalLM

from flyball.runner.probe.checkpointing import activation_checkpointing
from flyball.runner.probe.knobs import apply_knobs
from flyball.runner.probe.meter import ATTRIBUTE

LAYERS = 3


@pytest.fixture
def model() -> Any:
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "vocab_size": 32}
    return LlamaForCausalLM(LlamaConfig(**sizes, num_hidden_layers=LAYERS, use_cache=False))


def witnessed(folder: Path, model: Any, wanted: bool) -> dict[str, Any]:
    """Switch it under a hooked engine; return the witness after some steps."""
    with watched(folder, knobs={"activation_checkpointing": wanted}) as (engine, probe):
        engine.module = model
        apply_knobs(probe, engine, engine.__dict__[ATTRIBUTE])
        for _ in range(4):
            take_step(engine, model)
    record = read(folder).last("witness")
    assert record is not None
    assert record["knob"] == "activation_checkpointing"
    value: dict[str, Any] = record["value"]
    return value


def take_step(engine: FakeEngine, model: Any) -> None:
    tokens = torch.ones((1, 8), dtype=torch.long)
    model(input_ids=tokens, labels=tokens).loss.backward()
    engine._take_model_step()


def saved_tensors(model: Any) -> int:
    """Tensors that a forward keeps for the backward pass."""
    kept = 0

    def count(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += 1
        return tensor

    tokens = torch.ones((1, 8), dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        model(input_ids=tokens, labels=tokens)
    return kept


def test_it_is_switched_on_for_a_model_that_offers_it(tmp_path: Path, model: Any) -> None:
    model.train()
    before = saved_tensors(model)
    assert activation_checkpointing(model) is False
    assert witnessed(tmp_path, model, wanted=True)["layers"] >= LAYERS
    assert activation_checkpointing(model) is True
    assert saved_tensors(model) < before / 2


def test_it_is_switched_off_where_the_script_has_it_on(tmp_path: Path, model: Any) -> None:
    model.activation_checkpointing_enable()
    assert witnessed(tmp_path, model, wanted=False) == {"layers": 0}
    assert activation_checkpointing(model) is False


def test_a_model_without_the_switch_is_left_alone_and_says_so(tmp_path: Path) -> None:
    with watched(tmp_path, knobs={"activation_checkpointing": True}) as (engine, probe):
        engine.module = torch.nn.Linear(2, 2)  # type: ignore[assignment]
        apply_knobs(probe, engine, engine.__dict__[ATTRIBUTE])
    record = read(tmp_path).last("witness")
    assert record is not None
    assert record["value"]["layers"] == 0
    assert "no switch" in record["value"]["reason"]
