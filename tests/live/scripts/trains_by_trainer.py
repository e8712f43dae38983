"""Trains a tiny Llama by transformers' Trainer, which evaluates and saves slowly every third step."""

import sys
import time

import torch
from torch.utils.data import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

SLOW_SECONDS = 1.0


class Samples(Dataset[dict[str, torch.Tensor]]):
    """Random tokens, each after a wait."""

    def __init__(self, count: int, seconds: float = 0.0) -> None:
        self.count, self.seconds = count, seconds

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        time.sleep(self.seconds)
        tokens = torch.randint(0, 16, (8,), generator=torch.Generator().manual_seed(index))
        return {"input_ids": tokens, "labels": tokens}


class SlowlySaved(LlamaForCausalLM):
    """A model that takes its time to be saved."""

    def save_pretrained(self, *args: object, **kwargs: object) -> None:
        time.sleep(SLOW_SECONDS)
        super().save_pretrained(*args, **kwargs)


def main() -> None:
    """``trains_by_trainer.py --deepspeed_config FILE OUTPUT CHECKPOINT``."""
    config = LlamaConfig(
        vocab_size=16,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        use_cache=False,
    )
    arguments = TrainingArguments(
        output_dir=sys.argv[3],
        deepspeed=sys.argv[2],
        max_steps=6,
        per_device_train_batch_size=2,
        eval_strategy="steps",
        eval_steps=3,
        save_strategy="steps",
        save_steps=3,
        save_only_model=True,
        report_to="none",
        push_to_hub=True,
        use_cpu=True,
        disable_tqdm=True,
    )
    Trainer(
        model=SlowlySaved(config),
        args=arguments,
        train_dataset=Samples(64),
        eval_dataset=Samples(4, SLOW_SECONDS / 4),
    ).train(resume_from_checkpoint=sys.argv[4])


if __name__ == "__main__":
    main()
