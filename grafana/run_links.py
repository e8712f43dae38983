"""Panels of the Run dashboard about communication."""

from flyball.collectors import catalog
from grafana.frame import Panel
from grafana.panels import Limit, Query, lines
from grafana.query import quantile, quantile_so_far, rate, total
from grafana.run_steps import MINE, of_rank
from grafana.tables import Column, rows

SLOW_SECONDS = 50e-6
"""Above this, for the smallest messages over NCCL, the default policy raises its alert."""
PAIR = "{{src}} to {{dst}} ({{source}})"
PENDING_SECONDS = 30.0
"""An operation that hangs this long is drawn as a stall."""


def panels() -> list[Panel]:
    """Latency of messages, of collectives, and what they carry."""
    return [*messages(), *collectives()]


def messages() -> list[Panel]:
    """Between two ranks."""
    small, latency = catalog.SIZE_CLASSES[0], catalog.P2P_LATENCY
    labels = "src, dst, source"
    pairs = "src, dst, size_class, source"
    return [
        lines(
            "P2P latency of small messages, p50",
            "One way, messages of at most 8 KiB, by pair. The line is 50 microseconds: it holds for sources "
            "that measure latency (in_band, preflight) over NCCL; gloo is above it on a good day.",
            "s",
            Query(
                expression=quantile(0.5, latency, labels, run="=$run", size_class=f"={small}"), legend=PAIR
            ),
            limit=Limit(value=SLOW_SECONDS),
        ),
        lines(
            "P2P latency of small messages, p99",
            "One way, messages of at most 8 KiB, by pair: the tail that collectives wait for.",
            "s",
            Query(
                expression=quantile(0.99, latency, labels, run="=$run", size_class=f"={small}"), legend=PAIR
            ),
            limit=Limit(value=SLOW_SECONDS),
        ),
        lines(
            "P2P latency of larger messages, p50",
            "One way, messages above 8 KiB, by pair and size class. A slow link shows here first: small "
            "messages may not notice it.",
            "s",
            Query(
                expression=quantile(0.5, latency, pairs, run="=$run", size_class=f"!={small}"),
                legend="{{src}} to {{dst}} {{size_class}} ({{source}})",
            ),
        ),
        rows(
            "Pairs",
            "One-way time of each pair of ranks at each size since the run began, and how it was measured. "
            "Compare the rows of one size: the slow link stands out.",
            ["src", "dst", "size_class", "source"],
            [
                Column(title="p50", expression=quantile_so_far(0.5, latency, pairs, run="=$run"), unit="s"),
                Column(title="p99", expression=quantile_so_far(0.99, latency, pairs, run="=$run"), unit="s"),
            ],
        ),
    ]


def collectives() -> list[Panel]:
    """Of all ranks together."""
    carried = total("op", rate(catalog.COMMUNICATED_BYTES, "run, rank, op", **MINE))
    begun = total("op", rate(catalog.COLLECTIVES, "run, rank, op", **MINE))
    labels = "op, size_class, source"
    return [
        lines(
            "Communicated bytes",
            "Payload handed to collectives a second, by operation, over the ranks shown.",
            "Bps",
            Query(expression=carried, legend="{{op}}"),
            stacked=True,
            width=6,
        ),
        lines(
            "Operations",
            "Operations a second that the flight recorder saw begin, by kind, over the ranks shown.",
            "ops",
            Query(expression=begun, legend="{{op}}"),
            width=6,
        ),
        lines(
            "Collective latency, p95",
            "Time of collectives over the ranks shown. Where the source is timed it includes waiting for "
            "late peers: look at the stragglers before you blame the link.",
            "s",
            Query(
                expression=quantile(0.95, catalog.COLLECTIVE_LATENCY, labels, **MINE),
                legend="{{op}} {{size_class}} ({{source}})",
            ),
            width=6,
        ),
        lines(
            "Pending",
            "Age of the oldest operation that has begun and not ended. It grows without end where a peer is "
            "lost.",
            "s",
            of_rank(catalog.COLLECTIVE_PENDING),
            limit=Limit(value=PENDING_SECONDS),
            width=6,
        ),
    ]
