"""A real Alertmanager on a free port, for as long as a test needs it."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE_SECONDS

CONFIG = """\
route: {receiver: ops, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}
receivers:
  - name: ops
    webhook_configs: [{url: '%s'}]
"""
LISTENING = re.compile(r"address=(127\.0\.0\.1:\d+)")


@dataclass(frozen=True)
class Alertmanager:
    """One process."""

    process: subprocess.Popen[str]
    address: str

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def amtool(self) -> list[dict[str, Any]]:
        """The alerts, as Alertmanager's own command shows them."""
        command = ["amtool", f"--alertmanager.url={self.url}", "alert", "query", "--output=json"]
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS)
        found: list[dict[str, Any]] = json.loads(told.stdout)
        return found

    def kill(self) -> None:
        """As by ``kill -9``."""
        self.process.kill()
        self.process.wait()


@contextmanager
def alertmanager(
    command: str, folder: Path, *, webhook_url: str, external_url: str, address: str = "127.0.0.1:0"
) -> Iterator[Alertmanager]:
    """Forward every alert as a group of its own; listening when entered, gone when left.

    Args:
        command: its path.
        folder: of its configuration and its data; an empty one is one that knows nothing.
        webhook_url: where it sends alerts.
        external_url: what it calls itself.
        address: by default it chooses the port itself, so that no other process can take it in between.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "alertmanager.yml").write_text(CONFIG % webhook_url, "utf-8")
    options = [
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={address}",
        f"--web.external-url={external_url}",
        "--web.route-prefix=/",
        "--cluster.listen-address=",
    ]
    log = folder / "alertmanager.log"
    with log.open("w") as output:
        process = subprocess.Popen([command, *options], stdout=output, stderr=subprocess.STDOUT, text=True)
    try:
        yield Alertmanager(process=process, address=_address(process, log))
    finally:
        process.kill()
        process.wait()


def _address(process: subprocess.Popen[str], log: Path) -> str:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        found = LISTENING.search(log.read_text("utf-8"))
        if found:
            return found[1]
        time.sleep(0.02)
    raise AssertionError(log.read_text("utf-8"))
