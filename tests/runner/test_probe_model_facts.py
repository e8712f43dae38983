import torch
from torch import nn

from flyball.runner.probe.model_facts import model_facts


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(50, 8)
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.head = nn.Linear(8, 50, bias=False)
        self.head.weight = self.tokens.weight


class Odd(nn.Linear):
    @property
    def num_embeddings(self) -> int:
        raise RuntimeError("asked too early")


def test_a_model_is_counted_once_for_each_parameter() -> None:
    assert model_facts(Small()) == {
        "parameters": 400 + 3 * 72,
        "trainable_parameters": 400 + 3 * 72,
        "parameters_by_type": {"float32": 616},
        "largest_parameter": 400,
        "largest_module": 400,
        "layers": 3,
        "embedding": [50, 8],
    }


def test_frozen_parameters_and_other_types_are_told_apart() -> None:
    model = Small()
    model.blocks.to(torch.bfloat16)
    model.tokens.weight.requires_grad = False
    found = model_facts(model)
    assert found["trainable_parameters"] == 216
    assert found["parameters_by_type"] == {"float32": 400, "bfloat16": 216}


def test_a_partitioned_parameter_counts_whole() -> None:
    model = nn.Linear(4, 4, bias=False)
    model.weight.data = torch.empty(0)
    model.weight.ds_numel = 16  # type: ignore[assignment]
    assert model_facts(model)["parameters"] == 16


def test_a_model_that_does_not_answer_is_counted_all_the_same() -> None:
    assert model_facts(Odd(4, 4)) == {
        "parameters": 20,
        "trainable_parameters": 20,
        "parameters_by_type": {"float32": 20},
        "largest_parameter": 16,
        "largest_module": 20,
    }


def test_a_model_without_parameters_has_none() -> None:
    assert model_facts(nn.Identity())["parameters"] == 0
