"""A small Llama trained on the Python standard library by transformers' Trainer.

deepspeed --num_gpus 2 trainer.py --deepspeed ds_config_trainer.json --output_dir out --use_cpu
    --per_device_train_batch_size 2 --gradient_accumulation_steps 4 --max_steps 100
"""

from dataclasses import dataclass

import torch
from corpus import Corpus, standard_library
from torch.utils.data import Dataset
from transformers import HfArgumentParser, LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments


@dataclass
class ModelArguments:
    """The model's size; weights are random."""

    hidden_size: int = 64
    layers: int = 2
    sequence_length: int = 64


class Samples(Dataset[dict[str, torch.Tensor]]):
    """The text as fixed-length samples of tokens."""

    def __init__(self, sequence_length: int) -> None:
        self._corpus = Corpus(standard_library(), sequence_length=sequence_length)

    def __len__(self) -> int:
        return len(self._corpus)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Return one sample, of shape (sequence length,)."""
        tokens = torch.tensor(list(self._corpus[index]))
        return {"input_ids": tokens, "labels": tokens}


def main() -> None:
    """Train by the command line."""
    model_arguments, training_arguments = HfArgumentParser(
        (ModelArguments, TrainingArguments)
    ).parse_args_into_dataclasses()
    config = LlamaConfig(
        vocab_size=256,
        hidden_size=model_arguments.hidden_size,
        intermediate_size=model_arguments.hidden_size * 4,
        num_hidden_layers=model_arguments.layers,
        num_attention_heads=4,
        max_position_embeddings=model_arguments.sequence_length,
        use_cache=False,
    )
    torch.manual_seed(training_arguments.seed)
    samples = Samples(model_arguments.sequence_length)
    Trainer(model=LlamaForCausalLM(config), args=training_arguments, train_dataset=samples).train()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
