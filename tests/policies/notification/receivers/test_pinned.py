"""Names that resolve to where a receiver must not go, at once or only at the second look."""

import asyncio
import socket
from collections.abc import Iterable, Sequence
from typing import Any

import httpcore2
import pytest
from tests.policies.notification.receivers.endpoints import FakeResolver, answering, endpoint, resolving
from tests.policies.notification.receivers.records import notification
from tests.policies.notification.receivers.webhooks import kind_and_reason, surroundings, webhook

from flyball.policies.notification.base import Answer, Delivered
from flyball.policies.notification.receivers.pinned import (
    AddressRefused,
    NameNotResolved,
    PinnedBackend,
    Resolve,
    resolve,
)

OTHER = "8.8.8.8"


class FakeNetwork(httpcore2.AsyncNetworkBackend):
    """Remembers where it was asked to connect; ``dead`` addresses do not answer."""

    def __init__(self, dead: Sequence[str] = ()) -> None:
        self.dead = dead
        self.tried: list[tuple[str, int, float | None]] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self.tried.append((host, port, timeout))
        if host in self.dead:
            raise httpcore2.ConnectTimeout
        return httpcore2.AsyncMockStream([])


def connect(resolver: Resolve, network: FakeNetwork, *, private: bool = False) -> None:
    backend = PinnedBackend(private_network=private, resolve=resolver, inner=network)
    asyncio.run(backend.connect_tcp("hooks.example.org", 443, 6.0))


@pytest.mark.parametrize(
    ("addresses", "private", "says"),
    [
        (["127.0.0.1"], False, "resolves to 127.0.0.1, which is private; set private_network: true"),
        (["10.1.2.3"], False, "private"),
        (["100.64.1.1"], False, "private"),
        (["fd12::1"], False, "private"),
        (["::ffff:10.1.2.3"], False, "private"),
        (["169.254.169.254"], False, "is never connected to"),
        (["169.254.169.254"], True, "is never connected to"),
        (["fd00:ec2::254"], True, "is never connected to"),
        (["fe80::1%eth0"], True, "is never connected to"),
        (["0.0.0.0"], True, "is never connected to"),
        (["64:ff9b::a9fe:a9fe"], True, "is never connected to"),
        # One bad address among good ones: which of them is used must not be left to chance.
        ([OTHER, "10.1.2.3"], False, "private"),
        (["10.1.2.3", "169.254.169.254"], True, "is never connected to"),
    ],
)
def test_an_address_that_is_refused_is_not_connected_to(
    addresses: Sequence[str], private: bool, says: str
) -> None:
    network = FakeNetwork()
    with pytest.raises(AddressRefused, match=says):
        connect(resolving(addresses), network, private=private)
    assert network.tried == []


@pytest.mark.parametrize(("addresses", "private"), [([OTHER], False), (["10.1.2.3"], True), (["::1"], True)])
def test_what_is_allowed_is_connected_to_by_its_address(addresses: Sequence[str], private: bool) -> None:
    network = FakeNetwork()
    connect(resolving(addresses), network, private=private)
    assert [(host, port) for host, port, _ in network.tried] == [(addresses[0], 443)]


def test_the_next_address_is_tried_within_the_same_time() -> None:
    network = FakeNetwork(dead=[OTHER])
    connect(resolving([OTHER, "1.1.1.1", "9.9.9.9"]), network)
    assert [host for host, _, _ in network.tried] == [OTHER, "1.1.1.1"]
    first, second = (seconds for _, _, seconds in network.tried)
    assert first == pytest.approx(2.0, abs=0.2)
    assert second is not None
    assert second <= 3.0


def test_none_answers() -> None:
    with pytest.raises(httpcore2.ConnectTimeout):
        connect(resolving([OTHER, "1.1.1.1"]), FakeNetwork(dead=[OTHER, "1.1.1.1"]))


def test_a_name_without_addresses() -> None:
    with pytest.raises(NameNotResolved):
        connect(resolving([]), FakeNetwork())


def test_a_socket_of_this_machine_is_refused() -> None:
    with pytest.raises(AddressRefused):
        asyncio.run(PinnedBackend(private_network=True).connect_unix_socket("/run/docker.sock"))


def sent(resolver: FakeResolver, *, private: bool) -> Answer:
    async def send() -> Answer:
        async with endpoint(answering(200)) as server:
            around = surroundings(resolve=resolver)
            receiver = webhook(
                f"http://hooks.example.org:{server.port}/", around=around, private_network=private
            )
            answer = await receiver.send(notification())
            await receiver.close()
            assert bool(server.requests) is isinstance(answer, Delivered)
            return answer

    return asyncio.run(send())


def test_a_name_that_rebinds_is_asked_once_and_goes_where_it_was_checked() -> None:
    """The first answer is allowed; a client that looked the name up again would get the metadata service."""
    resolver = resolving(["127.0.0.1"], ["169.254.169.254"])
    assert isinstance(sent(resolver, private=True), Delivered)
    assert resolver.asked == ["hooks.example.org"]


def test_a_private_name_is_refused_unless_the_receiver_says_so() -> None:
    answer = sent(resolving(["127.0.0.1"]), private=False)
    assert kind_and_reason(answer) == ("Refused", "address_refused")
    assert "private_network: true" in answer.detail


def test_each_new_connection_is_checked_anew() -> None:
    resolver = resolving(["127.0.0.1"], ["169.254.169.254"])

    async def send() -> list[Answer]:
        answers = []
        async with endpoint(answering(200, Connection="close")) as server:
            receiver = webhook(
                f"http://hooks.example.org:{server.port}/", around=surroundings(resolve=resolver)
            )
            for _ in range(2):
                answers.append(await receiver.send(notification()))
            await receiver.close()
        return answers

    first, second = asyncio.run(send())
    assert isinstance(first, Delivered)
    assert kind_and_reason(second) == ("Refused", "address_refused")


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "localhost"])
def test_odd_ways_to_write_loopback_are_seen_through(host: str) -> None:
    receiver = webhook(f"http://{host}:8080/", around=surroundings(resolve=resolve), private_network=False)
    assert kind_and_reason(asyncio.run(receiver.send(notification()))) == ("Refused", "address_refused")


def test_a_name_that_does_not_resolve_is_tried_again() -> None:
    async def nowhere(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    receiver = webhook("http://hooks.example.org/", around=surroundings(resolve=nowhere))
    answer = asyncio.run(receiver.send(notification()))
    assert kind_and_reason(answer) == ("Retry", "name_not_resolved")
    assert answer.detail == "hooks.example.org has no address: Temporary failure in name resolution"


def test_a_name_server_that_hangs_ends_by_the_total() -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    receiver = webhook("http://hooks.example.org/", around=surroundings(resolve=never), timeout_seconds=0.1)
    assert kind_and_reason(asyncio.run(receiver.send(notification()))) == ("Retry", "timeout")


def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert isinstance(sent(resolving(["127.0.0.1"]), private=True), Delivered)
