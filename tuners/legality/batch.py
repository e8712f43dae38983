"""The batch equation and what else fixes the batch."""

from collections.abc import Iterator, Mapping
from typing import Any

from flyball.tuners.config.reading import known, read
from flyball.tuners.legality.context import Context, replicas_known, replicas_of, resolve_batch
from flyball.tuners.legality.finding import Finding, Rule, found, shown

BATCH_KEYS = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")


def positive_integers(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Each batch key is a whole number above zero, or "auto"."""
    for key in BATCH_KEYS:
        value = known(config, key, None)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            yield found(
                "batch-number", key, f"{shown(value)} is not a whole number above zero", "write for example 8"
            )


def equation(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """DeepSpeed asserts train_batch_size == micro batch * accumulation * data-parallel replicas."""
    total, micro, steps = (known(config, key, None) for key in BATCH_KEYS)
    numbers = [value for value in (total, micro, steps) if value is not None]
    if not all(isinstance(value, int) and not isinstance(value, bool) and value > 0 for value in numbers):
        return
    if total is None or elastic(config):
        return
    if not context.ranks_known:
        yield from _divisible(numbers[0], micro, steps)
        return
    replicas = replicas_of(config, context)
    if resolve_batch(config, context):
        return
    if not replicas_known(config, context) and _some_split(numbers[0], micro, steps, context.world_size):
        return
    yield _unequal(numbers[0], micro, steps, replicas)


def _unequal(total: int, micro: int | None, steps: int | None, replicas: int) -> Finding:
    unit = (micro or 1) * (steps or 1) * replicas
    if micro and steps:
        what = f"{total} is not {unit} = micro batch {micro} x accumulation {steps} x {replicas} replicas"
        return found("batch-equation", BATCH_KEYS[0], what, f"write {unit}, or remove one of the three keys")
    nearest = max(1, round(total / unit)) * unit
    what = f"{total} does not divide into {replicas} replicas of {unit // replicas}"
    return found("batch-equation", BATCH_KEYS[0], what, f"write a multiple of {unit}, for example {nearest}")


def _divisible(total: int, micro: int | None, steps: int | None) -> Iterator[Finding]:
    """Whatever the ranks, micro batch and accumulation divide the whole."""
    unit = (micro or 1) * (steps or 1)
    if total % unit:
        parts = " x ".join(
            f"{name} {value}" for name, value in (("micro batch", micro), ("accumulation", steps)) if value
        )
        nearest = max(1, round(total / unit)) * unit
        what = f"{total} is no multiple of {unit} = {parts}, whatever the number of ranks"
        yield found(
            "batch-equation", BATCH_KEYS[0], what, f"write a multiple of {unit}, for example {nearest}"
        )


def _some_split(total: int, micro: int | None, steps: int | None, world_size: int) -> bool:
    """Whether the equation holds for some number of replicas that divides the ranks."""
    unit = (micro or 1) * (steps or 1)
    fixed = micro is not None and steps is not None
    return any(
        total == unit * count if fixed else total % (unit * count) == 0
        for count in range(1, world_size + 1)
        if world_size % count == 0
    )


def named(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """One of the two batch sizes has to be there; "auto" leaves it to transformers."""
    given = (read(config, key) for key in BATCH_KEYS[:2])
    if elastic(config) or any(value is not None for value in given):
        return
    what, mend = "the config names no batch size", "write train_batch_size or train_micro_batch_size_per_gpu"
    yield found("batch-missing", BATCH_KEYS[0], what, mend)


def elasticity(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """With elasticity on, the batch is computed, and a batch key raises (unless told to be ignored)."""
    if not elastic(config) or known(config, "elasticity.ignore_non_elastic_batch_info", False):
        return
    for key in BATCH_KEYS:
        if known(config, key, None) is not None:
            what = "elasticity computes the batch and refuses this key"
            yield found("elastic-batch", key, what, "remove it, or the elasticity section")


def zenflow(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """ZenFlow sets the accumulation itself."""
    key = "gradient_accumulation_steps"
    if known(config, "zero_optimization.zenflow", None) and known(config, key, 1) != 1:
        what = "zenflow overwrites the accumulation"
        yield found("zenflow-accumulation", key, what, "set zenflow.update_interval instead")


def elastic(config: Mapping[str, Any]) -> bool:
    """Whether elasticity decides the batch."""
    return bool(known(config, "elasticity.enabled", False))


RULES: tuple[Rule, ...] = (positive_integers, named, equation, elasticity, zenflow)
