"""The network interfaces that ranks of several hosts can talk over."""

import socket

import psutil

LOOPBACK, CONTAINERS = "lo", "docker"
"""Beginnings of names that NCCL leaves out by itself, too."""


def usable_interfaces() -> tuple[str, ...]:
    """Return the interfaces that are up, have an IP address and are neither loopback nor Docker's."""
    states = psutil.net_if_stats()
    return tuple(
        sorted(
            name
            for name, addresses in psutil.net_if_addrs().items()
            if name in states
            and states[name].isup
            and not name.startswith((LOOPBACK, CONTAINERS))
            and any(each.family in (socket.AF_INET, socket.AF_INET6) for each in addresses)
        )
    )
