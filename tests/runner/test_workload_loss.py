"""The loss in chunks is the loss, and holds no logits of the whole sequence."""

import argparse
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import DeepseekV3ForCausalLM

import flyball.runner
from flyball.tuners.legality.context import Context
from flyball.tuners.space.render import render
from flyball.tuners.space.space_file import read_wishes

WORKLOAD = Path(flyball.runner.__file__).parent / "workload"
VOCABULARY, SEQUENCE, MICRO_BATCH = 4096, 32, 2


@pytest.fixture(scope="module")
def workload() -> Any:
    sys.path.insert(0, str(WORKLOAD))
    try:
        import chunked_loss
        import model
    finally:
        sys.path.remove(str(WORKLOAD))
    return argparse.Namespace(chunked_loss=chunked_loss, model=model)


def trained(workload: Any, chunks: int) -> tuple[torch.Tensor, dict[str, torch.Tensor], int]:
    """One pass with the same weights and text: loss, gradients, and the most elements kept of one tensor."""
    parser = argparse.ArgumentParser()
    workload.model.add_arguments(parser)
    options = [f"--vocabulary={VOCABULARY}", f"--sequence-length={SEQUENCE}"]
    config = workload.model.model_config(parser.parse_args(options))
    torch.manual_seed(0)
    made = (
        workload.chunked_loss.ChunkedLossModel(config, chunks=chunks)
        if chunks > 1
        else DeepseekV3ForCausalLM(config)
    )
    tokens = torch.randint(0, VOCABULARY, (MICRO_BATCH, SEQUENCE), generator=torch.Generator().manual_seed(1))
    kept = 0

    def note(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        if tensor.shape[-1:] == (VOCABULARY,) and not isinstance(tensor, torch.nn.Parameter):
            kept = max(kept, tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = made(input_ids=tokens, labels=tokens).loss
    loss.backward()
    gradients = {name: each.grad for name, each in made.named_parameters() if each.grad is not None}
    return loss.detach(), gradients, kept


@pytest.mark.parametrize("chunks", [2, 5, 32])
def test_loss_and_gradients_are_those_of_the_whole_to_within_rounding(workload: Any, chunks: int) -> None:
    whole, gradients, _ = trained(workload, 1)
    loss, other, _ = trained(workload, chunks)
    torch.testing.assert_close(loss, whole, rtol=1e-6, atol=0)
    assert other.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(other[name], gradient, rtol=1e-3, atol=1e-6, msg=name)


def test_no_logits_are_kept_for_the_backward_pass(workload: Any) -> None:
    assert trained(workload, 1)[2] >= MICRO_BATCH * (SEQUENCE - 1) * VOCABULARY
    assert trained(workload, 4)[2] == 0


def test_its_space_file_declares_the_option() -> None:
    wishes = {wish.knob.name: wish for wish in read_wishes(WORKLOAD / "space.yaml")}
    assert wishes["loss_chunks"].values == (1, 2, 4, 8, 16)
    configuration = render({}, {"loss_chunks": 8}, Context(world_size=2), [wishes["loss_chunks"].knob])
    assert configuration.arguments == {"--loss-chunks": "8"}
    assert 'add_argument(\n        "--loss-chunks"' in (WORKLOAD / "train.py").read_text()
