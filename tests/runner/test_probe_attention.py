"""A transformers model's attention: what it uses, what it could, and that a switch reaches its layers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.runner.probe_fakes import read, watched
from transformers import DeepseekV3ForCausalLM, LlamaConfig, LlamaForCausalLM

from flyball.runner.probe.attention import attention_facts
from flyball.runner.probe.cache import empty_cache
from flyball.runner.probe.knobs import apply_knobs
from flyball.runner.probe.meter import ATTRIBUTE

LAYERS = 3


@pytest.fixture
def model() -> Any:
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "vocab_size": 32}
    config = LlamaConfig(**sizes, num_hidden_layers=LAYERS, use_cache=False, attn_implementation="eager")
    return LlamaForCausalLM(config)


def witnessed(folder: Path, module: Any, wanted: str) -> dict[str, Any]:
    with watched(folder, knobs={"attention": wanted}) as (engine, probe):
        engine.module = module
        apply_knobs(probe, engine, engine.__dict__[ATTRIBUTE])
        for _ in range(4):
            engine._take_model_step()
    record = read(folder).last("witness")
    assert record is not None
    assert record["knob"] == "attention"
    return dict(record["value"])


def fused_calls(model: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    calls = 0
    fused = torch.nn.functional.scaled_dot_product_attention

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        return fused(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(torch.nn.functional, "scaled_dot_product_attention", counted)
        model(input_ids=torch.ones((1, 8), dtype=torch.long))
    return calls


def test_a_switch_reaches_every_layer(tmp_path: Path, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fused_calls(model, monkeypatch) == 0
    assert witnessed(tmp_path, model, "sdpa") == {"implementation": "sdpa", "layers": LAYERS}
    assert fused_calls(model, monkeypatch) == LAYERS


def test_it_can_be_switched_back(tmp_path: Path, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model.set_attn_implementation("sdpa")
    assert witnessed(tmp_path, model, "eager") == {"implementation": "eager", "layers": LAYERS}
    assert fused_calls(model, monkeypatch) == 0


def test_what_is_not_there_is_not_asked_for(tmp_path: Path, model: Any) -> None:
    found = witnessed(tmp_path, model, "flash_attention_2")
    assert found["layers"] == 0
    assert "no switch to flash_attention_2" in found["reason"]
    assert model.config._attn_implementation == "eager"


def test_facts_name_what_can_be_had(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert attention_facts(torch.nn.Linear(2, 2), "cpu") == {"attention": None, "attentions": []}
    assert attention_facts(model, "cpu") == {"attention": "eager", "attentions": ["eager", "sdpa"]}
    assert DeepseekV3ForCausalLM._supports_sdpa
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name == "flash_attn" else None)
    assert "flash_attention_2" not in attention_facts(model, "cuda:0")["attentions"]
    assert "flash_attention_2" in attention_facts(model.to(torch.bfloat16), "cuda:0")["attentions"]
    assert "flash_attention_2" not in attention_facts(model, "cpu")["attentions"]


def test_the_cache_is_emptied_every_so_many_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reserved = 100

    def emptied() -> None:
        nonlocal reserved
        reserved = 60

    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: reserved)
    monkeypatch.setattr(torch.cuda, "empty_cache", emptied)
    with watched(tmp_path) as (engine, probe):
        empty_cache(probe, engine.__dict__[ATTRIBUTE], 2)
        engine._take_model_step()
        assert read(tmp_path).last("witness") is None
        engine._take_model_step()
        reserved = 70
        engine._take_model_step()
        engine._take_model_step()
    told = [record["value"] for record in read(tmp_path).of_kind("witness")]
    assert told == [{"emptied": 1, "freed_bytes": 40}, {"emptied": 2, "freed_bytes": 10}]
