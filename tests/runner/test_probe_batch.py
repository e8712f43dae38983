from collections import UserDict
from typing import Any

import pytest
import torch

from flyball.runner.probe.batch import count_batch

IDS = torch.zeros((4, 16), dtype=torch.long)
IMAGE = torch.zeros((8, 3, 32, 32))
CASES = [
    ("token ids by keyword", (), {"attention_mask": torch.zeros(9, 9), "input_ids": IDS}, (4, 64)),
    ("token ids by place", (IDS, IDS), {}, (4, 64)),
    ("a dict", ({"labels": torch.zeros(7), "input_ids": IDS},), {}, (4, 64)),
    (
        "transformers' BatchEncoding is a UserDict",
        (UserDict(mask=torch.zeros(9, 2), input_ids=IDS),),
        {},
        (4, 64),
    ),
    ("embeddings", (), {"inputs_embeds": torch.zeros((2, 16, 8))}, (2, 32)),
    ("a nested tuple", (((IDS, IDS), None),), {}, (4, 64)),
    ("images have no tokens", (IMAGE,), {}, (8, 0)),
    ("features have no tokens", (torch.zeros((5, 10)),), {}, (5, 0)),
    ("a scalar is no batch", (torch.zeros(()), IMAGE), {}, (8, 0)),
    ("no tensor at all", ("text", 3), {"flag": True}, (0, 0)),
]


@pytest.mark.parametrize(
    ("args", "kwargs", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_samples_and_tokens(args: tuple[Any, ...], kwargs: dict[str, Any], expected: tuple[int, int]) -> None:
    assert count_batch(args, kwargs) == expected
