"""What the agent says of itself, as samples of the catalog."""

import platform
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from flyball import __version__
from flyball.agent.daemon.states import Up, reasons
from flyball.agent.daemon.store import Store
from flyball.agent.daemon.watched import Watched
from flyball.collectors import catalog
from flyball.collectors.base import Metric, Sample

if TYPE_CHECKING:
    from flyball.agent.daemon.evaluation import Round
    from flyball.policies.notification.tally import Tally


def own_samples(
    watched: Mapping[str, Watched], store: Store, *, reload_successful: bool, now: float
) -> tuple[Sample, ...]:
    """The agent's own metrics; ``now`` is in seconds since the epoch."""
    values = [
        (catalog.BUILD_INFO, (__version__, platform.python_version()), 1.0),
        (catalog.CONFIG_RELOAD_SUCCESSFUL, (), float(reload_successful)),
    ]
    for name, one in watched.items():
        values.extend(_of_collector(name, one, store))
    return tuple(
        Sample(metric=metric, labels=labels, value=value, time=now) for metric, labels, value in values
    )


def alert_samples(tally: "Tally", last_round: "Round | None", now: float) -> Iterator[Sample]:
    """What the agent says of its alerts."""
    values: list[tuple[Metric, tuple[str, ...], float]] = [
        (catalog.OUTBOX_DEPTH, (), float(tally.outbox_depth)),
        (catalog.ALERTS_UNRECORDED, (), float(tally.unrecorded)),
        (catalog.ALERTS_LOST, (), float(tally.lost + tally.overflow)),
        (catalog.ALERT_DATABASE_UP, (), float(not tally.failing)),
        (catalog.ALERT_STORAGE_FAILURES, (), float(tally.storage_failures)),
    ]
    values += [
        (catalog.NOTIFICATIONS, key, float(count)) for key, count in sorted(tally.notifications.items())
    ]
    if last_round is not None:
        values.append((catalog.POLICY_EVALUATION, (), last_round.seconds))
        found = Counter((alert.severity, str(alert.status)) for alert in last_round.active)
        severities = ("critical", "info", "warning")
        values += [
            (catalog.ALERTS, (severity, status), float(found[severity, status]))
            for severity in severities
            for status in ("firing", "pending")
        ]
    for metric, labels, value in values:
        yield Sample(metric=metric, labels=labels, value=value, time=now)


def _of_collector(name: str, one: Watched, store: Store) -> Iterator[tuple[Metric, tuple[str, ...], float]]:
    if isinstance(one.state, Up):
        yield catalog.COLLECTOR_UP, (name, ""), 1.0
    for reason in reasons(one.state):
        yield catalog.COLLECTOR_UP, (name, reason), 0.0
    reading = store.get(name)
    if reading is not None:
        yield catalog.COLLECTOR_DURATION, (name,), reading.duration_seconds
        yield catalog.COLLECTOR_SERIES, (name,), float(len(reading.samples))
    for reason, count in sorted(one.failures.items()):
        yield catalog.COLLECTOR_FAILURES, (name, reason), float(count)
