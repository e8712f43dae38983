"""The pages of webhooks and receivers: what they show works as it stands, and nothing is missing."""

import asyncio
import json
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from standardwebhooks import WebhookVerificationError
from tests.patience import PATIENCE_SECONDS
from tests.policies.notification.receivers.records import FixedClock, firing, notification
from tests.policies.notification.receivers.webhooks import kind_and_reason, surroundings, webhook

from flyball.clock import SystemClock
from flyball.policies.notification.base import Delivered, Receiver
from flyball.policies.notification.receivers import answers, apprise, posting
from flyball.policies.notification.receivers.body import webhook_body
from flyball.policies.notification.receivers.registry import OWN, make_receiver, receiver_types
from flyball.policies.notification.receivers.secret_files import MAKE_SIGNING_SECRET, signing_secret

DOCS = Path(__file__).parents[4] / "docs"
PAGE = (DOCS / "webhooks.md").read_text("utf-8")
ADDING = (DOCS / "adding_a_receiver.md").read_text("utf-8")


def block(page: str, language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def make_secret(folder: Path) -> None:
    """By the command of the page."""
    command = next(line for line in PAGE.splitlines() if line.startswith("(umask"))
    subprocess.run(["sh", "-c", command], cwd=folder, check=True)


@contextmanager
def documented_server(patch: pytest.MonkeyPatch, faults: list[BaseException]) -> Iterator[str]:
    """The ten lines as they stand, but on a free port; what they raise goes to ``faults``."""
    started: queue.Queue[HTTPServer] = queue.Queue()

    class Server(HTTPServer):
        def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
            assert address == ("", 8080)
            super().__init__(("127.0.0.1", 0), handler)
            started.put(self)

        def handle_error(self, request: Any, client_address: Any) -> None:
            fault = sys.exc_info()[1]
            assert fault is not None
            faults.append(fault)

    patch.setattr("http.server.HTTPServer", Server)
    thread = threading.Thread(target=exec, args=(block(PAGE, "python"), {}))
    thread.start()
    server = started.get(timeout=PATIENCE_SECONDS)
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_ten_lines_are_ten_and_verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len([line for line in block(PAGE, "python").splitlines() if line]) == 10
    make_secret(tmp_path)
    monkeypatch.chdir(tmp_path)
    faults: list[BaseException] = []
    with documented_server(monkeypatch, faults) as url:
        around = surroundings(tmp_path, clock=SystemClock())
        receiver = webhook(url, around=around, secret_files=["ops.secret"])
        assert asyncio.run(_sent(receiver)) == ("Delivered", "")
    assert faults == []


async def _sent(receiver: Receiver) -> tuple[str, str]:
    try:
        return kind_and_reason(await receiver.send(notification()))
    finally:
        await receiver.close()


@pytest.mark.parametrize("fault", ["another secret", "six minutes old"])
def test_the_ten_lines_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    make_secret(tmp_path)
    monkeypatch.chdir(tmp_path)
    faults: list[BaseException] = []
    clock = FixedClock(SystemClock().time() - (360 if fault == "six minutes old" else 0))
    with documented_server(monkeypatch, faults) as url:
        around = surroundings(tmp_path, clock=clock)
        if fault == "another secret":
            (tmp_path / "mine").write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "ascii")
        files = ["mine" if fault == "another secret" else "ops.secret"]
        assert asyncio.run(_sent(webhook(url, around=around, secret_files=files)))[0] == "Retry"
    assert [type(one) for one in faults] == [WebhookVerificationError]


def test_a_secret_as_the_page_makes_it_is_good_and_private(tmp_path: Path) -> None:
    make_secret(tmp_path)
    assert signing_secret((tmp_path / "ops.secret").read_text("ascii").strip()) is None
    assert (tmp_path / "ops.secret").stat().st_mode & 0o077 == 0
    assert MAKE_SIGNING_SECRET in PAGE


def test_the_example_is_a_configuration_that_works(tmp_path: Path, apprise_loaded: None) -> None:
    make_secret(tmp_path)
    (tmp_path / "slack.url").write_text("json://localhost", "ascii")
    example = YAML(typ="safe").load(block(PAGE, "yaml"))
    for name, given in example["receivers"].items():
        settings = receiver_types()[given["type"]].settings.model_validate(given)
        assert make_receiver(name, settings, surroundings(tmp_path)).name == name
    assert {given["type"] for given in example["receivers"].values()} == set(OWN)


def test_the_body_that_is_shown_has_the_fields_of_ours() -> None:
    shown = json.loads(block(PAGE, "json"))
    ours = json.loads(webhook_body(firing(), receiver="ops", external_url="http://x"))
    assert list(shown) == list(ours)
    assert list(shown["alerts"][0]) == list(ours["alerts"][0])
    assert shown["groupKey"] == ours["groupKey"]


@pytest.mark.parametrize("kind", OWN)
def test_every_setting_is_documented(kind: str) -> None:
    for name in receiver_types()[kind].settings.model_fields:
        assert f"| `{name}` |" in PAGE, name


def test_every_reason_is_documented_and_no_other() -> None:
    sources = "".join(
        Path(module.__file__ or "").read_text("utf-8") for module in (answers, apprise, posting)
    )
    told = sources[sources.index("def _reason(") : sources.index("class AppriseSettings")]
    used = set(re.findall(r'reason="(\w+)"', sources)) | set(
        re.findall(r'"(\w+_\w+|timeout|unreachable)"', told)
    )
    table = PAGE[PAGE.index("## What an answer means") : PAGE.index("## Where it may connect")]
    assert set(re.findall(r"\| `(\w+)` \|$", table, flags=re.MULTILINE)) == used


def test_the_receiver_that_is_shown_works(tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "shown"}
    exec(compile(block(ADDING, "python"), "shown", "exec"), names)
    kind = names["TYPE"]
    settings = kind.settings.model_validate({"type": "file", "path": "alerts.log"})
    receiver = kind.make("log", settings, surroundings(tmp_path))
    assert asyncio.run(receiver.send(notification())) == Delivered()
    (line,) = (tmp_path / "alerts.log").read_text("utf-8").splitlines()
    assert json.loads(line)["receiver"] == "log"
    (tmp_path / "alerts.log").unlink()
    (tmp_path / "alerts.log").mkdir()
    assert kind_and_reason(asyncio.run(receiver.send(notification()))) == ("Refused", "unreachable")
