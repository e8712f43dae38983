"""A receiver of webhooks that verifies every signature by the reference library, and is down when told so."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook
from tests.live.posts import serving
from tests.patience import PATIENCE_SECONDS

SECRET = "whsec_Y2FuYXJ5LW9mLXRoZS1zaWduaW5nLXNlY3JldC0wMQ=="


@dataclass(frozen=True)
class Received:
    """A notification that was taken, with when its body had come, in seconds since the epoch."""

    time: float
    webhook_id: str
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def status(self) -> str:
        """``firing`` or ``resolved``."""
        return str(self.body["status"])

    @property
    def labels(self) -> dict[str, str]:
        """Of its one alert."""
        (alert,) = self.body["alerts"]
        found: dict[str, str] = alert["labels"]
        return found


@dataclass
class WebhookServer:
    """What came in, and how it answers."""

    status: int = 200
    """503 while it is down."""
    received: list[Received] = field(default_factory=list)
    """What was answered with 200, in the order in which it came."""
    refused: int = 0
    faults: list[str] = field(default_factory=list)
    """Signatures that did not verify."""
    url: str = ""
    changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, body: bytes, headers: Mapping[str, str]) -> int:
        now = time.time()
        with self.changed:
            self.changed.notify_all()
            if self.status != 200:
                self.refused += 1
                return self.status
            if "webhook-signature" in headers:
                try:
                    Webhook(SECRET).verify(body, headers)
                except Exception as error:
                    self.faults.append(repr(error))
            received = Received(now, headers.get("webhook-id", ""), json.loads(body), headers)
            self.received.append(received)
            return self.status

    def until(self, met: Callable[[], bool], patience: float = PATIENCE_SECONDS) -> None:
        """Wait until what came in is enough."""
        with self.changed:
            assert self.changed.wait_for(met, patience), (self.received, self.refused)

    def wait(self, count: int) -> list[Received]:
        """So many notifications, the first ones that came."""
        self.until(lambda: len(self.received) >= count)
        return self.received[:count]

    def firing_after(self, count: int) -> Received:
        """The first that fires after so many notifications."""

        def firing() -> list[Received]:
            return [one for one in self.received[count:] if one.status == "firing"]

        self.until(lambda: bool(firing()))
        return firing()[0]

    def seen(self) -> list[tuple[str, str]]:
        """Rule and status of each."""
        return [(one.labels["alertname"], one.status) for one in self.received]


@contextmanager
def webhook_server() -> Iterator[WebhookServer]:
    """Serve on a free port."""
    server = WebhookServer()
    with serving(server.take) as url:
        server.url = url
        yield server
