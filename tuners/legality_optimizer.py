"""Optimizers: what the installed DeepSpeed has, what works with ZeRO, what its parameters are."""

from collections.abc import Iterator, Mapping
from typing import Any

from flyball.tuners.config import known, nearest
from flyball.tuners.context import Context, release
from flyball.tuners.finding import Finding, Rule, error, warning
from flyball.tuners.shape import offloads, optimizer_type, stage_of

ONE_BIT = frozenset({"onebitadam", "zerooneadam", "onebitlamb"})
ONE_BIT_REMOVED_IN = "0.19.7"
TYPE = "optimizer.type"
DEEPSPEED_OWN = frozenset({"adagrad", "adam", "adamw", "lamb", "lion", "muadam", "muadamw", "muon", "musgd"})
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
    installed = release(context.deepspeed_version)
    if installed and installed >= (release(ONE_BIT_REMOVED_IN) or ()):
        what = f"DeepSpeed {context.deepspeed_version} has no {name}: removed in {ONE_BIT_REMOVED_IN}"
        yield error(TYPE, what, "use AdamW")
    if stage_of(config):
        yield error(TYPE, f"{name} does not work with ZeRO", "set zero_optimization.stage to 0, or use AdamW")
    if context.device == "cpu":
        yield error(TYPE, f"{name} needs NCCL or MPI", "use AdamW")
    freeze = known(config, "optimizer.params.freeze_step", 100_000)
    if isinstance(freeze, int) and freeze >= 100_000:
        yield warning(
            "optimizer.params.freeze_step",
            f"nothing is compressed in the first {freeze} steps",
            "lower freeze_step",
        )


def gradient_norm_parameter(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """max_grad_norm is not an optimizer parameter: the engine raises."""
    if known(config, "optimizer.params.max_grad_norm", None) is not None:
        yield error(
            "optimizer.params.max_grad_norm", "is not an optimizer parameter", "use the key gradient_clipping"
        )


def lamb(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """LAMB asserts dynamic loss scaling and has no CPU kernel."""
    if (optimizer_type(config) or "").lower() != "lamb":
        return
    if known(config, "fp16.loss_scale", 0) != 0:
        yield error("fp16.loss_scale", "Lamb needs dynamic loss scaling", "set fp16.loss_scale to 0")
    if context.device == "cpu":
        yield error(TYPE, "Lamb is not implemented on CPU", "use AdamW")


def existing(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """A name is one of DeepSpeed's own, in any case, or a class of torch.optim."""
    name = optimizer_type(config)
    if name is None or name.lower() in DEEPSPEED_OWN | ONE_BIT or name in TORCH_OWN:
        return
    close = nearest(name, {own.lower(): own for own in TORCH_OWN} | {own: own for own in DEEPSPEED_OWN})
    mend = f"did you mean {close!r}?" if close else "use AdamW, or build the optimizer in the script"
    yield error(TYPE, f"neither DeepSpeed nor torch.optim has {name!r}", mend)


def untested_with_zero(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """ZeRO asserts an optimizer it was tested with, unless told otherwise."""
    name = optimizer_type(config)
    if name is None or name.lower() in ZERO_TESTED | ONE_BIT or not stage_of(config):
        return
    if not known(config, "zero_allow_untested_optimizer", False):
        mend = 'add "zero_allow_untested_optimizer": true, or set zero_optimization.stage to 0'
        yield error(TYPE, f"ZeRO was not tested with {name}", mend)


def torch_adam_parameters(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """torch_adam hands the rest to torch.optim.AdamW, which has no adamw_mode of DeepSpeed's CPU Adam."""
    if not known(config, "optimizer.params.torch_adam", False):
        if known(config, "optimizer.params.fused", None) is not None and _is_adam(config):
            what = "DeepSpeed's own Adam has no parameter 'fused'"
            yield error("optimizer.params.fused", what, "add optimizer.params.torch_adam: true, or remove it")
        return
    if offloads(config, "optimizer") and known(config, "zero_force_ds_cpu_optimizer", True):
        yield warning(
            "optimizer.params.torch_adam",
            "torch's Adam on offloaded states is slow",
            "remove it to get DeepSpeedCPUAdam",
        )


def _is_adam(config: Mapping[str, Any]) -> bool:
    return (optimizer_type(config) or "").lower() in ("adam", "adamw")


RULES: tuple[Rule, ...] = (
    existing,
    one_bit,
    untested_with_zero,
    gradient_norm_parameter,
    lamb,
    torch_adam_parameters,
)
