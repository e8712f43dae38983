"""A real Prometheus posts an alert: ours has the same fields, and its times mean the same."""

import asyncio
import json
import queue
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from tests.grafana.prometheus_server import LISTENING
from tests.patience import PATIENCE_SECONDS, fetch
from werkzeug import Request, Response

from flyball.clock import SystemClock
from flyball.history.alert_records import Alert, AlertStatus, Notification
from flyball.policies.fingerprint import fingerprint
from flyball.policies.notification.receivers.alertmanager import AlertmanagerReceiver, AlertmanagerSettings
from flyball.policies.notification.receivers.registry import Surroundings

pytestmark = pytest.mark.live

FOR_SECONDS = 2
RESEND_SECONDS = 5
"""It repeats as often, and takes as long to find its Alertmanagers: what it sends before is lost."""
RULES = """\
groups:
  - name: flyball
    rules:
      - alert: GpuLost
        expr: vector(1)
        for: %ds
        labels: {severity: critical, empty: ""}
        annotations: {summary: gone}
"""
CONFIG = """\
global: {evaluation_interval: 1s}
rule_files: [rules.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ["%s"]}]}]}
"""


@dataclass(frozen=True)
class Posted:
    """One alert as it came, with its path and when."""

    path: str
    content_type: str
    alert: dict[str, Any]
    time: float
    active: float = 0.0
    """When the condition began to hold."""


@pytest.fixture
def posts(httpserver: HTTPServer) -> "queue.Queue[Posted]":
    found: queue.Queue[Posted] = queue.Queue()

    def take(request: Request) -> Response:
        for alert in json.loads(request.get_data()):
            kind = request.headers["Content-Type"]
            found.put(Posted(path=request.path, content_type=kind, alert=alert, time=time.time()))
        return Response(status=200)

    httpserver.expect_request("/api/v2/alerts").respond_with_handler(take)
    return found


@pytest.fixture
def theirs(tmp_path: Path, httpserver: HTTPServer, posts: "queue.Queue[Posted]") -> Iterator[Posted]:
    command = shutil.which("prometheus")
    if command is None:
        pytest.skip("no prometheus: install Debian's package prometheus")
    (tmp_path / "rules.yml").write_text(RULES % FOR_SECONDS, "utf-8")
    (tmp_path / "prometheus.yml").write_text(CONFIG % f"{httpserver.host}:{httpserver.port}", "utf-8")
    options = [
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--rules.alert.resend-delay={RESEND_SECONDS}s",
        "--web.listen-address=127.0.0.1:0",
    ]
    log = tmp_path / "prometheus.log"
    with log.open("w") as output:
        process = subprocess.Popen([command, *options], stdout=output, stderr=subprocess.STDOUT)
    try:
        posted = posts.get(timeout=PATIENCE_SECONDS)
        address = LISTENING.findall(log.read_text("utf-8"))[-1]
        (shown,) = fetch(f"http://{address}/api/v1/alerts").json()["data"]["alerts"]
        yield replace(posted, active=seconds(shown["activeAt"]))
    finally:
        process.kill()
        process.wait()


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def ours(httpserver: HTTPServer, posts: "queue.Queue[Posted]") -> Posted:
    """The same alert from our receiver, that began to hold ``FOR_SECONDS`` before it fired now."""
    labels = {"alertname": "GpuLost", "severity": "critical"}
    now = time.time()
    alert = Alert(
        rule="GpuLost",
        labels={**labels, "empty": ""},
        fingerprint=fingerprint(labels),
        annotations={"summary": "gone"},
        status=AlertStatus.FIRING,
        value=1.0,
        active_time=now - FOR_SECONDS,
        fired_time=now,
    )
    url = httpserver.url_for("/").rstrip("/")
    given = {"type": "alertmanager", "urls": [url], "resend_seconds": RESEND_SECONDS}
    settings = AlertmanagerSettings.model_validate(given)

    async def send() -> None:
        around = Surroundings(clock=SystemClock(), external_url="http://agent:19753")
        receiver = AlertmanagerReceiver("am", settings, around)
        await receiver.send(Notification(webhook_id="m", receiver="am", alert=alert, created_time=now))
        await receiver.close()

    asyncio.run(send())
    return replace(posts.get(timeout=PATIENCE_SECONDS), active=alert.active_time)


def test_we_post_what_prometheus_posts(
    theirs: Posted, httpserver: HTTPServer, posts: "queue.Queue[Posted]"
) -> None:
    while not posts.empty():
        posts.get()
    mine = ours(httpserver, posts)
    assert (mine.path, mine.content_type) == (theirs.path, theirs.content_type)
    assert mine.alert.keys() == theirs.alert.keys()
    for name in ("labels", "annotations"):
        assert mine.alert[name] == theirs.alert[name]
    for one in (theirs, mine):
        # It starts when it fired, not when its condition began, and holds for four repeats.
        assert seconds(one.alert["startsAt"]) - one.active == pytest.approx(FOR_SECONDS, abs=0.002)
        assert seconds(one.alert["endsAt"]) - one.time == pytest.approx(4 * RESEND_SECONDS, abs=2.0)
