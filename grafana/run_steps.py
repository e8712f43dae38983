"""Panels of the Run dashboard about steps, throughput and learning."""

from flyball.collectors import catalog
from flyball.collectors.base import Metric
from grafana.frame import Panel
from grafana.panels import Limit, Query, lines
from grafana.query import most, quantile, rate, select

MINE = {"run": "=$run", "rank": "=~$rank"}
BY_RANK = "rank {{rank}}"
SM_LIMIT = Limit(value=0.70, below=True)
STRAGGLES = 1.10
"""A rank this much slower than the run's median is drawn as a straggler."""


def panels() -> list[Panel]:
    """Speed first, then what was learned, then what a serving run adds."""
    return [*speed(), *learning(), *serving()]


def of_rank(metric: Metric) -> Query:
    """A gauge of each rank shown."""
    return Query(expression=most("rank", select(metric, **MINE)), legend=BY_RANK)


def rate_of_rank(metric: Metric) -> Query:
    """A counter's increase a second, of each rank shown."""
    return Query(expression=rate(metric, "rank", **MINE), legend=BY_RANK)


def speed() -> list[Panel]:
    """Time of steps and what they fed."""
    return [
        lines(
            "Step time",
            "Wall-clock time of an optimizer step, by rank, median and p95; evaluation and checkpoints are "
            "left out. A p95 far above the median: data loading or the allocator stalls now and then.",
            "s",
            Query(expression=quantile(0.5, catalog.STEP_SECONDS, "rank", **MINE), legend=f"{BY_RANK} p50"),
            Query(expression=quantile(0.95, catalog.STEP_SECONDS, "rank", **MINE), legend=f"{BY_RANK} p95"),
        ),
        lines(
            "Samples a second",
            "Samples that entered forward, by rank.",
            "short",
            rate_of_rank(catalog.SAMPLES),
        ),
        lines(
            "Tokens a second",
            "Tokens that entered forward, by rank.",
            "short",
            rate_of_rank(catalog.TOKENS),
        ),
        lines(
            "Stragglers",
            "Median time of a rank's recent steps over the median of the run's ranks on its host. One rank "
            "above the line holds all others back: look at its GPU's clocks, its links and its host.",
            "none",
            of_rank(catalog.STRAGGLER),
            limit=Limit(value=STRAGGLES),
            bottom=None,
        ),
        lines(
            "Skipped steps a second",
            "Steps that the optimizer skipped because gradients overflowed. A few at the start are the loss "
            "scale finding its place.",
            "short",
            rate_of_rank(catalog.SKIPPED_STEPS),
        ),
        lines(
            "Last checkpoint",
            "Step after which each rank saved its last checkpoint.",
            "none",
            of_rank(catalog.LAST_CHECKPOINT_STEP),
        ),
    ]


def learning() -> list[Panel]:
    """Loss and gradients."""
    return [
        lines(
            "Loss",
            "Last known training loss of each rank.",
            "none",
            of_rank(catalog.LOSS),
            bottom=None,
        ),
        lines(
            "Gradient norm",
            "Norm of the gradients before clipping, where it is known without waiting for the device.",
            "none",
            of_rank(catalog.GRAD_NORM),
        ),
        lines(
            "Torn lines of journals",
            "Lines a second that could not be read and were skipped: a full disk, or another writer.",
            "short",
            rate_of_rank(catalog.JOURNAL_TORN_LINES),
        ),
    ]


def serving() -> list[Panel]:
    """Of runs that serve: empty for training."""
    first = catalog.TIME_TO_FIRST_TOKEN
    return [
        lines(
            "Requests that wait",
            "Of a serving run: requests that wait for their first step. Empty for training.",
            "short",
            of_rank(catalog.QUEUE_LENGTH),
            width=12,
        ),
        lines(
            "Time to first token",
            "Of a serving run: from a request's arrival to its first token. Empty for training.",
            "s",
            Query(expression=quantile(0.5, first, "rank", **MINE), legend=f"{BY_RANK} p50"),
            Query(expression=quantile(0.99, first, "rank", **MINE), legend=f"{BY_RANK} p99"),
            width=12,
        ),
    ]
