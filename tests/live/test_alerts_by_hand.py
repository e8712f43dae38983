"""``flyball alerts`` beside a real agent: what is muted, unmuted or replayed is so within 5 s."""

import json
import queue
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from tests.live.agent_process import running
from tests.patience import PATIENCE_SECONDS
from werkzeug import Request, Response

pytestmark = pytest.mark.live

FLYBALL = [sys.executable, "-c", "from flyball.agent.cli import main; main()"]


def policies(*names: str) -> str:
    return "policies:\n" + "".join(
        f"  - {{alert: {name}, metric: host_memory_total_bytes, above: 0, severity: info, "
        "annotations: {summary: it is there, action: none}}\n"
        for name in names
    )


def alerts(folder: Path, *arguments: str) -> str:
    command = [*FLYBALL, "alerts", *arguments, "--config", str(folder / "flyball.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def listed(folder: Path, rule: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(alerts(folder, "list", "--rule", rule, "--json"))
    return found


def test_what_is_done_by_hand_reaches_the_receiver(tmp_path: Path, httpserver: HTTPServer) -> None:
    posted: queue.Queue[tuple[str, str]] = queue.Queue()

    def take(request: Request) -> Response:
        labels = json.loads(request.get_data())["groupLabels"]
        posted.put((labels["alertname"], request.headers["webhook-id"]))
        return Response(status=204)

    httpserver.expect_request("/hook").respond_with_handler(take)
    (tmp_path / "mine.yaml").write_text(policies("First"))
    text = (
        "policies: [mine.yaml]\ncollectors: {host: {interval_seconds: 0.5}}\nreceivers:\n"
        f"  ops: {{type: webhook, url: '{httpserver.url_for('/hook')}', "
        "unsigned: true, private_network: true}\n"
    )
    with running(tmp_path, text, FLYBALL) as agent:
        agent.url()
        first = posted.get(timeout=PATIENCE_SECONDS)

        (alert,) = listed(tmp_path, "First")
        alerts(tmp_path, "replay", str(alert["id"]), "--receiver", "ops")
        assert posted.get(timeout=PATIENCE_SECONDS) == first

        number = json.loads(alerts(tmp_path, "mute", "alertname=Second", "--json"))["id"]
        (tmp_path / "mine.yaml").write_text(policies("First", "Second"))
        agent.process.send_signal(signal.SIGHUP)
        agent.line("configuration taken over")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (second := listed(tmp_path, "Second")) or '"muted"' not in alerts(
            tmp_path, "show", second[0]["fingerprint"], "--json"
        ):
            assert time.monotonic() < deadline
        assert posted.empty()

        alerts(tmp_path, "unmute", str(number))
        name, _ = posted.get(timeout=PATIENCE_SECONDS)
        assert name == "Second"
        assert agent.end() == 0
