"""Records what configurations need of a device's memory, each in a forked process of its own.

The parent builds the models on one thread, which a fork survives, and never touches the device. A child
makes one engine and a few steps, and appends one line to the file; so a recording that is cut short keeps
what it had.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from _memory_cases import GIB, Case
from _memory_meter import MemoryMeter, Peaks, meter_for
from _memory_models import MODELS, Built

STEPS = 3
LONGEST_CHILD_SECONDS = 90.0
DRY_BATCH = 4
CHILD_THREADS = 4


def record_all(cases: Sequence[Case], out: Path, *, device: str, workers: int, seconds: float) -> int:
    """Record every case; return how many lines were written.

    Args:
        out: gets one JSON object a line; what was in it is replaced.
        workers: children at a time.
        seconds: no child starts later than this after the begin.
    """
    begun = time.monotonic()
    built = _prepare({case.model for case in cases}, device)
    out.write_text("", "utf-8")
    print(f"{time.monotonic() - begun:5.1f} s  models built", flush=True)
    waiting, running = list(cases), dict[int, tuple[Case, float]]()
    while waiting or running:
        while waiting and len(running) < workers and time.monotonic() - begun < seconds:
            case = waiting.pop(0)
            running[_start(case, built[case.model], out, device)] = (case, time.monotonic())
        if not running:
            break
        _reap(running, out)
        time.sleep(0.05)
    if waiting:
        print(f"{len(waiting)} of {len(cases)} were not begun within {seconds:g} s", flush=True)
    return len(out.read_text("utf-8").splitlines())


def _prepare(models: Iterable[str], device: str) -> dict[str, Built]:
    """Import and build everything that children need, with nothing that a fork could not survive."""
    alone = {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "0",
    }
    os.environ |= {**alone, "PYTORCH_NVML_BASED_CUDA_CHECK": "1", "OMP_NUM_THREADS": "1"}
    if device == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed  # noqa: F401
    import torch

    torch.set_num_threads(1)
    return {name: MODELS[name].make(dry=device == "cpu") for name in sorted(models)}


def _start(case: Case, built: Built, out: Path, device: str) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        log = os.open(f"{out}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        append(out, one(case, built, device))
        status = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _reap(running: dict[int, tuple[Case, float]], out: Path) -> None:
    for child, (case, since) in list(running.items()):
        took = time.monotonic() - since
        if took > LONGEST_CHILD_SECONDS:
            os.kill(child, signal.SIGKILL)
        ended, status = os.waitpid(child, os.WNOHANG)
        if not ended:
            continue
        del running[child]
        if status:
            append(out, {**_described(case), "outcome": "failed", "message": f"ended with status {status}"})
        written = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
        found = next(each for each in reversed(written) if each["name"] == case.name)
        peak = found.get("peak_reserved", 0) / GIB
        print(f"{took:5.1f} s  {found['outcome']:<13} {peak:6.2f} GiB  {case.name}", flush=True)


def append(out: Path, line: dict[str, Any]) -> None:
    """Append one line in one write, so that children do not mix theirs."""
    place = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(place, (json.dumps(line) + "\n").encode())
    os.close(place)


def _described(case: Case) -> dict[str, Any]:
    return {"name": case.name, "model": case.model}


def one(case: Case, built: Built, device: str) -> dict[str, Any]:
    """Make one engine and a few steps; return the line that tells of it."""
    import torch

    torch.set_num_threads(1 if device == "cpu" else CHILD_THREADS)
    dry = device == "cpu"
    limit = int(case.limit_gib * GIB)
    line = {
        **_described(case),
        "checkpointing": case.checkpointing,
        "limit_bytes": limit,
        "ds_config": case.ds_config(dry=dry),
        "phases": {},
    }
    begun = time.monotonic()
    with meter_for(device, limit) as meter:
        try:
            _steps(case, built, meter, line, dry=dry)
            line["outcome"] = "completed"
        except torch.OutOfMemoryError as error:
            line |= {"outcome": "out_of_memory", "message": str(error)[:300]}
        except Exception as error:  # a case that this machine cannot run must not end the recording
            line |= {"outcome": "failed", "message": f"{type(error).__name__}: {error}"[:300]}
        _close(line, "last", meter)
    peaks = line["phases"].values()
    line |= {
        "peak_allocated": max(each[0] for each in peaks),
        "peak_reserved": max(each[1] for each in peaks),
        "seconds": round(time.monotonic() - begun, 2),
    }
    return line


def _steps(case: Case, built: Built, meter: MemoryMeter, line: dict[str, Any], *, dry: bool) -> None:
    import deepspeed
    import torch

    deepspeed.init_distributed()
    model, vocabulary, length = built
    if case.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    config = dict(line["ds_config"])
    if dry:
        config["train_micro_batch_size_per_gpu"] = min(case.micro_batch, DRY_BATCH)
        line["ds_config"] = config
    engine, *_ = deepspeed.initialize(model=model, model_parameters=model.parameters(), config=config)
    line["header"] = _header(engine, length)
    _close(line, "initialize", meter)
    for _ in range(STEPS):
        for _ in range(case.accumulation):
            batch = config["train_micro_batch_size_per_gpu"]
            tokens = torch.randint(vocabulary, (batch, length), device=engine.device)
            line["before_forward"] = meter.allocated()
            found = engine(input_ids=tokens, labels=tokens)
            loss = getattr(found, "loss", found)
            del found
            line["after_forward"] = meter.allocated()
            _close(line, "forward", meter)
            engine.backward(loss)
            del loss
            _close(line, "backward", meter)
            engine.step()
            line["after_step"] = meter.allocated()
            _close(line, "step", meter)


def _close(line: dict[str, Any], phase: str, meter: MemoryMeter) -> None:
    """Keep a stretch's peaks beside earlier ones of its phase, and begin the next."""
    seen = Peaks(*line["phases"].get(phase, (0, 0)))
    line["phases"][phase] = [max(pair) for pair in zip(seen, meter.peaks(), strict=True)]
    meter.reset()


def _header(engine: Any, length: int) -> dict[str, Any]:
    """The probe's header, as far as it speaks of memory."""
    from flyball.runner.probe.header import effective_config, versions
    from flyball.runner.probe.model_facts import model_facts

    return {
        "world_size": 1,
        "device": str(engine.device),
        "data_parallel_size": 1,
        "engine_class": type(engine).__name__,
        "config": effective_config(engine),
        "micro_batch": engine.train_micro_batch_size_per_gpu(),
        "accumulation": engine.gradient_accumulation_steps(),
        "train_batch": engine.train_batch_size(),
        "zero_stage": int(engine.zero_optimization_stage()),
        "optimizer": type(engine.optimizer).__name__,
        "sequence_length": length,
        "versions": versions(),
        **model_facts(engine.module),
    }
