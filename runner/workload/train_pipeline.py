"""The same model and data as ``train.py``, cut into pipeline stages.

    deepspeed --num_gpus 2 train_pipeline.py --deepspeed --deepspeed_config ds_config_pipeline.json

The config's accumulation steps are the micro-batches (chunks) that fill the pipeline.
"""

import argparse
import time
from collections.abc import Iterator

import deepspeed
import torch
from corpus import Corpus, sample_indices, standard_library
from deepspeed.pipe import PipelineModule
from model import add_arguments, model_config, token_batch
from torch import nn
from transformers import DeepseekV3ForCausalLM


class DecoderLayer(nn.Module):
    """One layer of the model with the positions and the causal mask that it needs."""

    def __init__(self, layer: nn.Module, rotary: nn.Module) -> None:
        super().__init__()
        self.layer, self.rotary = layer, rotary

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map (micro batch, sequence, hidden) to the same shape."""
        positions = torch.arange(hidden.shape[1], device=hidden.device).unsqueeze(0)
        lowest = torch.finfo(hidden.dtype).min
        mask = torch.full(
            (1, 1, hidden.shape[1], hidden.shape[1]), lowest, dtype=hidden.dtype, device=hidden.device
        )
        return self.layer(
            hidden,
            position_embeddings=self.rotary(hidden, positions),
            attention_mask=mask.triu(1),
            position_ids=positions,
        )


def next_token_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross entropy of each token given those before it.

    Logits are (micro batch, sequence, vocabulary), labels (micro batch, sequence).
    """
    return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())


def pipeline_layers(model: DeepseekV3ForCausalLM) -> list[nn.Module]:
    """The model as a sequence: embedding, layers, norm, head."""
    body = model.model
    layers = [DecoderLayer(layer, body.rotary_emb) for layer in body.layers]
    return [body.embed_tokens, *layers, body.norm, model.lm_head]


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train a small DeepSeek-V3 in pipeline stages.")
    add_arguments(parser)
    parser.add_argument("--stages", type=int, default=2)
    deepspeed.add_config_arguments(parser)
    return parser.parse_args()


def micro_batches(
    engine: deepspeed.PipelineEngine, corpus: Corpus
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The micro batches of the engine's next step: tokens in, the same tokens as labels."""
    for micro_step in range(engine.gradient_accumulation_steps()):
        indices = sample_indices(
            step=engine.global_steps,
            micro_step=micro_step,
            rank=engine.grid.get_data_parallel_rank(),
            ranks=engine.dp_world_size,
            micro_batch=engine.train_micro_batch_size_per_gpu(),
            global_batch=engine.train_batch_size(),
        )
        tokens = token_batch(corpus, indices)
        yield tokens, tokens


def main() -> None:
    """Train, with one printed line a step."""
    args = parse_arguments()
    deepspeed.init_distributed()
    torch.manual_seed(args.seed)
    layers = pipeline_layers(DeepseekV3ForCausalLM(model_config(args)))
    module = PipelineModule(layers=layers, num_stages=args.stages, loss_fn=next_token_loss)
    engine, *_ = deepspeed.initialize(args=args, model=module, model_parameters=module.parameters())
    corpus = Corpus(standard_library(), sequence_length=args.sequence_length, seed=args.seed)
    while engine.global_steps < args.steps:
        started = time.perf_counter()
        loss = float(engine.train_batch(micro_batches(engine, corpus)))
        rate = engine.train_batch_size() / (time.perf_counter() - started)
        if deepspeed.comm.get_rank() == 0:
            print(f"step {engine.global_steps} loss {loss:.6f} samples/s {rate:.1f}", flush=True)
    deepspeed.comm.destroy_process_group()


if __name__ == "__main__":
    main()
