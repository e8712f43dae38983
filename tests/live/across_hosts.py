"""One training run over two hosts, a rank on each, and what a step of it moves over the link between them."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.live.hosts import Host, Traffic

from flyball.collectors.journal import RankJournal
from flyball.runner.probe_install import install
from flyball.runner.trial_folder import trial_environment

_STEP = re.compile(r"^step (\d+)\b")
_PORT = 29511
_LOG_CHARACTERS = 4000


@dataclass(frozen=True, kw_only=True, slots=True)
class Marks:
    """The two steps between which bytes are counted: start-up and the first dense steps are left out."""

    first: int
    last: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """What one run moved between its marks."""

    bytes_a_step: float
    """Sent and received at the interface of the first host."""
    compressed_bytes: int | None
    """Of a step as the probe counts them at the collective; None where nothing compresses."""
    dense_bytes: int | None
    """What the same collectives would carry without compression."""


def moved(
    hosts: tuple[Host, Host], folder: Path, script: Sequence[str], *, marks: Marks, knobs: Mapping[str, Any]
) -> Moved:
    """Run a script by torchrun until it prints ``step <marks.last>``, then end it on both hosts.

    Args:
        hosts: the first one has rank 0 and the rendezvous.
        folder: takes the journals and ``log-<host>.txt``.
        script: the script and its arguments.
        marks: the steps to count between.
        knobs: for the probe to apply, as in ``TrialRequest.probe``.

    Raises:
        RuntimeError: the run ended before the second mark.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"run": folder.name, "directory": str(folder), "knobs": dict(knobs), "budget_ratio": 1e9}
    environment = {
        **trial_environment(install(folder / "probe", settings), os.environ),
        "PYTHONUNBUFFERED": "1",
        "DS_ACCELERATOR": "cpu",
        "OMP_NUM_THREADS": "1",
    }
    with ExitStack() as stack:
        started = [
            stack.enter_context(_node(hosts, number, script, environment, folder)) for number in range(2)
        ]
        for host in hosts:
            stack.callback(host.end_processes)
        readings = _read_at(hosts[0], started[0], marks)
    if readings is None:
        log = "".join((folder / f"log-{host.name}.txt").read_text("utf-8", "replace") for host in hosts)
        raise RuntimeError(f"the run ended before step {marks.last}:\n{log[-_LOG_CHARACTERS:]}")
    carried = readings[1].since(readings[0])
    compressed, dense = _witnessed(folder)
    return Moved(
        bytes_a_step=(carried.sent + carried.received) / (marks.last - marks.first),
        compressed_bytes=compressed,
        dense_bytes=dense,
    )


def _node(
    hosts: tuple[Host, Host],
    number: int,
    script: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
) -> "subprocess.Popen[str]":
    rendezvous = (f"--master-addr={hosts[0].name}", f"--master-port={_PORT}", f"--node-rank={number}")
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1")
    with (folder / f"log-{hosts[number].name}.txt").open("w") as log:
        return subprocess.Popen(
            hosts[number].command(*torchrun, *rendezvous, *script),
            env=dict(environment),
            cwd=folder,
            stdout=subprocess.PIPE if number == 0 else log,
            stderr=log,
            text=True,
        )


def _read_at(host: Host, process: "subprocess.Popen[str]", marks: Marks) -> tuple[Traffic, Traffic] | None:
    assert process.stdout is not None
    first: Traffic | None = None
    for line in process.stdout:
        found = _STEP.match(line)
        step = int(found.group(1)) if found else 0
        if step == marks.first:
            first = host.traffic()
        elif step == marks.last and first is not None:
            return first, host.traffic()
    return None


def _witnessed(folder: Path) -> tuple[int | None, int | None]:
    journal = RankJournal(path=folder / "rank-0.jsonl")
    journal.refresh()
    values = [record["value"] for record in journal.of_kind("witness") if record["knob"] == "powersgd"]
    if not values:
        return None, None
    if not values[-1]["compressing"]:
        raise RuntimeError(f"PowerSGD does not compress: {json.dumps(values[-1])}")
    return int(values[-1]["compressed_bytes"]), int(values[-1]["dense_bytes"])
