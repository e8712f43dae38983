"""Optimizers: what the installed DeepSpeed has, what works with ZeRO, what its parameters are."""

from collections.abc import Iterator, Mapping
from typing import Any

from flyball.tuners.config.deepspeed_facts import facts_of
from flyball.tuners.config.reading import known, nearest
from flyball.tuners.config.shape import offloads, optimizer_type, stage_of
from flyball.tuners.legality.context import Context
from flyball.tuners.legality.finding import Finding, Rule, found, shown

ONE_BIT = frozenset({"onebitadam", "zerooneadam", "onebitlamb"})
ONE_BIT_REMOVED_IN = "0.19.7"
TYPE = "optimizer.type"
TORCH_OWN = frozenset(
    {"ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon", "NAdam", "RAdam"}
    | {"RMSprop", "Rprop", "SGD", "SparseAdam"}
)
ZERO_TESTED = frozenset({"adagrad", "adam", "adamw", "lion", "muon"})


def one_bit(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """1-bit Adam, 0/1 Adam and 1-bit LAMB: no ZeRO, a backend with compression, and gone from 0.19.7 on."""
    name = optimizer_type(config)
    if name is None or name.lower() not in ONE_BIT:
        return
    if context.deepspeed_version and name.lower() not in facts_of(context.deepspeed_version).optimizers:
        what = f"DeepSpeed {context.deepspeed_version} has no {name}: removed in {ONE_BIT_REMOVED_IN}"
        yield found("one-bit-gone", TYPE, what, "use AdamW")
    if stage_of(config):
        mend = "set zero_optimization.stage to 0, or use AdamW"
        yield found("one-bit-zero", TYPE, f"{name} does not work with ZeRO", mend)
    if context.device == "cpu":
        yield found("one-bit-cpu", TYPE, f"{name} needs NCCL or MPI", "use AdamW")
    freeze = known(config, "optimizer.params.freeze_step", 100_000)
    if isinstance(freeze, int) and freeze >= 100_000:
        what = f"nothing is compressed in the first {freeze} steps"
        yield found("freeze-step", "optimizer.params.freeze_step", what, "lower freeze_step")


def gradient_norm_parameter(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """max_grad_norm is not an optimizer parameter: the engine raises."""
    key = "optimizer.params.max_grad_norm"
    if known(config, key, None) is not None:
        yield found("max-grad-norm", key, "is not an optimizer parameter", "use the key gradient_clipping")


def lamb(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """LAMB asserts dynamic loss scaling and has no CPU kernel."""
    if (optimizer_type(config) or "").lower() != "lamb":
        return
    if known(config, "fp16.loss_scale", 0) != 0:
        what = "Lamb needs dynamic loss scaling"
        yield found("lamb-loss-scale", "fp16.loss_scale", what, "set fp16.loss_scale to 0")
    if context.device == "cpu":
        yield found("lamb-cpu", TYPE, "Lamb is not implemented on CPU", "use AdamW")


def existing(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """A name is one of DeepSpeed's own, in any case, or a class of torch.optim."""
    own = facts_of(context.deepspeed_version).optimizers
    name = optimizer_type(config)
    if name is None or name.lower() in own | ONE_BIT or name in TORCH_OWN:
        return
    spelt = {each.lower(): each for each in own - ONE_BIT | TORCH_OWN}
    close = nearest(name, spelt)
    mend = f"did you mean {spelt[close]!r}?" if close else "use AdamW, or build the optimizer in the script"
    yield found("optimizer-unknown", TYPE, f"neither DeepSpeed nor torch.optim has {name!r}", mend)


def untested_with_zero(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """ZeRO asserts an optimizer it was tested with, unless told otherwise."""
    name = optimizer_type(config)
    own = facts_of(context.deepspeed_version).optimizers
    if name is None or name.lower() in ZERO_TESTED | ONE_BIT or not stage_of(config):
        return
    if name not in TORCH_OWN and name.lower() not in own:
        return  # there is none of that name at all
    if not known(config, "zero_allow_untested_optimizer", False):
        mend = 'add "zero_allow_untested_optimizer": true, or set zero_optimization.stage to 0'
        yield found("zero-untested", TYPE, f"ZeRO was not tested with {name}", mend)


def torch_adam_parameters(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """torch_adam hands the rest to torch.optim.AdamW, which has no adamw_mode of DeepSpeed's CPU Adam."""
    if not known(config, "optimizer.params.torch_adam", False):
        if known(config, "optimizer.params.fused", None) is not None and _is_adam(config):
            what = "DeepSpeed's own Adam has no parameter 'fused'"
            mend = "add optimizer.params.torch_adam: true, or remove it"
            yield found("adam-fused", "optimizer.params.fused", what, mend)
        return
    if offloads(config, "optimizer") and known(config, "zero_force_ds_cpu_optimizer", True):
        what = "torch's Adam on offloaded states is slow"
        mend = "remove it to get DeepSpeedCPUAdam"
        yield found("torch-adam-offload", "optimizer.params.torch_adam", what, mend)


def clipping(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """gradient_clipping is the largest norm; 0 and less switch it off."""
    value = known(config, "gradient_clipping", None)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield found(
            "gradient-clipping",
            "gradient_clipping",
            f"{shown(value)} is not a number",
            "write for example 1.0",
        )
    elif value < 0:
        yield found("gradient-clipping-idle", "gradient_clipping", "clips nothing", "write a norm above 0")


def _is_adam(config: Mapping[str, Any]) -> bool:
    return (optimizer_type(config) or "").lower() in ("adam", "adamw")


RULES: tuple[Rule, ...] = (
    existing,
    one_bit,
    untested_with_zero,
    gradient_norm_parameter,
    lamb,
    torch_adam_parameters,
    clipping,
)
