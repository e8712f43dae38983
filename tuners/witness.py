"""Whether a knob was seen acting, from what the probe wrote about it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flyball.tuners.base import Configuration, Measurement

Judge = Callable[[Mapping[str, Any]], bool]


def _compiled(value: Mapping[str, Any]) -> bool:
    return float(value.get("graphs") or 0) > 0


def _compressed(value: Mapping[str, Any]) -> bool:
    dense, sent = float(value.get("dense_bytes") or 0), float(value.get("compressed_bytes") or 0)
    return bool(value.get("compressing")) and 0 < sent < dense


def _recomputed(value: Mapping[str, Any]) -> bool:
    return float(value.get("layers") or 0) > 0


JUDGES: Mapping[str, Judge] = {
    "activation_checkpointing": _recomputed,
    "compile": _compiled,
    "powersgd": _compressed,
}
"""Probe knob to what its witness must show."""


def idle_knobs(configuration: Configuration, runs: Sequence[Measurement]) -> tuple[str, ...]:
    """Return the probe knobs that were switched on and not seen acting in every run."""
    switched_on = [name for name, value in configuration.probe.items() if value and name in JUDGES]
    return tuple(
        name
        for name in switched_on
        if not runs or not all(JUDGES[name](run.witnesses.get(name, {})) for run in runs)
    )
