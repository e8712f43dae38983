"""What NCCL and gloo really took of the variables that a trial sets: NCCL's own log, and the open sockets."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

from flyball.runner.probe.meter import Meter
from flyball.runner.probe.watch import Probe

NCCL = ("NCCL_ALGO", "NCCL_PROTO", "NCCL_MIN_NCHANNELS", "NCCL_NTHREADS", "NCCL_SOCKET_IFNAME")
GLOO = "GLOO_SOCKET_IFNAME"
LOG = "nccl-log"
"""Begins the name of the file that NCCL writes beside the rank's journal."""
SETTLED_STEPS = 3
"""By then every communicator of a step has been made."""
_TOLD = re.compile(r"NCCL INFO (\w+) set by environment to (.*?)\.?\s*$", re.MULTILINE)


def ask_nccl(directory: str, environment: MutableMapping[str, str]) -> None:
    """Have NCCL log what it takes from its variables; where the user has it log already, nothing changes.

    ``NCCL_DEBUG_SUBSYS=ENV`` keeps it to one line a variable and communicator.
    """
    if not any(name in environment for name in NCCL):
        return
    if "NCCL_DEBUG" in environment and not is_ours(environment):
        return
    environment["NCCL_DEBUG"] = "INFO"
    environment["NCCL_DEBUG_SUBSYS"] = "ENV"
    environment["NCCL_DEBUG_FILE"] = os.path.join(os.path.abspath(directory), f"{LOG}.%h.%p")


def is_ours(environment: Mapping[str, str]) -> bool:
    """Whether NCCL logs for the probe."""
    return os.path.basename(environment.get("NCCL_DEBUG_FILE", "")).startswith(LOG)


def watch_network(probe: Probe, meter: Meter) -> None:
    """Report once, after a few steps, what was taken: in a trial that has one of the variables."""
    if not any(name in os.environ for name in (*NCCL, GLOO)):
        return
    reported = False

    def witness(_: Any) -> None:
        nonlocal reported
        if not reported and meter.step >= SETTLED_STEPS:
            reported = True
            value = {"told": told_by_nccl(probe.settings.directory), "interfaces": interfaces_in_use()}
            probe.say("witness", knob="network", value=value)

    meter.at_boundary.append(witness)


def told_by_nccl(directory: str) -> dict[str, str] | None:
    """Variable to the text that this process's NCCL says it took; None where it does not log for us."""
    if not is_ours(os.environ):
        return None
    told: dict[str, str] = {}
    for path in glob.glob(os.path.join(glob.escape(directory), f"{LOG}.*.{os.getpid()}")):
        with open(path, encoding="utf-8", errors="replace") as file:
            told.update(_TOLD.findall(file.read()))
    return told


def interfaces_in_use() -> list[str] | None:
    """Interfaces that this process's connections have the addresses of, loopback left out.

    None where psutil, which DeepSpeed brings, is not there.
    """
    psutil = sys.modules.get("psutil")
    if psutil is None:
        return None
    process = psutil.Process()
    connections = getattr(process, "net_connections", None) or process.connections
    addresses = {each.laddr.ip for each in connections(kind="inet") if each.status == "ESTABLISHED"}
    return sorted(
        name
        for name, found in psutil.net_if_addrs().items()
        if name != "lo" and any(each.address.partition("%")[0] in addresses for each in found)
    )
