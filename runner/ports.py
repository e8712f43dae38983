"""Gives every trial a rendezvous port of its own."""

import random
import socket
from collections.abc import Sequence
from pathlib import Path

from flyball.errors import FlyballError
from flyball.runner.invocation import Invocation, dissect

_LOWEST, _HIGHEST = 20000, 32767
_ATTEMPTS = 200
_used: set[int] = set()


def free_port() -> int:
    """Return a port that nobody listens on and that this process has not given out before.

    It lies below the range from which the kernel takes ports for outgoing connections, so that none of those
    can take it before the trial listens.
    """
    highest = min(_HIGHEST, _ephemeral_start() - 1)
    if highest < _LOWEST:
        highest = _HIGHEST  # a host that gives out nearly every port leaves nothing below its range
    chooser = random.SystemRandom()
    for _ in range(_ATTEMPTS):
        port = chooser.randint(min(_LOWEST, highest - 1000), highest)
        if port not in _used and _is_free(port):
            _used.add(port)
            return port
    raise FlyballError("no free TCP port for the rendezvous of a trial", mend="end what listens on them")


def _ephemeral_start() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _HIGHEST + 1


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def with_port(tokens: Sequence[str], port: int, *, cwd: Path) -> list[str]:
    """Return the command with its rendezvous on ``port``, in the way its launcher takes it.

    A plain script takes MASTER_PORT from the environment, and torchrun's ``--standalone`` finds a port:
    these stay as they are.
    """
    invocation = dissect(tokens, cwd=cwd)
    if invocation.launcher == "deepspeed":
        return _set(invocation, "--master_port", str(port))
    if invocation.launcher == "accelerate":
        return _set(invocation, "--main_process_port", str(port))
    if invocation.launcher != "torchrun" or invocation.option("--standalone") is not None:
        return list(tokens)
    endpoint = invocation.option("--rdzv_endpoint")
    if endpoint is not None and endpoint.value:
        host = endpoint.value.rpartition(":")[0] if ":" in endpoint.value else endpoint.value
        return _set(invocation, "--rdzv_endpoint", f"{host}:{port}")
    return _set(invocation, "--master_port", str(port))


def _set(invocation: Invocation, name: str, value: str) -> list[str]:
    tokens = list(invocation.tokens)
    option = invocation.option(name)
    if option is None:
        start = invocation.options_start
        return [*tokens[:start], f"{name}={value}", *tokens[start:]]
    if option.inline:
        tokens[option.index] = f"{tokens[option.index].partition('=')[0]}={value}"
    else:
        tokens[option.index + 1] = value
    return tokens
