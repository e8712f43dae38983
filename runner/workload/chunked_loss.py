"""The model's loss in chunks of the sequence, so that the logits of the whole of it never exist at once.

Logits are (micro batch, sequence, vocabulary) in fp32: with a large vocabulary they outweigh the model. Each
chunk makes its own and forgets them; the backward pass makes them once more, which costs one product with the
head.
"""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM
from transformers.modeling_outputs import CausalLMOutput

UNSEEN = -100
"""The label of a token that has no next one; cross entropy passes over it."""


class ChunkedLossModel(DeepseekV3ForCausalLM):
    """DeepSeek-V3 that answers with a loss and no logits."""

    def __init__(self, config: DeepseekV3Config, *, chunks: int) -> None:
        super().__init__(config)
        self.chunks = chunks

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> CausalLMOutput:
        """Return the mean cross entropy of each token given those before it.

        ``input_ids`` and ``labels`` are (micro batch, sequence).
        """
        hidden = self.model(input_ids=input_ids).last_hidden_state
        following = nn.functional.pad(labels[:, 1:], (0, 1), value=UNSEEN)
        total = hidden.new_zeros((), dtype=torch.float32)
        pieces = zip(hidden.chunk(self.chunks, dim=1), following.chunk(self.chunks, dim=1), strict=True)
        for part, wanted in pieces:
            total = total + checkpoint(self.summed_loss, part, wanted, use_reentrant=False)
        return CausalLMOutput(loss=total / (following != UNSEEN).sum())

    def summed_loss(self, hidden: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Return the sum over one chunk; its logits are gone when it returns."""
        logits = self.lm_head(hidden).float()
        return nn.functional.cross_entropy(
            logits.flatten(0, 1), wanted.flatten(), ignore_index=UNSEEN, reduction="sum"
        )
