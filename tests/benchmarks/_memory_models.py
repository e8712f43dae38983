"""The models whose memory is recorded: a GPT-style one in plain torch, and the reference workload's own."""

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

WORKLOAD = Path(__file__).parents[2] / "runner" / "workload"


class Block(nn.Module):  # type: ignore[misc]
    """Attention and a perceptron of four times the width, each behind a norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, hidden_bsd: torch.Tensor) -> torch.Tensor:
        batch, length, width = hidden_bsd.shape
        query, key, value = (
            part.view(batch, length, self.heads, -1).transpose(1, 2)
            for part in self.attention(self.before(hidden_bsd)).chunk(3, dim=-1)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden_bsd = hidden_bsd + self.mix(mixed.transpose(1, 2).reshape(batch, length, width))
        return hidden_bsd + self.down(functional.gelu(self.up(self.between(hidden_bsd))))


class Gpt(nn.Module):  # type: ignore[misc]
    """A decoder with tied embeddings; answers with its loss."""

    def __init__(self, *, layers: int, width: int, heads: int, vocabulary: int, length: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        self.checkpointing = False

    def gradient_checkpointing_enable(self, _: Mapping[str, Any]) -> None:
        """Recompute every block in the backward pass."""
        self.checkpointing = True

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        hidden = self.tokens(input_ids) + self.places(
            torch.arange(input_ids.shape[1], device=input_ids.device)
        )
        for block in self.blocks:
            hidden = checkpoint(block, hidden, use_reentrant=False) if self.checkpointing else block(hidden)
        logits = self.head(self.norm(hidden))
        return functional.cross_entropy(
            logits[:, :-1].reshape(-1, logits.shape[-1]).float(), labels[:, 1:].reshape(-1)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """One model, at its real size and at one that a dry run on the CPU takes in seconds."""

    build: Callable[..., nn.Module]
    size: Mapping[str, int]
    small: Mapping[str, int]

    def make(self, *, dry: bool) -> "Built":
        """Build it, with the same weights each time."""
        torch.manual_seed(0)
        size = self.small if dry else self.size
        return Built(self.build(**size), size["vocabulary"], size["length"])


class Built(NamedTuple):
    """A model, its vocabulary and its sequence length."""

    model: nn.Module
    vocabulary: int
    length: int


def _reference(*, length: int, **size: int) -> nn.Module:
    """The model of ``runner/workload``; names are its command line's."""
    if str(WORKLOAD) not in sys.path:
        sys.path.append(str(WORKLOAD))
    from model import add_arguments, model_config  # type: ignore[import-not-found,unused-ignore]
    from transformers import DeepseekV3ForCausalLM

    parser = ArgumentParser()
    add_arguments(parser)
    given = {**size, "sequence-length": length}
    arguments = [text for name, value in given.items() for text in (f"--{name}", str(value))]
    return DeepseekV3ForCausalLM(model_config(parser.parse_args(arguments)))  # type: ignore[no-any-return]


MODELS: Mapping[str, Model] = {
    "gpt": Model(
        build=Gpt,
        size={"layers": 12, "width": 768, "heads": 12, "vocabulary": 50304, "length": 1024},
        small={"layers": 4, "width": 64, "heads": 4, "vocabulary": 512, "length": 64},
    ),
    "deepseek-small": Model(
        build=_reference,
        size={
            "layers": 8,
            "hidden-size": 512,
            "heads": 8,
            "experts": 8,
            "vocabulary": 8192,
            "length": 512,
        },
        small={"layers": 2, "hidden-size": 64, "heads": 4, "experts": 4, "vocabulary": 256, "length": 64},
    ),
    "deepseek-large": Model(
        build=_reference,
        size={
            "layers": 16,
            "hidden-size": 1024,
            "heads": 16,
            "experts": 16,
            "vocabulary": 32000,
            "length": 1024,
        },
        small={"layers": 4, "hidden-size": 96, "heads": 4, "experts": 4, "vocabulary": 512, "length": 64},
    ),
}
