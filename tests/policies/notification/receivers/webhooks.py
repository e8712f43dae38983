"""Webhook receivers as a test needs them."""

from pathlib import Path
from typing import Any

from tests.policies.notification.receivers.endpoints import resolving
from tests.policies.notification.receivers.records import FixedClock

from flyball.clock import Clock
from flyball.policies.notification.base import Answer
from flyball.policies.notification.receivers.registry import Surroundings
from flyball.policies.notification.receivers.resolving import Resolve
from flyball.policies.notification.receivers.webhook import WebhookReceiver, WebhookSettings

HERE = resolving(["127.0.0.1"])
URL = "http://agent.example.org:19753"


def surroundings(
    folder: Path = Path(), *, resolve: Resolve = HERE, clock: Clock | None = None
) -> Surroundings:
    """Where every name is this machine."""
    return Surroundings(clock=clock or FixedClock(), external_url=URL, folder=folder, resolve=resolve)


def webhook(url: str | None, *, around: Surroundings | None = None, **settings: Any) -> WebhookReceiver:
    """A receiver named ``ops``, unsigned unless it is told otherwise, and patient."""
    values = {"type": "webhook", "url": url, "private_network": True, "timeout_seconds": 60.0, **settings}
    if "secret_files" not in values:
        values["unsigned"] = True
    return WebhookReceiver("ops", WebhookSettings.model_validate(values), around or surroundings())


def kind_and_reason(answer: Answer) -> tuple[str, str]:
    """As in ``("Retry", "timeout")``."""
    return type(answer).__name__, getattr(answer, "reason", "")
