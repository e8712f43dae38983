"""A pick at another global batch: its micro batch as far as that divides, the accumulation what is left."""

from collections.abc import Mapping
from typing import Any


def at_global_batch(
    ds_config: Mapping[str, Any], micro: int, global_batch: int, replicas: int
) -> dict[str, Any]:
    """Return the config at ``global_batch``.

    Args:
        ds_config: a peer's.
        micro: its micro batch for a replica.
        global_batch: samples a step of the optimizer takes, a multiple of ``replicas``.
        replicas: data-parallel ranks.
    """
    share = global_batch // replicas
    fitting = max(size for size in range(1, min(micro, share) + 1) if share % size == 0)
    return {
        **ds_config,
        "train_batch_size": global_batch,
        "train_micro_batch_size_per_gpu": fitting,
        "gradient_accumulation_steps": share // fitting,
    }
