"""What Apprise is given to send, and what its answers become; its JSON service shows it."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.policies.notification.receivers.endpoints import Behaviour, answering, endpoint, hanging
from tests.policies.notification.receivers.records import firing, notification, resolved
from tests.policies.notification.receivers.webhooks import URL, kind_and_reason, surroundings

from flyball.errors import OptionError
from flyball.history.alert_records import Alert
from flyball.policies.notification.base import Answer, Delivered
from flyball.policies.notification.receivers.apprise import AppriseReceiver, AppriseSettings, notify

pytestmark = pytest.mark.usefixtures("apprise_loaded")


def made(folder: Path, url: str, **settings: Any) -> AppriseReceiver:
    (folder / "url").write_text(url, "utf-8")
    given = {"type": "apprise", "url_file": "url", **settings}
    return AppriseReceiver("chat", AppriseSettings.model_validate(given), surroundings(folder))


def told(folder: Path, alert: Alert, behaviour: Behaviour, **settings: Any) -> tuple[Answer, dict[str, Any]]:
    """The answer, and what the service got."""

    async def send() -> tuple[Answer, dict[str, Any]]:
        async with endpoint(behaviour) as server:
            receiver = made(folder, f"json://127.0.0.1:{server.port}/hook", **settings)
            answer = await receiver.send(notification(alert))
            await receiver.close()
            return answer, json.loads(server.requests[0].body) if server.requests else {}

    return asyncio.run(send())


@pytest.mark.parametrize(
    ("alert", "title", "kind"),
    [
        (firing(), "[FIRING] GpuLost (critical)", "failure"),
        (firing(severity="warning"), "[FIRING] GpuLost (warning)", "warning"),
        (firing(severity="info"), "[FIRING] GpuLost (info)", "info"),
        (firing(severity=""), "[FIRING] GpuLost (no severity)", "info"),
        (resolved(firing()), "[RESOLVED] GpuLost (critical)", "success"),
    ],
)
def test_what_is_sent(tmp_path: Path, alert: Alert, title: str, kind: str) -> None:
    answer, sent = told(tmp_path, alert, answering(200))
    assert answer == Delivered(detail="json")
    assert (sent["title"], sent["type"]) == (title, kind)
    assert sent["message"].split("\n") == [
        'GPU 3 of "node-7" is gone',
        "gpu=3, host=node-7",
        "https://example.org/gpu?a=1&b=<2>",
        f"{URL}/api/v1/alerts/{alert.fingerprint}",
    ]


def test_a_service_that_fails_is_tried_again(tmp_path: Path) -> None:
    answer, _ = told(tmp_path, firing(), answering(500))
    assert kind_and_reason(answer) == ("Retry", "apprise_failed")
    assert answer.detail.startswith("json: Apprise could not send; see why with the command apprise")


def test_a_service_that_hangs_ends_by_the_receivers_time(tmp_path: Path) -> None:
    answer, _ = told(tmp_path, firing(), hanging, timeout_seconds=0.3)
    assert kind_and_reason(answer) == ("Retry", "timeout")


def test_a_lost_file_is_an_answer(tmp_path: Path) -> None:
    receiver = made(tmp_path, "json://localhost")
    (tmp_path / "url").unlink()
    assert kind_and_reason(asyncio.run(receiver.send(notification()))) == ("Refused", "secret_unreadable")


def test_without_the_extra_the_mend_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(
        OptionError, match=r"Apprise is not installed; install it with: pip install 'flyball\[app"
    ):
        made(tmp_path, "json://localhost")


def test_a_url_that_apprise_does_not_know_sends_nothing() -> None:
    assert not notify("hunter2://x", firing(), URL)
