"""Panels of the Fleet dashboard about alerts and their way to those who are told."""

from flyball.collectors import catalog
from flyball.collectors.base import Metric
from grafana.frame import Panel
from grafana.panels import BAD, GOOD, Query, lines, states
from grafana.query import most, rate, select, total
from grafana.tables import Column, rows


def panels() -> list[Panel]:
    """What fires, and whether anybody hears of it."""
    return [*alerts(), *delivery(), *trouble()]


def alerts() -> list[Panel]:
    """How many there are."""
    return [
        lines(
            "Firing alerts",
            "Alerts that fire, of all agents, by severity. flyball alerts list on the host names them.",
            "short",
            Query(expression=_by_severity("firing"), legend="{{severity}}"),
            stacked=True,
        ),
        lines(
            "Pending alerts",
            "Alerts whose condition holds and has not yet for as long as their policy says.",
            "short",
            Query(expression=_by_severity("pending"), legend="{{severity}}"),
            stacked=True,
        ),
        lines(
            "Notifications",
            "Alert notifications a second, by receiver and outcome. Retries that go on mean a receiver that "
            "is down: flyball alerts test tries it.",
            "eps",
            Query(
                expression=rate(catalog.NOTIFICATIONS, "instance, receiver, outcome"),
                legend="{{receiver}} {{outcome}}",
            ),
        ),
    ]


def delivery() -> list[Panel]:
    """What waits, and how long it takes to see that something should be told."""
    return [
        lines(
            "Outbox",
            "Notifications that wait to be delivered. A queue that grows means a receiver that is down.",
            "short",
            _of_agent(catalog.OUTBOX_DEPTH),
        ),
        lines(
            "Evaluation of rules",
            "Time of the last evaluation of all alert rules.",
            "s",
            _of_agent(catalog.POLICY_EVALUATION),
        ),
        lines(
            "Alerts in memory alone",
            "Changes of alerts that the database has not taken yet; they are told once it has. More than "
            "none for a minute: its disk is full, or it is locked.",
            "short",
            _of_agent(catalog.ALERTS_UNRECORDED),
        ),
    ]


def trouble() -> list[Panel]:
    """Whether alerts reach nobody."""
    of_agent = most("instance, severity", select(catalog.ALERTS, status="=firing"))
    return [
        states(
            "Database of alerts",
            "Whether each agent can read and write its database. While it cannot, its alerts are told to "
            "nobody but an Alertmanager; its log says why.",
            Query(expression=most("instance", select(catalog.ALERT_DATABASE_UP)), legend="{{instance}}"),
            {0: ("fails", BAD), 1: ("works", GOOD)},
            width=12,
        ),
        rows(
            "Firing alerts by agent",
            "Where alerts fire now, and how many of each severity.",
            ["instance", "severity"],
            [Column(title="firing", expression=f"{of_agent} > 0")],
            width=12,
        ),
    ]


def _by_severity(status: str) -> str:
    return total("severity", most("instance, severity", select(catalog.ALERTS, status=f"={status}")))


def _of_agent(metric: Metric) -> Query:
    return Query(expression=most("instance", select(metric)), legend="{{instance}}")
