"""A real Prometheus on a free port, for as long as a test needs it."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.patience import PATIENCE_SECONDS

CONFIG = """\
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: flyball
    static_configs: [{targets: ["%s"]}]
"""
LISTENING = re.compile(r"address=(127\.0\.0\.1:\d+)")
READY = "Server is ready to receive web requests."


@dataclass(frozen=True)
class Prometheus:
    """Its query API."""

    address: str

    def query(self, expression: str) -> list[dict[str, object]]:
        """What an instant query returns; HTTPError where Prometheus refuses it."""
        parameters = urlencode({"query": expression})
        with urlopen(f"http://{self.address}/api/v1/query?{parameters}", timeout=PATIENCE_SECONDS) as answer:
            found: list[dict[str, object]] = json.load(answer)["data"]["result"]
        return found


@contextmanager
def prometheus(command: str, target: str, folder: Path) -> Iterator[Prometheus]:
    """Scrape ``target`` every second; ready when entered, gone when left."""
    config, log = folder / "prometheus.yml", folder / "prometheus.log"
    config.write_text(CONFIG % target)
    options = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    # It chooses the port itself and says so, so that no other process can take it in between.
    with log.open("w") as output:
        process = subprocess.Popen(
            [command, *options, "--web.listen-address=127.0.0.1:0"],
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert process.stderr is not None
    try:
        yield Prometheus(address=_address(process.stderr))
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_SECONDS)


def _address(lines: Iterator[str]) -> str:
    said = []
    address = ""
    for line in lines:
        said.append(line)
        found = LISTENING.search(line)
        address = found[1] if found else address
        if READY in line:
            break
    assert address, "".join(said)
    return address
