"""Panels of the Fleet dashboard about the agents themselves."""

from flyball.collectors import catalog
from flyball.collectors.base import Metric
from grafana.frame import Panel
from grafana.panels import BAD, GOOD, Query, lines, states
from grafana.query import most, rate, select
from grafana.tables import Column, rows


def panels() -> list[Panel]:
    """Whether the agents see what they should, and what they cost."""
    return [*sight(), *work()]


def sight() -> list[Panel]:
    """What is known, and what is not."""
    up = most("instance, collector", select(catalog.COLLECTOR_UP))
    unknown = most("instance, collector, reason", select(catalog.COLLECTOR_UP, reason="!=")) + " == 0"
    return [
        states(
            "Collectors",
            "Whether each collector of each agent can read its source.",
            Query(expression=up, legend="{{instance}} {{collector}}"),
            {0: ("down", BAD), 1: ("up", GOOD)},
            width=12,
        ),
        rows(
            "What is unknown, and why",
            "Values that an agent cannot give, by reason; their series are absent, never zero. flyball "
            "doctor on the host says how to mend it.",
            ["instance", "collector", "reason"],
            [Column(title="unknown", expression=unknown, hidden=True)],
            width=12,
        ),
    ]


def work() -> list[Panel]:
    """What the agents do and how well it goes."""
    reload = most("instance", select(catalog.CONFIG_RELOAD_SUCCESSFUL))
    failures = rate(catalog.COLLECTOR_FAILURES, "instance, collector, reason")
    versions = most("instance, version, python", select(catalog.BUILD_INFO))
    return [
        _by_collector(
            "Time of a collection",
            "How long each collector's last collection took.",
            "s",
            catalog.COLLECTOR_DURATION,
        ),
        _by_collector(
            "Series",
            "Series of each collector's last collection. Growth without end is a label that should not be "
            "one.",
            "short",
            catalog.COLLECTOR_SERIES,
        ),
        lines(
            "Failed collections",
            "Collections a second that failed, by reason.",
            "eps",
            Query(expression=failures, legend="{{instance}} {{collector}} {{reason}}"),
        ),
        states(
            "Configuration",
            "Whether the last reload of flyball.yaml was taken over; where it was not, the agent goes on "
            "with the one before, and its log says what is wrong.",
            Query(expression=reload, legend="{{instance}}"),
            {0: ("refused", BAD), 1: ("in force", GOOD)},
            width=12,
        ),
        rows(
            "Versions",
            "Which agent runs where.",
            ["instance", "version", "python"],
            [Column(title="agents", expression=versions, hidden=True)],
            width=12,
        ),
    ]


def _by_collector(title: str, description: str, unit: str, metric: Metric) -> Panel:
    expression = most("instance, collector", select(metric))
    return lines(title, description, unit, Query(expression=expression, legend="{{instance}} {{collector}}"))
