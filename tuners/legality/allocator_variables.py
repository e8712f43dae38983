"""The variables in which torch reads the CUDA caching allocator's settings, and what their texts say.

torch reads them from ``PYTORCH_CUDA_ALLOC_CONF``, and from 2.9 on from ``PYTORCH_ALLOC_CONF`` too. Of the two
it reads one. In 2.13 that is the older name, as
https://github.com/pytorch/pytorch/blob/main/c10/cuda/CUDAAllocatorConfig.h has it; releases differ.
"""

import re

VARIABLE = "PYTORCH_CUDA_ALLOC_CONF"
NEWER_VARIABLE = "PYTORCH_ALLOC_CONF"
REGISTERING = "TORCH_NCCL_USE_TENSOR_REGISTER_ALLOCATOR_HOOK"
OFF = ("", "0", "n", "no", "f", "false")
"""Texts that switch a variable of torch's off."""
_BETWEEN = re.compile(r",(?![^\[]*\])")
"""A comma that is not inside a list, as in ``roundup_power2_divisions:[256:1,512:2]``."""


def allocator_settings(text: str) -> dict[str, str]:
    """Return the settings in a variable's text, key to value as written, without spaces."""
    parts = (part.partition(":") for part in _BETWEEN.split(text.replace(" ", "")) if part)
    return {key: value for key, _, value in parts}
