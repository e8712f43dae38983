"""Fixtures of several files of live tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live.alert_desk import Desk
from tests.live.hosts import Host, missing, two_hosts
from tests.live.webhook_server import WebhookServer, webhook_server


@pytest.fixture
def server() -> Iterator[WebhookServer]:
    """A receiver that found nothing wrong with what it got."""
    with webhook_server() as server:
        yield server
    assert server.faults == []


@pytest.fixture
def desk(tmp_path: Path, server: WebhookServer) -> Desk:
    """An agent's configuration with that receiver in it."""
    return Desk(tmp_path, server)


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts with a link between them that nothing slows."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    with two_hosts() as pair:
        yield pair
