"""Variables of the environment that change what a config does."""

from collections.abc import Iterator, Mapping
from typing import Any

from flyball.tuners.context import Context
from flyball.tuners.finding import Finding, Rule, found

TIMING = "TORCH_NCCL_ENABLE_TIMING"
ALLOCATOR = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
"""The older and the newer name: https://pytorch.org/docs/stable/notes/cuda.html#memory-management"""
LOOKED_AT = (TIMING, *ALLOCATOR)
NATIVE_ONLY = (
    "max_split_size_mb",
    "garbage_collection_threshold",
    "expandable_segments",
    "roundup_power2_divisions",
)
"""Settings of torch's own allocator, which cudaMallocAsync passes over."""


def nccl_timing(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Events around every collective: https://github.com/pytorch/pytorch/issues/143890."""
    if context.environment.get(TIMING, "").lower() in ("1", "y", "yes", "t", "true", "on"):
        what = "times every collective, which can keep communication from overlapping"
        yield found("nccl-timing", f"${TIMING}", what, "unset it outside of measurements")


def allocator(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Settings that exclude one another."""
    given = {name: context.environment[name] for name in ALLOCATOR if context.environment.get(name)}
    if len(set(given.values())) > 1:
        what = f"differs from {ALLOCATOR[1]}, and one of the two is passed over"
        yield found("allocator-conflict", f"${ALLOCATOR[0]}", what, "keep one of them")
    for name, text in given.items():
        settings = _settings(text)
        if settings.get("backend", "").lower() == "cudamallocasync":
            for setting in (each for each in NATIVE_ONLY if each in settings):
                what = f"cudaMallocAsync passes over {setting}"
                yield found("allocator-conflict", f"${name}", what, "remove it, or the backend")
        elif settings.get("expandable_segments", "").lower() == "true" and "max_split_size_mb" in settings:
            what = "max_split_size_mb does next to nothing with expandable_segments"
            yield found("allocator-conflict", f"${name}", what, "remove max_split_size_mb")


def _settings(text: str) -> dict[str, str]:
    """``a:1,b:[x:1,y:2]`` as a mapping; what stands in brackets is of no interest here."""
    pairs = (part.partition(":") for part in text.replace(" ", "").split(","))
    return {name: value for name, _, value in pairs}


RULES: tuple[Rule, ...] = (nccl_timing, allocator)
