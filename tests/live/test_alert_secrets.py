"""Canaries: no secret of the agent or of a receiver shows anywhere, whatever is asked of it."""

import signal
import sqlite3
import subprocess
from contextlib import closing
from functools import partial
from typing import Any

import httpx2
import pytest
from tests.live.alert_desk import LABELS, PROGRAM, TOKEN, Desk, left, until
from tests.live.scripts.agent_with_dials import types
from tests.live.test_workload import free_port
from tests.live.webhook_server import SECRET
from tests.patience import PATIENCE_SECONDS

from flyball.agent.cli import run
from flyball.agent.wiring import Wiring
from flyball.policies.fingerprint import fingerprint

pytestmark = pytest.mark.live

HOOK = "canary-of-the-url-path"
CANARIES = (SECRET, SECRET.partition("_")[2], TOKEN, HOOK)
RULE_TESTS = """\
policies: [rules.yaml]
tests:
  - name: it is hot
    series: [{series: 'gpu_temperature_celsius{host="a",gpu="0",uuid="u"}', values: '95x4'}]
    alerts: [{at: 1m, alert: Hot, expect: []}]
"""
ALERTS = (
    (0, "list --all", "Hot"),
    (0, "list --all --json", '"Hot"'),
    (0, "show 1", "503"),
    (0, "show 1 --json", "503"),
    (0, "mute alertname=Hot --for 1h --comment why", "Hot"),
    (0, "mute alertname=Slow --for 1h --json", "Slow"),
    (0, "mutes", "why"),
    (0, "mutes --json", "why"),
    (0, "unmute 1", "1"),
    (0, "replay 1 --receiver ops", "ops"),
    (0, "test ops", "delivered"),
    (1, "test nobody", "retry"),
    (2, "test ghost", "ops, nobody"),
)
"""Exit status, command, and a word of what it prints."""
POLICIES = (
    (0, "check rules.yaml", "1 policy in 1 file"),
    (0, "check rules.yaml --json", '"policies": 1'),
    (1, "test tests.yaml", "Hot"),
    (0, "export rules.yaml --format prometheus", "Hot"),
    # Secrets where policies belong.
    (2, "check ops.secret hook.url", "ops.secret"),
    (2, "check ops.secret hook.url --json", "ops.secret"),
    (2, "test hook.token", "hook.token"),
    (2, "export ops.secret", "ops.secret"),
)


def all_tried(history: dict[str, Any]) -> bool:
    told = history.get("notifications", ())
    return len(told) == 2 and all(one["deliveries"] for one in told)


def asked(
    capsys: pytest.CaptureFixture[str], group: str, commands: tuple[tuple[int, str, str], ...], *options: str
) -> str:
    """What the commands of a group print, each of which does what it is for."""
    said = []
    for status, command, word in commands:
        found = run([group, *command.split(), *options], wiring=Wiring(collector_types=types))
        captured = capsys.readouterr()
        assert (found, word in captured.out + captured.err) == (status, True), (command, captured)
        said.append(captured.out + captured.err)
    return "".join(said)


def test_no_secret_is_in_a_log_an_answer_a_command_the_configuration_or_the_database(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    (desk.folder / "tests.yaml").write_text(RULE_TESTS, "utf-8")
    for name, text in (("token", TOKEN), ("hook.token", TOKEN), ("hook.url", f"{desk.server.url}/{HOOK}")):
        (desk.folder / name).write_text(text, "utf-8")
    receivers = (
        "receivers:\n"
        "  ops: {type: webhook, url_file: hook.url, private_network: true, secret_files: [ops.secret], "
        "bearer_token_file: hook.token}\n"
        f"  nobody: {{type: webhook, url: 'http://127.0.0.1:{free_port()}/{HOOK}', private_network: true, "
        "secret_files: [ops.secret]}\n"
    )
    more = "bearer_token_file: token\nlog_level: debug\nallow_admin: true\n"
    desk.server.status = 503
    desk.dial(hot=95)
    with desk.agent(more, receivers) as agent:
        base = agent.url()
        desk.server.until(lambda: desk.server.refused >= 1)
        with httpx2.Client(
            base_url=base, headers={"authorization": f"Bearer {TOKEN}"}, timeout=PATIENCE_SECONDS
        ) as client:
            shown = partial(client.get, f"/api/v1/alerts/{fingerprint(LABELS)}")
            until(lambda: all_tried(shown().json()))
            assert client.post("/-/reload").json()["successful"] is True
            desk.server.status = 200
            pages = [path for path in client.get("/openapi.json").json()["paths"] if "{" not in path]
            said = [client.get(path).text for path in ("/openapi.json", "/docs", *pages)]
            said.append(shown().text)
            desk.server.wait(1)
        config = ("--config", str(agent.config))
        alerts, policies = asked(capsys, "alerts", ALERTS, *config), asked(capsys, "policies", POLICIES)
        # A configuration that is wrong in ways that lead to what it holds.
        agent.write(desk.text(more, receivers.replace("ops.secret", SECRET)))
        agent.process.send_signal(signal.SIGHUP)
        agent.line("not taken over")
        alerts += asked(capsys, "alerts", ((2, "test ops", "secret_files"),), *config)
        agent.write(desk.text(more, receivers))
        assert agent.end() == 0
    assert desk.server.received[0].headers["authorization"] == f"Bearer {TOKEN}"
    command = [*PROGRAM, "agent", "--config", str(agent.config), "--print-config"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS)
    with closing(sqlite3.connect(desk.database())) as database:
        dump = "\n".join(database.iterdump())
    assert "Hot" in dump
    assert "hook.url" in printed.stdout
    places = {
        "log": "".join([*agent.lines, *left(agent)]),
        "answers": "\n".join(said),
        "flyball alerts": alerts,
        "flyball policies": policies,
        "configuration": printed.stdout + printed.stderr,
        "database": dump,
    }
    assert [(place, canary) for place, text in places.items() for canary in CANARIES if canary in text] == []
