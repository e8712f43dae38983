"""How gradients are averaged."""

from collections.abc import Iterator, Mapping
from typing import Any

from flyball.tuners.config.reading import known, read
from flyball.tuners.config.shape import MAX_STAGE, is_on, stage_of
from flyball.tuners.legality.context import Context, is_before
from flyball.tuners.legality.finding import Finding, Rule, found, shown


def averaging(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Prescaling and predividing are not for reduce-scatter at stages 2 and 3."""
    scattered = known(config, "zero_optimization.reduce_scatter", True) and stage_of(config) >= 2
    if not scattered:
        return
    what = "does not work with reduce_scatter at stages 2 and 3"
    if is_on(config, "prescale_gradients"):
        yield found("scatter-prescale", "prescale_gradients", what, "remove it")
    if known(config, "gradient_predivide_factor", 1.0) != 1.0:
        yield found("scatter-predivide", "gradient_predivide_factor", what, "remove it")


def reduction_operation(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """gradient_allreduce_op, since 0.19.6: sum is not for stage 3, ZenFlow or DeepCompile."""
    if is_before(context, (0, 19, 6)):
        return
    key = "gradient_allreduce_op"
    value = read(config, key, "mean")
    if str(value).lower() not in ("mean", "sum"):
        yield found("reduction-operation", key, f"{shown(value)} is not an operation", "write mean or sum")
    elif str(value).lower() == "sum":
        excluded = known(config, "zero_optimization.zenflow", None) or is_on(config, "compile.deepcompile")
        if stage_of(config) == MAX_STAGE or excluded:
            what = "sum does not work with stage 3, ZenFlow or DeepCompile"
            yield found("reduction-sum", key, what, "write mean")


RULES: tuple[Rule, ...] = (averaging, reduction_operation)
