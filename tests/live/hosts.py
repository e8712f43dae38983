"""Two hosts on one machine: a network namespace and a host name each, joined by a link of their own.

Needs root, ``ip`` and ``tc``. What a test process that was killed left behind is removed by the next one that
makes hosts: the names of namespaces hold the process that made them.
"""

import itertools
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from flyball.runner.process_tree import is_orphaned, own_marker

MBIT_100 = ("rate", "100mbit", "burst", "256kb", "latency", "50ms")
"""12.5 MB/s in each direction, as ``tc tbf`` takes it."""
_PREFIX = "flyball-"
_OVERLAYS = Path("/etc/netns")
"""``ip netns exec`` mounts the files of a namespace's folder here over those in /etc."""
_NOBODY = "02:00:00:00:00:01"
"""A hardware address that no device of a pair has."""
_serial = itertools.count()


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """What an interface has carried, in bytes, headers of packets included."""

    sent: int
    received: int

    def since(self, before: "Traffic") -> "Traffic":
        """What came on top of an earlier reading."""
        return Traffic(sent=self.sent - before.sent, received=self.received - before.received)


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """One end of a link; its processes see this name, this address and no network but the link."""

    namespace: str
    device: str
    address: str
    name: str

    def command(self, *words: str) -> list[str]:
        """The command line that runs ``words`` on this host, gloo on its end of the link."""
        named = f'hostname {self.name}; exec "$@"'
        inside = ["ip", "netns", "exec", self.namespace, "env", f"GLOO_SOCKET_IFNAME={self.device}"]
        return [*inside, "unshare", "--uts", "sh", "-c", named, "sh", *words]

    def shape(self, *how: str) -> None:
        """Shape what this host sends by ``tc tbf``, in place of what was; with no words, no longer at all."""
        self._run("tc", "qdisc", "del", "dev", self.device, "root", check=False)
        if how:
            self._run("tc", "qdisc", "add", "dev", self.device, "root", "tbf", *how)

    def traffic(self) -> Traffic:
        """What the kernel has counted at this end of the link."""
        shown = _ip("-n", self.namespace, "-s", "-j", "link", "show", "dev", self.device)
        (link,) = json.loads(shown)
        counted = link["stats64"]
        return Traffic(sent=counted["tx"]["bytes"], received=counted["rx"]["bytes"])

    def end_processes(self) -> None:
        """Kill whatever runs here, as when the power fails."""
        _end_all(self.namespace)

    def lose(self, other: "Host") -> None:
        """Have every packet to the other host vanish on its way, as over a cable that is cut."""
        self._neighbour(other, _NOBODY)

    def find(self, other: "Host") -> None:
        """Have packets to the other host arrive again."""
        shown = _ip("-n", other.namespace, "-j", "link", "show", "dev", other.device)
        self._neighbour(other, json.loads(shown)[0]["address"])

    def _neighbour(self, other: "Host", hardware: str) -> None:
        where = ("neigh", "replace", other.address, "lladdr", hardware, "nud", "permanent")
        _ip("-n", self.namespace, *where, "dev", self.device)

    def _run(self, *words: str, check: bool = True) -> None:
        subprocess.run(["ip", "netns", "exec", self.namespace, *words], capture_output=True, check=check)


def missing() -> str | None:
    """Why no hosts can be made here, or None where they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [name for name in ("ip", "tc", "unshare") if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


@contextmanager
def two_hosts(*shape: str) -> Iterator[tuple[Host, Host]]:
    """Make ``host-a`` and ``host-b``, each of whom knows the other by name; they and all on them end with it.

    Args:
        shape: of the link in both directions, as ``Host.shape`` takes it.
    """
    remove_leftovers()
    unique = f"{_PREFIX}{own_marker(next(_serial))}"
    first, second = (
        Host(
            namespace=f"{unique}-{side}",
            device=f"veth-{side}",
            address=f"10.97.0.{number}",
            name=f"host-{side}",
        )
        for number, side in enumerate("ab", 1)
    )
    pair = (first, second)
    try:
        for host in pair:
            _name_hosts(host.namespace, pair)
            _ip("netns", "add", host.namespace)
        peer = ("type", "veth", "peer", "name", second.device, "netns", second.namespace)
        _ip("-n", first.namespace, "link", "add", first.device, *peer)
        for host in pair:
            inside = ("-n", host.namespace)
            _ip(*inside, "addr", "add", f"{host.address}/24", "dev", host.device)
            _ip(*inside, "link", "set", host.device, "up")
            _ip(*inside, "link", "set", "lo", "up")
            host.shape(*shape)
        yield pair
    finally:
        for host in pair:
            _remove(host.namespace)


@contextmanager
def cut(hosts: tuple[Host, Host]) -> Iterator[None]:
    """Lose all packets between the two for as long as it is entered; neither end is told.

    What a host sends into the cut still counts as its traffic.
    """
    first, second = hosts
    first.lose(second)
    second.lose(first)
    try:
        yield
    finally:
        first.find(second)
        second.find(first)


def remove_leftovers() -> None:
    """Remove the hosts of processes that are gone, and what still runs on them."""
    overlaid = [path.name for path in _OVERLAYS.iterdir()] if _OVERLAYS.is_dir() else []
    for namespace in {*namespaces(), *overlaid}:
        marker = namespace.removeprefix(_PREFIX).rpartition("-")[0]
        if namespace.startswith(_PREFIX) and is_orphaned(marker):
            _remove(namespace)


def namespaces() -> Sequence[str]:
    """The names of all network namespaces of this machine."""
    return [line.split()[0] for line in _ip("netns", "list").splitlines()]


def _name_hosts(namespace: str, hosts: Sequence[Host]) -> None:
    folder = _OVERLAYS / namespace
    folder.mkdir(parents=True)
    lines = ["127.0.0.1 localhost", *(f"{host.address} {host.name}" for host in hosts)]
    (folder / "hosts").write_text("\n".join(lines) + "\n", "utf-8")


def _remove(namespace: str) -> None:
    """Remove a namespace with all that runs in it; one that another process removes meanwhile is no error."""
    _end_all(namespace)
    _tried("netns", "del", namespace)
    shutil.rmtree(_OVERLAYS / namespace, ignore_errors=True)


def _end_all(namespace: str) -> None:
    while pids := _tried("netns", "pids", namespace).split():
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def _tried(*words: str) -> str:
    return subprocess.run(["ip", *words], check=False, capture_output=True, text=True).stdout
