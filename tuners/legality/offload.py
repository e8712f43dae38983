"""Offload of parameters and optimizer states, and ZenFlow, which lives on it."""

from collections.abc import Iterator, Mapping
from typing import Any

from flyball.tuners.config.reading import known, read
from flyball.tuners.config.shape import MAX_STAGE, is_on, offloads, overlap_of, stage_of
from flyball.tuners.legality.context import Context, is_before
from flyball.tuners.legality.finding import Finding, Rule, found, shown

PARAM = "zero_optimization.offload_param"
OPTIMIZER = "zero_optimization.offload_optimizer"
COMPILED = ("offload_parameters", "offload_opt_states", "offload_activation")
"""What DeepCompile can offload."""
ZENFLOW = "zero_optimization.zenflow"


def stages(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Parameters are offloaded at stage 3, optimizer states from stage 1 on, a part of them at stage 3."""
    now = stage_of(config)
    if read(config, "zero_optimization.stage") == "auto":
        return
    if offloads(config, "param") and now < MAX_STAGE:
        what = f"does nothing at stage {now}"
        yield found("offload-param-idle", PARAM, what, "remove it, or set zero_optimization.stage to 3")
    if offloads(config, "optimizer") and now < 1:
        what, mend = f"needs stage 1 or above, the config says {now}", "raise the stage, or remove it"
        yield found("offload-optimizer-stage", OPTIMIZER, what, mend)
    ratio = known(config, f"{OPTIMIZER}.ratio", 1.0)
    if isinstance(ratio, int | float) and ratio < 1 and now < MAX_STAGE:
        what = "partial offload needs stage 3"
        yield found("offload-ratio-stage", f"{OPTIMIZER}.ratio", what, "set the ratio to 1.0")
    if is_on(config, f"{OPTIMIZER}.super_offload") and now < MAX_STAGE:
        what = f"does nothing at stage {now}"
        yield found("superoffload-idle", f"{OPTIMIZER}.super_offload", what, "remove it, or use stage 3")


def nvme(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """NVMe needs a path and stage 3; below it the states go to the CPU."""
    for section in (PARAM, OPTIMIZER):
        device, path = known(config, f"{section}.device", "none"), known(config, f"{section}.nvme_path", None)
        if device == "nvme" and path is None and stage_of(config) == MAX_STAGE:
            mend = "write nvme_path, or device cpu"
            yield found("offload-nvme-path", f"{section}.device", "nvme needs nvme_path", mend)
        elif device == "nvme" and section == OPTIMIZER and 0 < stage_of(config) < MAX_STAGE:
            what = f"at stage {stage_of(config)} the states go to the CPU"
            yield found("offload-nvme-idle", f"{section}.device", what, "write cpu, or use stage 3")
        elif device != "nvme" and path is not None:
            what = f"is not used with device {device}"
            yield found("offload-nvme-idle", f"{section}.nvme_path", what, "remove it, or write device nvme")


def around(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """What means something with optimizer offload only, or something else with it."""
    offloaded = offloads(config, "optimizer")
    forced = read(config, "zero_force_ds_cpu_optimizer")
    if forced is False and offloaded:
        what = "lets any optimizer work on offloaded states, most of them slowly"
        yield found("force-cpu-optimizer", "zero_force_ds_cpu_optimizer", what, "use DeepSpeedCPUAdam")
    elif forced is not None and not offloaded:
        what = "does nothing without offload_optimizer"
        yield found("force-cpu-optimizer-idle", "zero_force_ds_cpu_optimizer", what, "remove it")
    key = "zero_optimization.round_robin_gradients"
    if is_on(config, key) and (not offloaded or stage_of(config) not in (1, 2)):
        what = "is for optimizer offload at stages 1 and 2"
        yield found("round-robin-idle", key, what, "remove it")
    key = "zero_optimization.contiguous_gradients"
    if read(config, key) is False and offloaded and stage_of(config) in (1, 2):
        what = "optimizer offload switches it on again"
        yield found("contiguous-offload", key, what, "remove it")


def zenflow(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """ZenFlow: ZeRO with the optimizer on the CPU, and intervals that fit together (zenflow_config.py)."""
    section = known(config, ZENFLOW, None)
    if not isinstance(section, Mapping):
        return
    if not stage_of(config):
        yield found(
            "zenflow-stage", ZENFLOW, "needs ZeRO stage 1, 2 or 3", "set zero_optimization.stage to 2"
        )
    elif stage_of(config) < MAX_STAGE and not offloads(config, "optimizer"):
        mend = 'add "offload_optimizer": {"device": "cpu"}'
        yield found("zenflow-offload", ZENFLOW, "needs the optimizer offloaded to the CPU", mend)
    if is_on(config, f"{ZENFLOW}.offload") and not overlap_of(config):
        mend = "set zero_optimization.overlap_comm to true"
        yield found("zenflow-overlap", f"{ZENFLOW}.offload", "needs overlap_comm", mend)
    strategy = known(config, f"{ZENFLOW}.select_strategy", "auto")
    if strategy not in ("auto", "step", "epoch"):
        key = f"{ZENFLOW}.select_strategy"
        yield found("zenflow-values", key, f"{shown(strategy)} is no strategy", "write auto, step or epoch")
    yield from _intervals(config, strategy)


def _intervals(config: Mapping[str, Any], strategy: Any) -> Iterator[Finding]:
    select, update = (known(config, f"{ZENFLOW}.{name}_interval", "auto") for name in ("select", "update"))
    for name, value in (("select", select), ("update", update)):
        if isinstance(value, str) and value != "auto":
            key = f"{ZENFLOW}.{name}_interval"
            yield found("zenflow-values", key, f"{shown(value)} is a text", 'write a whole number, or "auto"')
    if isinstance(update, int) and update < 1:
        key = f"{ZENFLOW}.update_interval"
        yield found("zenflow-values", key, f"{update} is below 1", "write 1 or more")
    if strategy == "auto" and isinstance(select, int):
        key = f"{ZENFLOW}.select_interval"
        what = "is for a strategy of step or epoch, and auto is in force"
        yield found("zenflow-interval", key, what, 'write select_strategy, or "auto" here')
    elif strategy != "auto" and select == "auto":
        key = f"{ZENFLOW}.select_strategy"
        what = f"{strategy} needs a select_interval"
        yield found("zenflow-interval", key, what, 'write select_interval, or strategy "auto"')
    elif strategy == "step" and isinstance(select, int) and isinstance(update, int) and select < update:
        key = f"{ZENFLOW}.select_interval"
        yield found("zenflow-interval", key, f"{select} is below update_interval {update}", "raise it")


def deepcompile(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """DeepCompile at stage 3 offloads one thing a run, none that ZeRO offloads (compile/init_z3.py)."""
    if (
        not is_on(config, "compile.deepcompile")
        or stage_of(config) < MAX_STAGE
        or is_before(context, (0, 19, 7))
    ):
        return
    chosen = [name for name in COMPILED if is_on(config, f"compile.{name}")]
    if len(chosen) > 1:
        what = f"does not work with compile.{chosen[0]}"
        yield found("deepcompile-offload", f"compile.{chosen[1]}", what, "choose one of the two")
    if "offload_opt_states" in chosen and offloads(config, "optimizer"):
        what = "does not work with zero_optimization.offload_optimizer"
        yield found("deepcompile-offload", "compile.offload_opt_states", what, "remove one of the two")


RULES: tuple[Rule, ...] = (stages, nvme, around, zenflow, deepcompile)
