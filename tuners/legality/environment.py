"""Variables of the environment that change what a config does."""

from collections.abc import Iterator, Mapping
from typing import Any

from flyball.tuners.legality.allocator_variables import (
    NEWER_VARIABLE,
    OFF,
    REGISTERING,
    VARIABLE,
    allocator_settings,
)
from flyball.tuners.legality.context import Context
from flyball.tuners.legality.finding import Finding, Rule, found
from flyball.tuners.legality.nccl_variables import PROTOCOL, enables_ll128

TIMING = "TORCH_NCCL_ENABLE_TIMING"
LOOKED_AT = (TIMING, VARIABLE, NEWER_VARIABLE, REGISTERING, PROTOCOL)
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


def nccl_protocol(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """LL128 by hand: https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html#nccl-proto."""
    if enables_ll128(context.environment.get(PROTOCOL, "")):
        what = "switches LL128 on, which corrupts data on platforms that do not support it"
        yield found("nccl-protocol", f"${PROTOCOL}", what, "unset it: NCCL knows where LL128 works")


def allocator(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Settings that exclude one another."""
    names = (VARIABLE, NEWER_VARIABLE)
    given = {name: context.environment[name] for name in names if context.environment.get(name)}
    if len(set(given.values())) > 1:
        what = f"differs from {NEWER_VARIABLE}, and it depends on torch which one it reads"
        yield found("allocator-conflict", f"${VARIABLE}", what, "keep one of them")
    for name, text in given.items():
        yield from _conflicts(name, allocator_settings(text), context)


def _conflicts(name: str, settings: Mapping[str, str], context: Context) -> Iterator[Finding]:
    if settings.get("backend", "").lower() == "cudamallocasync":
        for setting in (each for each in NATIVE_ONLY if each in settings):
            what = f"cudaMallocAsync passes over {setting}"
            yield found("allocator-conflict", f"${name}", what, "remove it, or the backend")
    elif settings.get("expandable_segments", "").lower() == "true":
        if "max_split_size_mb" in settings:
            what = "max_split_size_mb does next to nothing with expandable_segments"
            yield found("allocator-conflict", f"${name}", what, "remove max_split_size_mb")
        if context.environment.get(REGISTERING, "").lower() not in OFF:
            what = f"torch switches {REGISTERING} off under expandable_segments"
            yield found("allocator-conflict", f"${name}", what, "unset one of the two")


RULES: tuple[Rule, ...] = (nccl_timing, nccl_protocol, allocator)
