"""Writes ``docs/metrics.md`` from the catalog, when run as ``python -m flyball.collectors.metrics_page``."""

import sys
from collections.abc import Iterable, Iterator
from itertools import groupby

from flyball.collectors.base import Metric
from flyball.collectors.catalog import METRICS, SIZE_CLASSES

TITLES = {
    "gpu": "GPUs",
    "run": "Runs",
    "allocator": "torch's caching allocator",
    "communication": "Communication",
    "workload": "Workload",
    "host": "Host",
    "agent": "The agent itself",
}
_COMMUNICATION = ("p2p_", "collective_latency", "collective_pending", "collectives_", "communicated_")
_AGENT = ("build_", "collector_", "policy_", "notifications_", "outbox_", "alert_", "alerts", "config_")


def group_of(metric: Metric) -> str:
    """The key of ``TITLES`` that a metric belongs under."""
    name = metric.name
    if name.startswith(_COMMUNICATION):
        return "communication"
    if name.startswith(_AGENT):
        return "agent"
    if name.startswith("rdma_"):
        return "host"
    first = name.partition("_")[0]
    return first if first in TITLES else "workload"


def render(metrics: Iterable[Metric] = METRICS.values()) -> str:
    """The page as Markdown."""
    return "\n".join([*_head(), *_tables(metrics)]) + "\n"


def _head() -> Iterator[str]:
    yield "# Metrics"
    yield ""
    yield "Made from `collectors/catalog.py` by `python -m flyball.collectors.metrics_page`. Every name"
    yield "begins with `flyball_`; units are Prometheus' base units. What cannot be known has no series: the"
    yield "reason is a `flyball_collector_up{collector, reason}` of 0. Series of trials are never exported."
    yield ""
    classes = ", ".join(f"`{name}`" for name in SIZE_CLASSES)
    yield f"`size_class` is the largest message of the class: {classes}."


def _tables(metrics: Iterable[Metric]) -> Iterator[str]:
    for group, members in groupby(metrics, key=group_of):
        yield from ("", f"## {TITLES[group]}", "", "| metric | kind | labels | what |", "|---|---|---|---|")
        for metric in members:
            labels = ", ".join(metric.labels)
            yield f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help.replace('|', '/')} |"


if __name__ == "__main__":
    sys.stdout.write(render())
