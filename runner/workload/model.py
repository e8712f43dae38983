"""A language model of the DeepSeek-V3 architecture at a small, settable size, with random weights."""

import argparse

import torch
from corpus import Corpus
from transformers import DeepseekV3Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what both scripts take: the model's size, its text and the length of the run."""
    parser.add_argument("--hidden-size", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--experts", type=int, default=4, help="routed experts of each layer but the first")
    parser.add_argument("--vocabulary", type=int, default=256, help="at least 256: the model reads bytes")
    parser.add_argument("--sequence-length", type=int, default=64)
    parser.add_argument("--attention", choices=("eager", "sdpa"), default="sdpa")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--steps", type=int, default=1000, help="optimizer steps, those of a resumed run included"
    )
    parser.add_argument("--local_rank", type=int, default=-1, help="set by the launcher")


def model_config(args: argparse.Namespace) -> DeepseekV3Config:
    """DeepSeek-V3 with every width in its own proportion to the hidden size."""
    head_dim = args.hidden_size // args.heads
    return DeepseekV3Config(
        vocab_size=args.vocabulary,
        hidden_size=args.hidden_size,
        intermediate_size=args.hidden_size * 5 // 2,
        moe_intermediate_size=args.hidden_size // 2,
        num_hidden_layers=args.layers,
        num_attention_heads=args.heads,
        num_key_value_heads=args.heads,
        n_routed_experts=args.experts,
        n_shared_experts=1,
        num_experts_per_tok=min(2, args.experts),
        n_group=1,
        topk_group=1,
        first_k_dense_replace=1,
        kv_lora_rank=args.hidden_size // 2,
        q_lora_rank=args.hidden_size,
        qk_rope_head_dim=head_dim // 2,
        qk_nope_head_dim=head_dim,
        v_head_dim=head_dim,
        max_position_embeddings=args.sequence_length,
        num_mtp_layers=0,
        use_cache=False,
        bos_token_id=None,
        eos_token_id=None,
        attn_implementation=args.attention,
    )


def token_batch(corpus: Corpus, indices: range) -> torch.Tensor:
    """The samples as tokens, of shape (len(indices), sequence length)."""
    data = bytearray().join(corpus[index] for index in indices)
    return torch.frombuffer(data, dtype=torch.uint8).view(len(indices), -1).long()
