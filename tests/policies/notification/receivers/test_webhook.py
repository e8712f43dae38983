"""What a webhook sends: body, signature, credentials, and one id for all its tries."""

import asyncio
import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook
from tests.policies.notification.receivers.endpoints import Request, answering, endpoint
from tests.policies.notification.receivers.records import FixedClock, firing, notification
from tests.policies.notification.receivers.webhooks import URL, kind_and_reason, surroundings, webhook

from flyball.clock import SystemClock
from flyball.policies.notification.base import Answer
from flyball.policies.notification.receivers.body import webhook_body

OLD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")


def sent(folder: Path, clock: Any = None, **settings: Any) -> Request:
    """What one notification looks like to the server."""

    async def send() -> Request:
        async with endpoint(answering(200)) as server:
            around = surroundings(folder, clock=clock)
            receiver = webhook(f"http://hooks.example.org:{server.port}/a/b?c=d", around=around, **settings)
            await receiver.send(notification())
            await receiver.close()
            return server.requests[0]

    return asyncio.run(send())


def test_the_body_goes_to_the_whole_url(tmp_path: Path) -> None:
    request = sent(tmp_path)
    assert request.target == "/a/b?c=d"
    assert request.body == webhook_body(firing(), receiver="ops", external_url=URL)
    assert request.headers["content-type"] == "application/json"
    assert request.headers["host"].startswith("hooks.example.org:")
    assert request.headers["user-agent"].startswith("flyball/")
    assert request.headers["webhook-id"] == "msg_1"
    assert "webhook-signature" not in request.headers


def test_what_arrives_verifies_with_each_secret(tmp_path: Path) -> None:
    write(tmp_path, new=NEW + "\n", old=OLD)
    request = sent(tmp_path, SystemClock(), secret_files=["new", "old"])
    for secret in (NEW, OLD):
        Webhook(secret).verify(request.body, dict(request.headers))


def test_a_second_try_has_the_same_id_and_body_and_its_own_time(tmp_path: Path) -> None:
    write(tmp_path, new=NEW)
    clock = FixedClock()

    async def send() -> Sequence[Request]:
        async with endpoint(answering(503)) as server:
            around = surroundings(tmp_path, clock=clock)
            receiver = webhook(f"http://x.org:{server.port}/", around=around, secret_files=["new"])
            await receiver.send(notification())
            clock.now += 400
            await receiver.send(notification())
            await receiver.close()
            return server.requests

    first, second = asyncio.run(send())
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 400
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


def test_headers_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, key="k-123456\n", token="t-123456\n")
    request = sent(
        tmp_path,
        headers={"X-Scope-OrgID": "team"},
        header_files={"X-Api-Key": "key"},
        bearer_token_file="token",
    )
    assert request.headers["x-scope-orgid"] == "team"
    assert request.headers["x-api-key"] == "k-123456"
    assert request.headers["authorization"] == "Bearer t-123456"


def test_basic_auth(tmp_path: Path) -> None:
    write(tmp_path, password="p:w\n")
    request = sent(tmp_path, basic_auth_user="me", basic_auth_password_file="password")
    assert base64.b64decode(request.headers["authorization"].removeprefix("Basic ")) == b"me:p:w"


def test_a_url_from_a_file(tmp_path: Path) -> None:
    async def send() -> Request:
        async with endpoint(answering(200)) as server:
            write(tmp_path, url=f"http://hooks.example.org:{server.port}/T0/secret\n")
            around = surroundings(tmp_path)
            receiver = webhook(None, around=around, url_file="url")
            await receiver.send(notification())
            await receiver.close()
            return server.requests[0]

    assert asyncio.run(send()).target == "/T0/secret"


def test_a_rotated_secret_counts_at_the_next_try_and_a_lost_one_is_an_answer(tmp_path: Path) -> None:
    write(tmp_path, secret=OLD)

    async def send() -> tuple[Sequence[Request], Answer]:
        async with endpoint(answering(200)) as server:
            around = surroundings(tmp_path, clock=SystemClock())
            receiver = webhook(f"http://x.org:{server.port}/", around=around, secret_files=["secret"])
            await receiver.send(notification())
            write(tmp_path, secret=NEW)
            await receiver.send(notification())
            (tmp_path / "secret").unlink()
            last = await receiver.send(notification())
            await receiver.close()
            return server.requests, last

    requests, last = asyncio.run(send())
    for secret, request in zip((OLD, NEW), requests, strict=True):
        Webhook(secret).verify(request.body, dict(request.headers))
    assert kind_and_reason(last) == ("Refused", "secret_unreadable")
    assert last.detail == f"{tmp_path / 'secret'}: No such file or directory"


@pytest.mark.parametrize("status", [200, 404])
def test_what_was_heard_is_kept_for_whoever_tries_it_out(status: int, tmp_path: Path) -> None:
    async def send() -> None:
        async with endpoint(answering(status, b"one\ntwo", Server="nginx", X_Other="x")) as server:
            receiver = webhook(f"http://x.org:{server.port}/")
            assert receiver.heard is None
            await receiver.send(notification())
            await receiver.close()
        assert receiver.heard is not None
        assert (receiver.heard.status, receiver.heard.first_line) == (status, "one")
        assert receiver.heard.headers == {"server": "nginx"}

    asyncio.run(send())
