"""Instruments that slow a run without saying so: loggers, timers, profilers, monitors."""

from collections.abc import Iterator, Mapping
from typing import Any

from flyball.tuners.config.reading import read
from flyball.tuners.config.shape import is_on
from flyball.tuners.legality.context import Context
from flyball.tuners.legality.finding import Finding, Rule, found

MONITORS = ("tensorboard", "wandb", "csv_monitor", "comet")
THROUGHPUT = "timers.throughput"
WAITS_EACH_OPERATION = "synchronizes the device after every operation"


def communication_logger(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """comms_logger is on whenever the key is there (comm/config.py); it synchronizes every operation."""
    section = read(config, "comms_logger")
    if section is None:
        return
    if not is_on(config, "comms_logger.enabled"):
        what = "is on whenever the key is present, whatever 'enabled' says"
        yield found("comms-logger-present", "comms_logger", what, "remove the section")
    else:
        what = "times and logs every operation" if _is_on_cpu(context) else WAITS_EACH_OPERATION
        yield found("comms-logger", "comms_logger", what, "remove it unless you read its log")


def breakdown(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """The breakdowns synchronize the device around every phase; the flops profiler switches one on.

    On a CPU there is nothing to wait for (CPU_Accelerator.synchronize is empty); timing and printing remain.
    """
    for key in ("wall_clock_breakdown", "memory_breakdown"):
        if is_on(config, key):
            what = "prints in every step" if _is_on_cpu(context) else "synchronizes the device in every step"
            yield found("wall-clock-breakdown", key, what, "set it to false")
    if is_on(config, "flops_profiler.enabled"):
        what = "profiles a step and switches wall_clock_breakdown on for all of them"
        yield found("flops-profiler", "flops_profiler.enabled", what, "set it to false outside of profiling")


def throughput_timer(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """The throughput timer synchronizes the device every micro step, unless told otherwise; a CPU never."""
    if _is_on_cpu(context) or read(config, f"{THROUGHPUT}.enabled") is False:
        return
    key = f"{THROUGHPUT}.synchronized"
    value = read(config, key)
    what = "the throughput timer synchronizes the device in every micro step"
    if value is None:
        yield found("throughput-timer-default", key, f"{what} by default", f"set {key} to false")
    elif is_on(config, key):
        yield found("throughput-timer", key, what, "set it to false")


def monitors(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """What is logged is read back from the device first."""
    does = "logs the loss" if _is_on_cpu(context) else "reads the loss back from the device to log it"
    for name in MONITORS:
        if is_on(config, f"{name}.enabled"):
            what = f"{does}; trials of autotune switch it off"
            yield found("monitor-on", f"{name}.enabled", what, "nothing, if you want it")


def _is_on_cpu(context: Context) -> bool:
    return context.device == "cpu"


RULES: tuple[Rule, ...] = (communication_logger, breakdown)
NOTES: tuple[Rule, ...] = (throughput_timer, monitors)
"""Of no use to a study: a knob switches the timer, and trials have no monitors."""
