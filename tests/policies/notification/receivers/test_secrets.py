"""Canaries: no secret shows in what a receiver, its settings, its faults or its answers say of themselves."""

import asyncio
import base64
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.policies.notification.receivers.endpoints import (
    Behaviour,
    closing_after,
    echoing,
    endpoint,
    garbling,
)
from tests.policies.notification.receivers.records import notification
from tests.policies.notification.receivers.webhooks import surroundings

from flyball.policies.notification.base import Receiver
from flyball.policies.notification.receivers.masking import Masking
from flyball.policies.notification.receivers.registry import make_receiver, receiver_types
from flyball.policies.notification.receivers.web_address import WebAddress

SIGNING = "whsec_Q0FOQVJZY2FuYXJ5Q0FOQVJZY2FuYXJ5Q0FOQVJZ"
CANARIES = {
    "signing": SIGNING,
    "token": "canary-token-1",
    "key": "canary-key-22",
    "password": "canary-password-333",
}
PATH, QUERY = "/services/canary-path-4444", "key=canary-query-55555"
BASIC = base64.b64encode(b"me:canary-password-333").decode("ascii")
ALL = (
    *CANARIES.values(),
    SIGNING.partition("_")[2],
    "canary-path-4444",
    "canary-query-55555",
    "bWU6Y2FuYXJ5",
)


def clean(text: str) -> bool:
    return not any(canary in text for canary in ALL)


def kinds(port: int) -> Mapping[str, dict[str, Any]]:
    url = f"http://hooks.example.org:{port}{PATH}?{QUERY}"
    http = {"header_files": {"X-Key": "key"}, "private_network": True, "timeout_seconds": 1}
    signed = {"type": "webhook", "secret_files": ["signing"], **http}
    basic = {"basic_auth_user": "me", "basic_auth_password_file": "password"}
    return {
        "url": {**signed, "url": url, "bearer_token_file": "token"},
        "url_file": {**signed, "url_file": "url", **basic},
        "alertmanager": {"type": "alertmanager", "urls": [url], "bearer_token_file": "token", **http},
        "apprise": {"type": "apprise", "url_file": "service", "timeout_seconds": 1},
    }


@pytest.mark.parametrize("kind", ["url", "url_file", "alertmanager", "apprise"])
@pytest.mark.parametrize(
    "behaviour",
    [*map(echoing, (200, 301, 404, 410, 503)), garbling, closing_after(b"")],
    ids=["200", "301", "404", "410", "503", "garbage", "close"],
)
def test_nothing_shows(
    tmp_path: Path, kind: str, behaviour: Behaviour, caplog: pytest.LogCaptureFixture, apprise_loaded: None
) -> None:
    for name, text in CANARIES.items():
        (tmp_path / name).write_text(text, "ascii")
    caplog.set_level(logging.DEBUG)
    said: list[str] = []

    async def send() -> None:
        async with endpoint(behaviour) as server:
            url = f"http://hooks.example.org:{server.port}{PATH}?{QUERY}"
            (tmp_path / "url").write_text(url, "ascii")
            service = f"json://canary-token-1:canary-password-333@127.0.0.1:{server.port}{PATH}?{QUERY}"
            (tmp_path / "service").write_text(service, "ascii")
            given = kinds(server.port)[kind]
            settings = receiver_types()[given["type"]].settings.model_validate(given)
            receiver: Receiver = make_receiver("ops", settings, surroundings(tmp_path))
            said.extend(
                (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump()))
            )
            answer = await receiver.send(notification())
            said.extend((repr(answer), repr(receiver), repr(getattr(receiver, "heard", None))))
            await receiver.close()
            heard = json.dumps([server.requests[0].target, dict(server.requests[0].headers)])
            assert not clean(heard), "else this could not fail"

    asyncio.run(send())
    said.extend(record.getMessage() for record in caplog.records)
    assert [text for text in said if not clean(text)] == []
    assert any("ops" in text for text in said)


def test_an_address_shows_where_it_leads_and_not_how() -> None:
    address = WebAddress.parse("https://hooks.example.org:8443/services/T0/B0?x=1#y")
    assert str(address) == "https://hooks.example.org:8443/***"
    assert repr(address) == "WebAddress(https://hooks.example.org:8443/***)"
    assert str(WebAddress.parse("http://alertmanager:9093/")) == "http://alertmanager:9093"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no secret here", "no secret here"),
        ("hunter2 and hunter22", "*** and ***"),
        ("/hooks/hunter2 gone", "*** gone"),
        (b"\n\r\n  \xff\x00one\t two \nthree", "\ufffd one two"),
        ("x" * 300, "x" * 199 + "…"),
        ("y" * 196 + "hunter22", "y" * 196 + "***"),
    ],
)
def test_a_line_that_is_fit_to_be_shown(text: str | bytes, shown: str) -> None:
    masking = Masking(["hunter2", "hunter22", "/hooks/hunter2", "a"])
    assert masking.first_line(text) == shown
    assert "hunter" not in repr(masking)
