"""Last words: which exception left the script, did memory give out, did DeepSpeed refuse the config."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from flyball.runner.probe.watch import SLOT, Probe

MESSAGE_LIMIT = 2000
OUT_OF_MEMORY_WORDS = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
REFUSALS = {
    "AssertionError",
    "DeepSpeedConfigError",
    "KeyError",
    "NotImplementedError",
    "TypeError",
    "ValidationError",
    "ValueError",
}
"""What DeepSpeed raises, from its own code inside ``initialize``, about a config that it will not run."""

LAUNCH_WORDS = ("local rank", "local_rank", "LOCAL_RANK")
"""In an assertion of DeepSpeed's about how the process was started, which no config can mend."""


def watch_exceptions() -> None:
    """Chain ``sys.excepthook``, once."""
    if getattr(sys.excepthook, "_flyball", False):
        return
    previous = sys.excepthook

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        probe = SLOT.probe
        if probe is not None:
            probe.safely(report, probe, error)
        previous(kind, error, trace)

    excepthook._flyball = True  # type: ignore[attr-defined]
    sys.excepthook = excepthook


def report(probe: Probe, error: BaseException | None) -> None:
    """Write ``out_of_memory`` where it fits, and ``exception``; once for each exception."""
    if error is None or error is probe.exception or isinstance(error, SystemExit):
        return
    probe.exception = error
    for meter in probe.meters:
        meter.flush()
    if is_out_of_memory(error):
        device = probe.meters[-1].device if probe.meters else None
        probe.say("out_of_memory", message=str(error)[:MESSAGE_LIMIT], device=device)
    probe.say(
        "exception",
        type=type(error).__name__,
        message=str(error)[:MESSAGE_LIMIT],
        where=place(error),
        in_deepspeed_config=is_config_refusal(error),
    )


def causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and what led to it."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on the device or on the host."""
    for found in causes(error):
        if isinstance(found, MemoryError) or type(found).__name__ == "OutOfMemoryError":
            return True
        if isinstance(found, RuntimeError) and any(words in str(found) for words in OUT_OF_MEMORY_WORDS):
            return True
    return False


def frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Where an exception came from, outermost first."""
    return list(traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), lookup_lines=False))


def place(error: BaseException) -> str | None:
    """``file:line`` of the innermost frame."""
    found = frames(error)
    return f"{found[-1].filename}:{found[-1].lineno}" if found else None


def is_config_refusal(error: BaseException) -> bool:
    """Whether DeepSpeed, or transformers on its behalf, refused the config."""
    found = frames(error)
    files = [frame.filename.replace("\\", "/") for frame in found]
    if not files or is_out_of_memory(error) or any(words in str(error) for words in LAUNCH_WORDS):
        return False
    if any("/deepspeed/runtime/" in file and file.rpartition("/")[2].startswith("config") for file in files):
        return True
    refused = type(error).__name__ in REFUSALS
    if refused and files[-1].endswith(
        ("/transformers/integrations/deepspeed.py", "/accelerate/utils/deepspeed.py")
    ):
        return True
    in_initialize = any(
        frame.name == "initialize" and file.endswith("/deepspeed/__init__.py")
        for frame, file in _pairs(found, files)
    )
    return (
        refused
        and in_initialize
        and ("/deepspeed/" in files[-1] or type(error).__name__ == "ValidationError")
    )


def _pairs(found: list[Any], files: list[str]) -> list[tuple[Any, str]]:
    return [(frame, files[index]) for index, frame in enumerate(found)]
