"""A real Alertmanager: it takes what we post, shows it, forwards it, and writes the body that we write."""

import asyncio
import json
import queue
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from tests.live.alertmanager_process import Alertmanager, alertmanager
from tests.patience import PATIENCE_SECONDS
from werkzeug import Request, Response

from flyball.clock import SystemClock
from flyball.history.alert_records import Alert, AlertStatus, Notification
from flyball.policies.fingerprint import fingerprint
from flyball.policies.notification.base import Answer, Delivered
from flyball.policies.notification.receivers.alertmanager import AlertmanagerReceiver, AlertmanagerSettings
from flyball.policies.notification.receivers.body import webhook_body
from flyball.policies.notification.receivers.registry import Surroundings

pytestmark = pytest.mark.live

URL = "http://agent.example.org:19753"
LABELS = (
    {"alertname": "GpuLost", "gpu": "3", "host": "node-7", "severity": "critical", "uuid": ""},
    {"alertname": "Odd", "host": 'a "b" \\ c', "run": "Zürich 東京 😀\tx", "severity": "info"},
    {"alertname": "Odd", "host": "\u200b\u00a0\x7f\u2028{}", "run": "a\nb", "severity": "warning"},
)
ANNOTATIONS = {"summary": 'GPU 3 is "gone" & <lost>', "description": "one\ntwo", "empty": ""}


@dataclass(frozen=True)
class Place:
    """One Alertmanager, and what it forwarded."""

    command: str
    folder: Path
    hook: str
    server: Alertmanager
    bodies: "queue.Queue[dict[str, Any]]"

    def receiver(self) -> AlertmanagerReceiver:
        settings = AlertmanagerSettings.model_validate({"type": "alertmanager", "urls": [self.server.url]})
        return AlertmanagerReceiver("am", settings, Surroundings(clock=SystemClock(), external_url=URL))

    def forwarded(self) -> dict[str, Any]:
        """The next body that it sent."""
        return self.bodies.get(timeout=PATIENCE_SECONDS)


@pytest.fixture
def place(tmp_path: Path, httpserver: HTTPServer) -> Iterator[Place]:
    command = shutil.which("prometheus-alertmanager")
    if command is None or shutil.which("amtool") is None:
        pytest.skip("no Alertmanager: install Debian's package prometheus-alertmanager")
    bodies: queue.Queue[dict[str, Any]] = queue.Queue()

    def take(request: Request) -> Response:
        bodies.put(json.loads(request.get_data()))
        return Response(status=200)

    httpserver.expect_request("/hook").respond_with_handler(take)
    hook = httpserver.url_for("/hook")
    with alertmanager(command, tmp_path / "first", webhook_url=hook, external_url=URL) as server:
        yield Place(command=command, folder=tmp_path, hook=hook, server=server, bodies=bodies)


def firing(labels: dict[str, str]) -> Alert:
    """An alert that fires since a moment ago."""
    filled = {name: value for name, value in labels.items() if value}
    now = round(time.time() - 5, 3)
    return Alert(
        rule=labels["alertname"],
        labels=labels,
        fingerprint=fingerprint(filled),
        annotations=ANNOTATIONS,
        status=AlertStatus.FIRING,
        value=1.0,
        active_time=now - 60,
        fired_time=now,
    )


def sent(place: Place, alert: Alert) -> Answer:
    async def send() -> Answer:
        receiver = place.receiver()
        notification = Notification(webhook_id="msg_1", receiver="am", alert=alert, created_time=time.time())
        try:
            return await receiver.send(notification)
        finally:
            await receiver.close()

    return asyncio.run(send())


def ours(alert: Alert) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(webhook_body(alert, receiver="ops", external_url=URL))
    return found


@pytest.mark.parametrize("labels", LABELS, ids=["plain", "quoted", "unprintable"])
def test_its_body_is_ours_field_for_field_firing_and_resolved(place: Place, labels: dict[str, str]) -> None:
    alert = firing(labels)
    assert sent(place, alert) == Delivered(status=200, detail="")
    assert place.forwarded() == ours(alert)
    over = replace(alert, status=AlertStatus.RESOLVED, resolved_time=round(time.time() - 1, 3))
    assert sent(place, over) == Delivered(status=200, detail="")
    assert place.forwarded() == ours(over)


def test_amtool_shows_what_was_posted(place: Place) -> None:
    alert = firing(LABELS[0])
    sent(place, alert)
    (shown,) = place.server.amtool()
    assert shown["labels"] == {name: value for name, value in LABELS[0].items() if value}
    assert shown["annotations"] == ANNOTATIONS
    assert shown["fingerprint"] == alert.fingerprint
    assert shown["generatorURL"] == f"{URL}/api/v1/alerts/{alert.fingerprint}"
    assert shown["status"]["state"] == "active"


def test_a_killed_one_that_comes_back_empty_is_told_again(place: Place) -> None:
    alert = firing(LABELS[0])
    heard: list[Answer] = []

    async def keep() -> None:
        receiver = place.receiver()

        async def wait(seconds: float) -> None:
            raise asyncio.CancelledError  # one round is enough

        with pytest.raises(asyncio.CancelledError):
            await receiver.keep(lambda: [alert], heard=heard.append, wait=wait)
        await receiver.close()

    asyncio.run(keep())
    assert place.forwarded() == ours(alert)
    place.server.kill()
    asyncio.run(keep())
    assert [type(answer).__name__ for answer in heard] == ["Delivered", "Retry"]
    again = alertmanager(
        place.command,
        place.folder / "second",
        webhook_url=place.hook,
        external_url=URL,
        address=place.server.address,
    )
    with again as server:
        assert server.amtool() == []
        asyncio.run(keep())
        (shown,) = server.amtool()
        assert shown["fingerprint"] == alert.fingerprint
        assert place.forwarded() == ours(alert)
