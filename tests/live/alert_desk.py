"""A folder with a real agent's configuration, what its collector reads, and who hears of its alerts."""

import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tests.live.agent_process import Running, running
from tests.live.webhook_server import SECRET, WebhookServer
from tests.patience import PATIENCE_SECONDS, fetch

SCRIPT = Path(__file__).parent / "scripts" / "agent_with_dials.py"
PROGRAM = (sys.executable, str(SCRIPT))
GPU = ["here", "0", "GPU-0"]
HOT = """\
  - alert: Hot
    metric: gpu_temperature_celsius
    above: 90
    severity: critical
    annotations: {summary: "{{ labels.gpu }} is hot", action: Cool it.}
"""
SLOW = """\
  - alert: Slow
    metric: loss
    above: 0.5
    for: 3s
    annotations: {summary: slow, action: look}
    suggests: [micro_batch]
"""
LABELS = {"alertname": "Hot", "severity": "critical", "host": "here", "gpu": "0", "uuid": "GPU-0"}
TOKEN = "canary-of-the-bearer-token-0123456789"


class Desk:
    """A folder with an agent's configuration, what its collector reads, and who hears of it."""

    def __init__(self, folder: Path, server: WebhookServer) -> None:
        self.folder, self.server = folder, server
        self.policies, self.dials = folder / "rules.yaml", folder / "dials.json"
        self.rules(HOT)
        (folder / "ops.secret").write_text(SECRET + "\n", "utf-8")

    def rules(self, *rules: str) -> None:
        self.policies.write_text("policies:\n" + "".join(rules), "utf-8")

    def dial(self, **values: float) -> None:
        """Set the temperature of the GPU (``hot``) and the loss of rank 0 of a run (``run=value``)."""
        series = [
            ["gpu_temperature_celsius", GPU, value] if name == "hot" else ["loss", [name, "0"], value]
            for name, value in values.items()
        ]
        new = self.dials.with_suffix(".new")
        new.write_text(json.dumps(series), "utf-8")
        new.replace(self.dials)

    def text(self, more: str = "", receivers: str | None = None) -> str:
        ops = (
            f"receivers:\n  ops: {{type: webhook, url: '{self.server.url}/', private_network: true, "
            "secret_files: [ops.secret]}\n"
        )
        collectors = f"  dials: {{file: {self.dials}, interval_seconds: 0.2}}\n" + "".join(
            f"  {name}: {{interval_seconds: 0.2}}\n" for name in ("workload", "allocator", "nccl")
        )
        end = more + (ops if receivers is None else receivers)
        return f"policies: [rules.yaml]\ncollectors:\n{collectors}{end}"

    def agent(self, more: str = "", receivers: str | None = None) -> AbstractContextManager[Running]:
        return running(self.folder, self.text(more, receivers), PROGRAM)

    def database(self) -> Path:
        return self.folder / "state" / "agent.db"


def until(asked: Callable[[], Any]) -> Any:
    """What is asked for, as soon as it is there."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := asked()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
    return found


def get(url: str, path: str) -> Any:
    return fetch(f"{url}/api/v1/{path}").json()


def statuses(url: str) -> dict[str, str]:
    return {one["rule"]: one["status"] for one in get(url, "alerts")}


def left(agent: Running) -> list[str]:
    """What it said and nobody asked for."""
    for reader in agent.readers:
        reader.join()
    found = []
    while not agent._new.empty():
        found.append(agent._new.get())
    return found
