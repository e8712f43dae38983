"""Applies the knobs that work on an unchanged script, and watches for the proof that they act."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from flyball.runner.probe.attention import use_attention
from flyball.runner.probe.cache import empty_cache
from flyball.runner.probe.checkpointing import checkpoint_activations
from flyball.runner.probe.meter import Meter
from flyball.runner.probe.network import watch_network
from flyball.runner.probe.watch import Probe

SETTLED_STEPS = 3
"""By then everything that compiles has compiled, or will not."""


def apply_knobs(probe: Probe, engine: Any, meter: Meter) -> None:
    """Apply ``settings.knobs`` to a new engine; what a knob itself raises is the configuration's failure."""
    if probe.trial:
        watch_network(probe, meter)
    knobs = probe.settings.knobs
    if knobs.get("activation_checkpointing") is not None:
        checkpoint_activations(probe, engine, meter, bool(knobs["activation_checkpointing"]))
    if knobs.get("attention"):
        use_attention(probe, engine, meter, str(knobs["attention"]))
    if knobs.get("empty_cache_every"):
        empty_cache(probe, meter, int(knobs["empty_cache_every"]))
    wanted = knobs.get("compile")
    if wanted:
        compile_engine(probe, engine, meter, wanted if isinstance(wanted, Mapping) else {})
    if knobs.get("powersgd"):
        from flyball.runner.probe.powersgd import compress_gradients

        compress_gradients(probe, engine, meter, knobs["powersgd"])


def compile_engine(probe: Probe, engine: Any, meter: Meter, arguments: Mapping[str, Any]) -> None:
    """Call ``engine.compile`` and report the number of graphs that dynamo made of the module."""
    engine.compile(**arguments)
    reported = -1

    def witness(_: Any) -> None:
        nonlocal reported
        graphs = compiled_graphs()
        if graphs != reported and (graphs or meter.step >= SETTLED_STEPS):
            reported = graphs
            probe.say("witness", knob="compile", value={"graphs": graphs})

    meter.at_boundary.append(witness)


def compiled_graphs() -> int:
    """Graphs that dynamo has compiled in this process; the counter is torch's own."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return int(dynamo.counters["stats"]["unique_graphs"]) if dynamo is not None else 0
