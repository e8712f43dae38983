"""Learning-rate schedules: DeepSpeed's own by their parameters, torch's by their names."""

from collections.abc import Iterator, Mapping
from typing import Any

from flyball.tuners.config.deepspeed_facts import Scheduler, facts_of
from flyball.tuners.config.reading import known, nearest, read
from flyball.tuners.legality.context import Context, is_before
from flyball.tuners.legality.finding import Finding, Rule, found, shown

TYPE, PARAMS = "scheduler.type", "scheduler.params"
TORCH_OWN = frozenset(
    {"ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR"}
    | {"ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR"}
    | {"OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR"}
)
"""https://pytorch.org/docs/stable/optim.html"""
WARMUP_CHECKED_SINCE = (0, 19)


def scheduler(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """A name that exists; of DeepSpeed's own, parameters that its constructor has."""
    name = known(config, TYPE, None)
    own = facts_of(context.deepspeed_version).schedulers
    if not isinstance(name, str) or name in TORCH_OWN:
        return
    if name in own:
        yield from _parameters(config, name, own[name])
        yield from _warmup(config, context)
        return
    close = nearest(name, {each.lower(): each for each in (*own, *TORCH_OWN)})
    spelt = next((each for each in (*own, *TORCH_OWN) if each.lower() == close), None)
    mend = f"did you mean {spelt!r}?" if spelt else f"write one of {', '.join(sorted(own))}"
    yield found("scheduler-unknown", TYPE, f"neither DeepSpeed nor torch has {name!r}", mend)


def _parameters(config: Mapping[str, Any], name: str, made: Scheduler) -> Iterator[Finding]:
    params = read(config, PARAMS)
    given = params if isinstance(params, Mapping) else {}
    for key in given:
        if key not in made.parameters:
            close = nearest(key, made.parameters)
            mend = f"did you mean {close!r}?" if close else "remove it"
            yield found("scheduler-parameter", f"{PARAMS}.{key}", f"{name} has no such parameter", mend)
    for key in sorted(made.required - set(given)):
        what = f"{name} needs {key}"
        yield found("scheduler-missing", PARAMS if given else TYPE, what, f"write {PARAMS}.{key}")


def _warmup(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    key = f"{PARAMS}.warmup_num_steps"
    steps, total = known(config, key, None), known(config, f"{PARAMS}.total_num_steps", None)
    if steps is not None and (not isinstance(steps, int) or isinstance(steps, bool) or steps <= 0):
        if not is_before(context, WARMUP_CHECKED_SINCE):
            what = f"{shown(steps)} is not a whole number above 0"
            yield found("scheduler-warmup", key, what, "write a number of steps")
    elif isinstance(steps, int) and isinstance(total, int | float) and total < steps:
        what = f"{steps} steps of warm-up are more than total_num_steps {total}"
        yield found("scheduler-length", key, what, "raise total_num_steps, or lower it")


RULES: tuple[Rule, ...] = (scheduler,)
