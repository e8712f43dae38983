"""Canaries: no secret shows in what a receiver, its settings, its faults or its answers say of themselves."""

import asyncio
import base64
import html
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.policies.notification.receivers.endpoints import (
    Behaviour,
    answering,
    closing_after,
    echoing,
    endpoint,
    garbling,
)
from tests.policies.notification.receivers.records import notification
from tests.policies.notification.receivers.webhooks import surroundings

from flyball.policies.notification.base import Receiver
from flyball.policies.notification.receivers.masking import MASK, Masking
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
    http = {"header_files": {"X-Key": "key"}, "private_network": True, "timeout_seconds": 60}
    signed = {"type": "webhook", "secret_files": ["signing"], **http}
    basic = {"basic_auth_user": "me", "basic_auth_password_file": "password"}
    return {
        "url": {**signed, "url": url, "bearer_token_file": "token"},
        "url_file": {**signed, "url_file": "url", **basic},
        "alertmanager": {"type": "alertmanager", "urls": [url], "bearer_token_file": "token", **http},
        "apprise": {"type": "apprise", "url_file": "service", "timeout_seconds": 60},
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


TOKEN = "tok/En+0123456789-abcdef=&"
KEY = base64.b64decode(SIGNING.partition("_")[2])


@pytest.mark.parametrize(
    "said",
    [
        TOKEN,
        TOKEN.upper(),
        TOKEN[:12],
        TOKEN[7:19],
        TOKEN.encode().hex(),
        TOKEN.encode().hex().upper()[6:30],
        quote(TOKEN, safe=""),
        quote(TOKEN, safe="").lower(),
        quote(quote(TOKEN[4:20], safe=""), safe=""),
        "".join(f"%{one:02X}" for one in TOKEN.encode()),
        base64.b64encode(TOKEN.encode()).decode(),
        base64.urlsafe_b64encode(TOKEN.encode()).decode().rstrip("="),
        *(
            base64.b64encode(b"Authorization: Bearer "[at:] + TOKEN.encode() + b"!").decode()
            for at in range(3)
        ),
        json.dumps({"token": TOKEN}).replace("/", "\\/").replace("+", "\\u002B"),
        html.escape(TOKEN),
        SIGNING,
        KEY.hex(),
        base64.b64encode(b"x" + KEY).decode(),
        SIGNING[10:22],
    ],
)
def test_a_secret_that_comes_back_in_another_form_or_in_part_is_masked(said: str) -> None:
    masking = Masking([TOKEN, SIGNING, SIGNING.partition("_")[2]])
    masking.add(KEY)
    shown = masking.first_line(f"you sent: {said} :thus")
    assert shown.startswith("you sent: ")
    assert shown.endswith(" :thus")
    assert MASK in shown
    bare = shown.replace(MASK, " ")
    assert not any(run in bare for run in (TOKEN[:6], TOKEN[-8:-2], KEY.hex()[:8], KEY.hex()[-8:]))
    assert sum(map(len, bare.split()[3:])) < 40, "but for what stands beside it nothing is left"


def test_less_than_a_run_of_a_secret_and_ordinary_words_are_shown() -> None:
    masking = Masking([TOKEN])
    text = f"token {TOKEN[:11]} was refused by the gateway, see the manual of 0123456789"
    assert masking.first_line(text) == text


@pytest.mark.parametrize("form", ["base64", "hex", "quoted", "part"])
@pytest.mark.parametrize("status", [200, 401])
def test_what_is_kept_of_an_answer_has_no_secret_in_any_form(tmp_path: Path, form: str, status: int) -> None:
    forms = {
        "base64": base64.b64encode(TOKEN.encode()).decode(),
        "hex": TOKEN.encode().hex(),
        "quoted": quote(TOKEN, safe=""),
        "part": TOKEN[:-6],
    }
    (tmp_path / "token").write_text(TOKEN, "ascii")

    async def send() -> str:
        async with endpoint(answering(status, forms[form].encode())) as server:
            given = {
                "type": "webhook",
                "url": f"http://hooks.example.org:{server.port}/",
                "unsigned": True,
                "bearer_token_file": "token",
                "private_network": True,
            }
            settings = receiver_types()["webhook"].settings.model_validate(given)
            receiver = make_receiver("ops", settings, surroundings(tmp_path))
            answer = await receiver.send(notification())
            await receiver.close()
            return answer.detail

    assert MASK in (said := asyncio.run(send()))
    assert forms[form][:12] not in said


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
