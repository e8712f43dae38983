"""What endpoints do, well and badly, and what each becomes."""

import asyncio
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from tests.policies.notification.receivers.endpoints import (
    Behaviour,
    answering,
    certificate,
    closing_after,
    dripping,
    endpoint,
    hanging,
    pouring,
    sending,
    tls_of,
)
from tests.policies.notification.receivers.idle_time import play
from tests.policies.notification.receivers.records import START, notification
from tests.policies.notification.receivers.webhooks import kind_and_reason, surroundings, webhook

from flyball.policies.notification.base import Answer, Delivered, Refused, Retry
from flyball.policies.notification.receivers.http import MOST_BYTES

SHORT = 0.3
"""Seconds that a try may take where the endpoint never ends."""


def told(behaviour: Behaviour, *, tries: int = 1, **settings: Any) -> Answer:
    """What the last of some tries becomes."""

    async def send() -> Answer:
        async with endpoint(behaviour) as server:
            receiver = webhook(f"http://hooks.example.org:{server.port}/alerts", **settings)
            try:
                for _ in range(tries):
                    answer = await receiver.send(notification())
                assert len(server.requests) == tries
                return answer
            finally:
                await receiver.close()

    return play(send())


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, ("Delivered", "")),
        (204, ("Delivered", "")),
        (301, ("Refused", "redirect")),
        (302, ("Refused", "redirect")),
        (308, ("Refused", "redirect")),
        (400, ("Refused", "status")),
        (401, ("Refused", "status")),
        (404, ("Refused", "status")),
        (408, ("Retry", "status")),
        (410, ("Gone", "")),
        (425, ("Retry", "status")),
        (429, ("Retry", "status")),
        (500, ("Retry", "status")),
        (503, ("Retry", "status")),
        (599, ("Retry", "status")),
    ],
)
def test_a_status_is(status: int, expected: tuple[str, str]) -> None:
    body = b"" if status == 204 else b"\n because \x1b[31mof this\nand that"
    answer = told(answering(status, body))
    assert kind_and_reason(answer) == expected
    assert answer.status == status
    if status not in (204, 301, 302, 308):
        assert "because [31mof this" in answer.detail
        assert "that" not in answer.detail


@pytest.mark.parametrize(
    ("status", "text", "seconds"),
    [
        (429, "7", 7.0),
        (503, "0", 0.0),
        (500, "90", 90.0),
        (429, "7200", 3600.0),
        (429, "9" * 5000, 3600.0),
        (429, formatdate(START + 30, usegmt=True), pytest.approx(30, abs=1)),
        (429, formatdate(START - 30, usegmt=True), 0.0),
        (429, "Fri, 31 Dec 9999 23:59:59 GMT", 3600.0),
        (429, "soon", None),
        (429, "-5", None),
        (429, "", None),
    ],
)
def test_retry_after(status: int, text: str, seconds: float | None) -> None:
    answer = told(answering(status, Retry_After=text))
    assert isinstance(answer, Retry)
    assert answer.after_seconds == seconds


def test_a_redirect_is_named_and_not_followed() -> None:
    async def send() -> tuple[Answer, int]:
        async with endpoint(answering(200)) as other:
            place = f"http://hooks.example.org:{other.port}/new"
            async with endpoint(answering(301, Location=place)) as server:
                receiver = webhook(f"http://hooks.example.org:{server.port}/alerts")
                answer = await receiver.send(notification())
                await receiver.close()
            assert place in answer.detail
            return answer, other.connections

    answer, connections = play(send())
    assert isinstance(answer, Refused)
    assert connections == 0


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (hanging, ("Retry", "timeout")),
        (dripping(b"", 0.02), ("Retry", "timeout")),
        (dripping(b"HTTP/1.1 200 OK\r\nX-A: ", 0.02), ("Retry", "timeout")),
        (closing_after(b""), ("Retry", "connection_closed")),
        (closing_after(b"HTTP/1.1 200 OK\r\nContent-Le"), ("Retry", "connection_closed")),
        (closing_after(b"HTTP/1.1 500 No\r\nContent-Length: 10\r\n\r\nab"), ("Retry", "status")),
        (closing_after(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab"), ("Delivered", "")),
        (closing_after(b"220 mail.example.org ESMTP\r\n\r\n"), ("Retry", "bad_answer")),
        (sending(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000), ("Retry", "bad_answer")),
        (sending(b"HTTP/1.1 99 Odd\r\n\r\n"), ("Retry", "bad_answer")),
    ],
    ids=lambda value: "" if callable(value) else "-".join(value),
)
def test_an_endpoint_that_breaks_off(behaviour: Behaviour, expected: tuple[str, str]) -> None:
    answer = told(behaviour, timeout_seconds=SHORT)
    assert kind_and_reason(answer) == expected
    assert answer.detail or isinstance(answer, Delivered)


def test_a_dripping_body_ends_by_the_total_and_the_status_counts() -> None:
    """It never ends by itself, and no single read takes long."""
    head = b"HTTP/1.1 503 Busy\r\nRetry-After: 9\r\nContent-Length: 100000\r\n\r\nwait\n"
    answer = told(dripping(head, 0.02), timeout_seconds=SHORT)
    assert isinstance(answer, Retry)
    assert (answer.status, answer.after_seconds, answer.detail) == (503, 9.0, "status 503: wait")


def test_a_body_of_a_gigabyte_is_cut_off_and_the_connection_closed() -> None:
    counted: list[int] = []
    answer = told(pouring(counted, 10**9))
    assert answer == Delivered(status=200, detail=answer.detail)
    assert len(answer.detail) <= 200
    # What the sockets of both sides hold is sent as well, and no more.
    assert sum(counted) < 100 * MOST_BYTES


def test_a_connection_is_used_again_within_a_burst() -> None:
    async def send() -> int:
        async with endpoint(answering(200, b"ok")) as server:
            receiver = webhook(f"http://hooks.example.org:{server.port}/")
            for _ in range(3):
                assert isinstance(await receiver.send(notification()), Delivered)
            await receiver.close()
            return server.connections

    assert play(send()) == 1


def test_nobody_listens() -> None:
    async def free_port() -> int:
        async with endpoint(hanging) as server:
            return server.port

    port = play(free_port())
    answer = play(webhook(f"http://hooks.example.org:{port}/").send(notification()))
    assert kind_and_reason(answer) == ("Retry", "unreachable")
    assert answer.detail == "Connection refused"


def over_tls(name: str, folder: Path, server_certificate: Path, ca_file: Path | None) -> Answer:
    async def send() -> Answer:
        async with endpoint(answering(200), tls=tls_of(server_certificate)) as server:
            around = surroundings(folder)
            receiver = webhook(f"https://{name}:{server.port}/", around=around, ca_file=ca_file)
            try:
                return await receiver.send(notification())
            finally:
                await receiver.close()

    return play(send())


def test_a_good_certificate_is_for_the_name_though_the_address_was_pinned(tmp_path: Path) -> None:
    mine = certificate(tmp_path, "mine", "DNS:hooks.example.org")
    assert over_tls("hooks.example.org", tmp_path, mine, Path("mine.crt")) == Delivered(status=200)


@pytest.mark.parametrize(
    ("name", "trusted", "says"),
    [
        ("other.example.org", "mine.crt", "other.example.org"),
        ("hooks.example.org", None, "self-signed"),
        ("hooks.example.org", "another.crt", "self-signed"),
        ("127.0.0.1", "mine.crt", "127.0.0.1"),
    ],
)
def test_a_bad_certificate_is_refused(name: str, trusted: str | None, says: str, tmp_path: Path) -> None:
    mine = certificate(tmp_path, "mine", "DNS:hooks.example.org")
    certificate(tmp_path, "another", "DNS:hooks.example.org")
    answer = over_tls(name, tmp_path, mine, trusted and Path(trusted))
    assert kind_and_reason(answer) == ("Refused", "bad_certificate")
    assert says in answer.detail


def test_a_server_that_speaks_no_tls() -> None:
    async def send() -> Answer:
        async with endpoint(hanging) as server:
            receiver = webhook(f"https://hooks.example.org:{server.port}/", timeout_seconds=SHORT)
            return await receiver.send(notification())

    # Closed although the receiver still stands: an open connection would be a warning, and so fail.
    assert kind_and_reason(play(send())) == ("Retry", "timeout")


def test_cancelling_a_try_raises_nothing_else() -> None:
    async def send() -> None:
        async with endpoint(hanging) as server:
            receiver = webhook(f"http://hooks.example.org:{server.port}/")
            task = asyncio.create_task(receiver.send(notification()))
            while not server.requests:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await receiver.close()

    play(send())
