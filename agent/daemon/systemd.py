"""Tells systemd how the service is doing (sd_notify(3)), and keeps its watchdog quiet."""

import os
import socket
import time


def notify(*lines: str) -> None:
    """Send one message; nothing where no service manager listens or it has gone."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address or address[0] not in "/@":
        return
    if address[0] == "@":  # a name in the abstract space
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
        try:
            connection.connect(address)
            connection.sendall("\n".join(lines).encode())
        except OSError:  # the training must not notice, and nobody else would
            return


def reloading() -> None:
    """Say that the configuration is read anew; ``READY=1`` ends it."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_seconds() -> float | None:
    """How often to send ``WATCHDOG=1``: half of what systemd allows; None where it does not watch us."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    watched = os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdigit() or int(microseconds) <= 0 or watched not in ("", str(os.getpid())):
        return None
    return int(microseconds) / 2e6
