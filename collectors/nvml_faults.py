"""NVML's errors as reasons (https://docs.nvidia.com/deploy/nvml-api/, nvmlReturn_t)."""

from collections.abc import Callable
from typing import Any, TypeVar

from flyball.collectors.base import Unavailable

REASONS = {
    1: "driver_restarted",
    3: "not_supported",
    4: "no_permission",
    6: "not_found",
    9: "driver_not_loaded",
    10: "timeout",
    12: "library_not_found",
    13: "nvml_too_old",
    15: "gpu_lost",
    16: "reset_required",
    18: "driver_mismatch",
    24: "insufficient_resources",
    999: "unknown_error",
}
"""By nvmlReturn_t; what is not here is ``nvml_error``."""

LOST = {"driver_restarted", "driver_not_loaded", "gpu_lost", "reset_required", "driver_mismatch"}
"""After one of these, handles are worth nothing: the library is initialized anew."""

GPU_FAULTS = {"gpu_lost", "reset_required"}
"""Of these it is one GPU that is lost, not the driver."""

NO_EVENT = Unavailable(reason="timeout", detail="no event has come")
"""What waiting for an event mostly gives."""

_Value = TypeVar("_Value")


def reason_of(code: int) -> str:
    """The reason that a return code stands for."""
    return REASONS.get(code, "nvml_error")


def ask(nvml: Any, call: Callable[[], _Value], *, usual: Unavailable | None = None) -> _Value | Unavailable:
    """Make one call of NVML; an error becomes a reason.

    Args:
        nvml: the ``pynvml`` module, or what stands in for it.
        call: makes the call. A function that an older module lacks is ``nvml_too_old``.
        usual: the answer to an error of its reason, which is so frequent that nobody asks for NVML's words.
    """
    try:
        return call()
    except nvml.NVMLError as error:
        reason = reason_of(int(getattr(error, "value", 999)))
        if usual is not None and usual.reason == reason:
            return usual
        return Unavailable(reason=reason, detail=str(error))
    except AttributeError as error:
        return Unavailable(reason="nvml_too_old", detail=str(error))
