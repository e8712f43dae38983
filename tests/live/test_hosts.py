"""The two hosts of other live tests: names, bytes, a link that is shaped, cut and healed, and no traces."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.live.hosts import Host, cut, namespaces, remove_leftovers
from tests.patience import PATIENCE_SECONDS

from flyball.runner.process_tree import read_process

pytestmark = pytest.mark.live

MIB = 1 << 20
ROOT = Path(__file__).parents[2]
ECHO = """
import socket
there, _ = socket.create_server(("", 29701)).accept()
while got := there.recv(65536):
    there.sendall(got)
"""
SEND = """
import socket, sys
here = socket.create_connection(("host-b", 29701))
for line in sys.stdin:
    data = b"x" * int(line)
    here.sendall(data)
    left = len(data)
    while left:
        left -= len(here.recv(65536))
    print(socket.gethostname(), flush=True)
"""


class Conversation:
    """A connection from the first host to the second, which sends all back."""

    def __init__(self, sender: "subprocess.Popen[str]") -> None:
        self._sender = sender

    def send(self, size: int) -> None:
        assert self._sender.stdin is not None
        self._sender.stdin.write(f"{size}\n")
        self._sender.stdin.flush()

    def back(self) -> str:
        """Wait until all has come back; the name of the host that it came back to."""
        assert self._sender.stdout is not None
        return self._sender.stdout.readline().strip()


@contextmanager
def conversation(hosts: tuple[Host, Host]) -> Iterator[Conversation]:
    first, second = hosts
    echo = subprocess.Popen(second.command(sys.executable, "-c", ECHO))
    while not listening(second):
        assert echo.poll() is None
    sender = subprocess.Popen(
        first.command(sys.executable, "-c", SEND), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with echo, sender:
        try:
            yield Conversation(sender)
        finally:
            sender.kill()
            echo.kill()


def listening(host: Host) -> bool:
    shown = subprocess.run(
        host.command("cat", "/proc/net/tcp"), capture_output=True, text=True, check=True
    ).stdout
    return f":{29701:04X} 00000000:0000 0A" in shown


def test_bytes_are_counted_at_the_interface_and_a_shaped_link_takes_its_time(
    hosts: tuple[Host, Host],
) -> None:
    first, second = hosts
    with conversation(hosts) as talk:
        before = first.traffic(), second.traffic()
        talk.send(MIB)
        assert talk.back() == "host-a"
        for host, was in zip(hosts, before, strict=True):
            carried = host.traffic().since(was)
            # Headers, acknowledgements and what is sent again come on top.
            assert MIB <= carried.sent < 1.1 * MIB
            assert MIB <= carried.received < 1.1 * MIB
        for host in hosts:
            host.shape("rate", "16mbit", "burst", "16kb", "latency", "50ms")
        began = time.monotonic()
        talk.send(MIB)
        talk.back()
        # 16 Mbit/s are 2 MB/s. What is sent back is on its way while the rest still comes.
        assert time.monotonic() - began > 0.4


def test_what_is_sent_over_a_link_that_is_cut_arrives_when_it_is_healed(hosts: tuple[Host, Host]) -> None:
    _, second = hosts
    with conversation(hosts) as talk:
        talk.send(1)
        talk.back()
        before = second.traffic()
        with cut(hosts):
            talk.send(1)
            while second.traffic() == before:
                pass
        assert talk.back() == "host-a"


ABANDONS = """
import subprocess, sys
from tests.live.hosts import two_hosts
with two_hosts() as (first, second):
    left = subprocess.Popen(second.command("sleep", "1000"))
    while b"sleep" not in open(f"/proc/{left.pid}/cmdline", "rb").read(6):
        pass
    print(first.namespace, second.namespace, left.pid, flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_test_left_is_removed_by_the_next(hosts: tuple[Host, Host]) -> None:
    abandoning = subprocess.Popen(
        [sys.executable, "-c", ABANDONS],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with abandoning:
        assert abandoning.stdout is not None
        first, second, left = abandoning.stdout.readline().split()
        remove_leftovers()
        assert {first, second} < set(namespaces()), "its maker lives"
        abandoning.kill()
        abandoning.wait(PATIENCE_SECONDS)
    remove_leftovers()
    assert not {first, second} & set(namespaces())
    assert not (Path("/etc/netns") / first).exists()
    assert ended(int(left))
    assert {host.namespace for host in hosts} < set(namespaces()), "those of the living stay"


def ended(pid: int) -> bool:
    process = read_process(pid)
    return process is None or process.exit_status is not None
