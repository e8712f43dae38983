"""The header record: who runs what, on what, and what it had imported by then."""

from __future__ import annotations

import os
import platform
import socket
import sys
import sysconfig
from typing import Any

from flyball.runner.probe.attention import attention_facts
from flyball.runner.probe.checkpointing import activation_checkpointing
from flyball.runner.probe.model_facts import model_facts
from flyball.runner.probe.origin import origin_fields
from flyball.runner.probe.process import pid_namespace, process_started
from flyball.runner.probe.promise import promise_of
from flyball.runner.probe.watch import Probe

SCHEMA = 1
ZEROPP = ("zero_quantized_weights", "zero_quantized_gradients", "zero_hpz_partition_size")


def header_fields(probe: Probe, engine: Any, number: int) -> dict[str, Any]:
    """All fields of ``header`` but kind and times (docs/journal.md)."""
    torch = sys.modules["torch"]
    import deepspeed.comm as dist

    rank = dist.get_rank()
    fields = {
        "schema": SCHEMA,
        "run": probe.settings.run,
        "purpose": probe.settings.purpose,
        "rank": rank,
        "local_rank": int(os.environ.get("LOCAL_RANK", "0") or 0),
        "world_size": dist.get_world_size(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "engine": number,
        "engine_class": type(engine).__name__,
        "device": str(engine.device),
        "gpu_uuid": gpu_uuid(torch, engine.device),
        "config": effective_config(engine),
        "config_source": probe.config_source,
        "samples_from": probe.settings.samples_from,
        "micro_batch": engine.train_micro_batch_size_per_gpu(),
        "accumulation": engine.gradient_accumulation_steps(),
        "train_batch": engine.train_batch_size(),
        "zero_stage": int(engine.zero_optimization_stage()),
        "data_parallel_size": int(engine.dp_world_size),
        "threads": torch.get_num_threads(),
        "activation_checkpointing": activation_checkpointing(engine.module),
        **attention_facts(engine.module, str(engine.device)),
        "module_paths": probe.module_paths,
        "versions": versions(),
        "started": process_started(),
        "pid_namespace": pid_namespace(),
        "promised_samples_per_second": promise_of(probe.settings),
        "zeropp": zeropp_flags(engine),
        **model_facts(engine.module),
        **pipeline_place(engine),
    }
    if rank == 0 and number == 0:
        fields["modules"] = imported_modules()
        fields.update(origin_fields(probe))
    return fields


def effective_config(engine: Any) -> dict[str, Any]:
    """The config that the engine runs by, batch sizes resolved."""
    config = dict(getattr(engine._config, "_param_dict", None) or {})
    config["train_batch_size"] = engine.train_batch_size()
    config["train_micro_batch_size_per_gpu"] = engine.train_micro_batch_size_per_gpu()
    config["gradient_accumulation_steps"] = engine.gradient_accumulation_steps()
    return config


def gpu_uuid(torch: Any, device: Any) -> str | None:
    """NVML's name of a CUDA device, or None."""
    if device.type != "cuda":
        return None
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    return f"GPU-{uuid}" if uuid else None


def versions() -> dict[str, str]:
    """Versions of what is already imported; nothing is imported for it."""
    found = {"python": platform.python_version()}
    for name in ("torch", "deepspeed", "transformers", "accelerate"):
        version = getattr(sys.modules.get(name), "__version__", None)
        if version:
            found[name] = str(version)
    return found


def zeropp_flags(engine: Any) -> dict[str, Any]:
    """What the engine itself says of ZeRO++, by DeepSpeed's own names; empty where it has no such methods."""
    methods = {name: getattr(engine, name, None) for name in ZEROPP}
    return {name: method() for name, method in methods.items() if callable(method)}


def pipeline_place(engine: Any) -> dict[str, int]:
    """Which stage this rank is of how many, for a pipeline."""
    stages = getattr(engine, "num_stages", None)
    return {} if stages is None else {"pipeline_stage": int(engine.stage_id), "pipeline_stages": int(stages)}


def imported_modules() -> list[str]:
    """Modules of the standard library and of site-packages in import order: a fork server may import them."""
    roots = library_roots()
    script = _script_folder()
    # A script that itself lies in site-packages (python -m package.train) is not a library.
    script = script if script and script.startswith(roots) else None
    names = []
    for name, module in list(sys.modules.items()):
        origin = getattr(getattr(module, "__spec__", None), "origin", None)
        if (
            not isinstance(origin, str)
            or name == "__main__"
            or name.startswith(("flyball.", "sitecustomize"))
        ):
            continue
        if origin.startswith(roots) and not (script and origin.startswith(script)):
            names.append(name)
    return names


def library_roots() -> tuple[str, ...]:
    """Folders of the standard library and of site-packages, each ending in a separator."""
    paths = [sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths += [path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages")]
    roots = {os.path.join(form, "") for path in paths for form in (path, os.path.realpath(path))}
    return tuple(sorted(roots))


def _script_folder() -> str | None:
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    return os.path.join(os.path.dirname(os.path.abspath(path)), "") if path else None
