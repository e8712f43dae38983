"""How gradients are averaged, and instruments that slow a run without saying so."""

from collections.abc import Iterator, Mapping
from typing import Any

from flyball.tuners.config import known, read
from flyball.tuners.context import Context
from flyball.tuners.finding import Finding, Rule, error, warning
from flyball.tuners.shape import MAX_STAGE, stage_of


def communication_logger(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """comms_logger is on whenever the key is there (comm/config.py); it synchronizes every operation."""
    section = read(config, "comms_logger")
    if section is None:
        return
    if not (isinstance(section, Mapping) and section.get("enabled") is True):
        yield warning(
            "comms_logger", "is on whenever the key is present, whatever 'enabled' says", "remove the section"
        )
    else:
        yield warning(
            "comms_logger",
            "synchronizes the device after every operation",
            "remove it unless you read its log",
        )


def averaging(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Prescaling and predividing are not for reduce-scatter at stages 2 and 3."""
    scattered = known(config, "zero_optimization.reduce_scatter", True) and stage_of(config) >= 2
    if not scattered:
        return
    if known(config, "prescale_gradients", False):
        yield error("prescale_gradients", "does not work with reduce_scatter at stages 2 and 3", "remove it")
    if known(config, "gradient_predivide_factor", 1.0) != 1.0:
        yield error(
            "gradient_predivide_factor", "does not work with reduce_scatter at stages 2 and 3", "remove it"
        )


def reduction_operation(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """gradient_allreduce_op sum: not at stage 3, not with ZenFlow or DeepCompile."""
    value = known(config, "gradient_allreduce_op", "mean")
    if str(value).lower() not in ("mean", "sum"):
        yield error("gradient_allreduce_op", f"{value!r} is not an operation", "write mean or sum")
    elif str(value).lower() == "sum":
        excluded = known(config, "zero_optimization.zenflow", None) or known(
            config, "compile.deepcompile", False
        )
        if stage_of(config) == MAX_STAGE or excluded:
            yield error(
                "gradient_allreduce_op",
                "sum does not work with stage 3, ZenFlow or DeepCompile",
                "write mean",
            )


def breakdown(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """The wall-clock breakdown synchronizes the device around every phase."""
    for key in ("wall_clock_breakdown", "memory_breakdown"):
        if known(config, key, False):
            yield warning(key, "synchronizes the device in every step", "set it to false")


RULES: tuple[Rule, ...] = (communication_logger, averaging, reduction_operation, breakdown)
