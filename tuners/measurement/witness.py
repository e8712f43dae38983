"""Whether a knob was seen acting, from what the probe wrote about it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flyball.tuners.base import Configuration, Measurement
from flyball.tuners.knobs.allocator import NAME as EXPANDABLE
from flyball.tuners.knobs.network import KNOBS as NETWORK_KNOBS
from flyball.tuners.knobs.precision import NAME as PRECISION
from flyball.tuners.legality.allocator_variables import NEWER_VARIABLE, VARIABLE
from flyball.tuners.legality.nccl_variables import GLOO_INTERFACE, VARIABLES
from flyball.tuners.measurement.measurement import ALLOCATOR, ENGINE

Judge = Callable[[Mapping[str, Any]], bool]


def _compiled(value: Mapping[str, Any]) -> bool:
    return float(value.get("graphs") or 0) > 0


def _compressed(value: Mapping[str, Any]) -> bool:
    dense, sent = float(value.get("dense_bytes") or 0), float(value.get("compressed_bytes") or 0)
    return bool(value.get("compressing")) and 0 < sent < dense


def _in_layers(value: Mapping[str, Any]) -> bool:
    return float(value.get("layers") or 0) > 0


def _emptied(value: Mapping[str, Any]) -> bool:
    return float(value.get("emptied") or 0) > 0


JUDGES: Mapping[str, Judge] = {
    "activation_checkpointing": _in_layers,
    "attention": _in_layers,
    "compile": _compiled,
    "empty_cache_every": _emptied,
    "powersgd": _compressed,
}
"""Probe knob to what its witness must show."""


READ_BACK = (
    "threads",
    "zero_stage",
    PRECISION,
    "zero_quantized_weights",
    "zero_quantized_gradients",
    "zero_hpz_partition_size",
)
"""Knobs of which the engine says itself what it has."""
QUANTIZED = "zero_quantized_gradients"
NETWORK = "network"
"""Name of the witness of NCCL's and gloo's variables."""
REDUCING = "reduce"
"""Part of the name of every collective that carries gradients."""
WIDTH_BYTES = {"fp32": 4, "fp16": 2, "fp8": 1, "bf16": 2, "bfp16": 2}
LEAST_SAVING = 0.9
"""Of the gradients' bytes: a type half as wide that leaves more of them on the wire did nothing."""
WIRE = "communication_data_type"


def idle_knobs(
    configuration: Configuration,
    runs: Sequence[Measurement],
    baseline: Sequence[Measurement] = (),
    own: Mapping[str, Any] | None = None,
) -> tuple[str, ...]:
    """Return the knobs that were set and not seen acting in every run.

    Args:
        runs: of the configuration.
        baseline: of the user's own, which bytes are held against; without them, bytes are not judged.
        own: the user's own assignment.
    """
    switched_on = [name for name, value in configuration.probe.items() if value and name in JUDGES]
    idle = [
        name
        for name in switched_on
        if not runs or not all(JUDGES[name](run.witnesses.get(name, {})) for run in runs)
    ]
    idle += [name for name in READ_BACK if _contradicted(name, configuration, runs)]
    if configuration.assignment.get(QUANTIZED) and _gradients_stayed_dense(runs, baseline):
        idle.append(QUANTIZED)
    idle += [name for name in _network_knobs(configuration) if not _network_acted(name, configuration, runs)]
    if _left_segments(configuration, runs, baseline):
        idle.append(EXPANDABLE)
    if _kept_the_bytes(configuration, runs, baseline, own or {}):
        idle.append(WIRE)
    return tuple(dict.fromkeys(idle))


def idle_note(configuration: Configuration, run: Measurement) -> tuple[str, ...]:
    """Say which knobs were set and not seen acting in a run: such a configuration is no candidate."""
    idle = idle_knobs(configuration, [run])
    return (f"no effect of {', '.join(sorted(idle))} was seen",) if idle else ()


def _contradicted(name: str, configuration: Configuration, runs: Sequence[Measurement]) -> bool:
    """Whether an engine said another value than it was given."""
    wanted = configuration.assignment.get(name)
    seen = [run.witnesses.get(ENGINE, {}).get(name) for run in runs]
    return wanted is not None and any(value is not None and value != wanted for value in seen)


def _gradients_stayed_dense(runs: Sequence[Measurement], baseline: Sequence[Measurement]) -> bool:
    """Whether DeepSpeed fell back from 4-bit gradients: they go by all-to-alls, dense ones do not.

    A model whose own experts make all-to-alls must make more of them than before.
    """
    before = max((_all_to_all_bytes(run) for run in baseline), default=0.0)
    return bool(runs) and min(map(_all_to_all_bytes, runs)) <= before


def _all_to_all_bytes(run: Measurement) -> float:
    return sum(amount for op, amount in run.communicated_bytes_per_step.items() if "all_to_all" in op)


def _network_knobs(configuration: Configuration) -> list[str]:
    """Return the knobs of the assignment that set a variable of NCCL or gloo."""
    named = {knob.path: knob.name for knob in NETWORK_KNOBS}
    return [named[variable] for variable in VARIABLES if variable in configuration.environment]


def _network_acted(name: str, configuration: Configuration, runs: Sequence[Measurement]) -> bool:
    """Whether every run took the variable; where NCCL logs for the user and not for us, nobody can say."""
    variable = next(knob.path for knob in NETWORK_KNOBS if knob.name == name)
    wanted = configuration.environment[variable]
    seen = [run.witnesses.get(NETWORK, {}) for run in runs]
    if variable == GLOO_INTERFACE:
        return bool(seen) and all(set(wanted.split(",")) & set(each.get("interfaces") or ()) for each in seen)
    if any(each and each.get("told") is None for each in seen):
        return True
    return bool(seen) and all((each.get("told") or {}).get(variable) == wanted for each in seen)


def _left_segments(
    configuration: Configuration, runs: Sequence[Measurement], baseline: Sequence[Measurement]
) -> bool:
    """Whether the allocator was told of its segments and not seen to follow, or had them so before."""
    wanted = configuration.assignment.get(EXPANDABLE)
    if wanted is None or not {VARIABLE, NEWER_VARIABLE} & configuration.environment.keys():
        return False
    followed = bool(runs) and all(_has_segments(run, bool(wanted)) for run in runs)
    return not followed or (bool(baseline) and all(_has_segments(run, bool(wanted)) for run in baseline))


def _has_segments(run: Measurement, expandable: bool) -> bool:
    """Whether every rank's allocator said so; one that said nothing has not."""
    told = run.witnesses.get(ALLOCATOR, {})
    ranks = told.get("ranks", 0)
    return bool(ranks) and told.get("expandable") == (ranks if expandable else 0)


def _kept_the_bytes(
    configuration: Configuration,
    runs: Sequence[Measurement],
    baseline: Sequence[Measurement],
    own: Mapping[str, Any],
) -> bool:
    """Whether a narrower type on the wire left the gradients' bytes as they were.

    Judged at the same stage and accumulation alone: both change how often gradients are reduced.
    """
    wire, stage = configuration.assignment.get(WIRE), configuration.assignment.get("zero_stage")
    before, after = WIDTH_BYTES.get(str(own.get(WIRE)), 0), WIDTH_BYTES.get(str(wire), 0)
    if not baseline or not runs or not 0 < after < before or stage != own.get("zero_stage"):
        return False
    if {run.forwards_a_step for run in runs} != {run.forwards_a_step for run in baseline}:
        return False
    sent, dense = reduced_bytes(runs), reduced_bytes(baseline)
    return dense > 0 and sent > LEAST_SAVING * dense


def reduced_bytes(runs: Sequence[Measurement]) -> float:
    """Return the bytes a step that collectives with gradients carried, the least of the runs."""
    return min(
        sum(amount for op, amount in run.communicated_bytes_per_step.items() if REDUCING in op)
        for run in runs
    )
