"""PromQL made of the catalog's metrics: a name or label that is not declared there stops the build.

Two agents may report one thing (a sidecar and the node's own, two of them while one takes over), under other
values of ``instance``. So whatever belongs to a GPU, a rank or a host is first reduced by ``max`` to one
series.
"""

import re

from flyball.collectors import catalog
from flyball.collectors.base import Kind, Metric

WINDOW = "$__rate_interval"
TARGET_LABELS = ("instance", "job")
"""What Prometheus itself puts on every series it scrapes."""
_MATCHER = re.compile(r"(=~|!~|!=|=)(.*)", re.DOTALL)


def select(metric: Metric, part: str = "", /, **matchers: str) -> str:
    """An instant selector; a matcher is an operator and a value: ``host="=~$host"``.

    Args:
        metric: of the catalog.
        part: of a histogram: ``_bucket``, ``_sum`` or ``_count``.
        matchers: by label.

    Raises:
        ValueError: the metric has no such label, or no such part.
    """
    if bool(part) != (metric.kind is Kind.HISTOGRAM):
        raise ValueError(f"{metric.name} is a {metric.kind}: it has no series {metric.full_name}{part}")
    written = [_matcher(metric, label, value) for label, value in matchers.items()]
    return metric.full_name + part + (f"{{{', '.join(written)}}}" if written else "")


def _matcher(metric: Metric, label: str, value: str) -> str:
    found = _MATCHER.fullmatch(value)
    if found is None or label not in (*metric.labels, *TARGET_LABELS):
        raise ValueError(f"{metric.name}: {label}{value} is no matcher of a label of {metric.labels}")
    return f'{label}{found[1]}"{found[2]}"'


def most(labels: str, expression: str) -> str:
    """One series for each value of ``labels``."""
    return f"max by ({labels}) ({expression})"


def total(labels: str, expression: str) -> str:
    """The sum, one series for each value of ``labels``; of everything where they are empty."""
    return f"sum by ({labels}) ({expression})" if labels else f"sum({expression})"


def rate(metric: Metric, labels: str, /, **matchers: str) -> str:
    """Increase a second of a counter, one series for each value of ``labels``."""
    return most(labels, f"rate({select(metric, **matchers)}[{WINDOW}])")


def quantile(fraction: float, metric: Metric, labels: str, /, **matchers: str) -> str:
    """A quantile of a histogram, over what was observed within the window."""
    buckets = f"rate({select(metric, '_bucket', **matchers)}[{WINDOW}])"
    return f"histogram_quantile({fraction}, {total('le, ' + labels, buckets)})"


def quantile_so_far(fraction: float, metric: Metric, labels: str, /, **matchers: str) -> str:
    """A quantile of a histogram, over all it has observed: for what is measured once, or now and then."""
    buckets = select(metric, "_bucket", **matchers)
    return f"histogram_quantile({fraction}, {total('le, ' + labels, buckets)})"


def of_the_runs_gpus(value: str) -> str:
    """A value of a GPU, for every rank of ``$run`` that uses it.

    There may be several ranks on one GPU, so that the GPU is the join's one side. It is joined by uuid alone:
    in a container a rank's host has another name than the node's agent gives it.
    """
    info = select(catalog.RUN_INFO, run="=$run", rank="=~$rank", uuid="!=")
    return f"{most('run, rank, uuid', info)} * on (uuid) group_left () {most('uuid', value)}"


def of_the_runs_hosts(value: str) -> str:
    """A value of a host, for the hosts on which ``$run`` has ranks."""
    return f"{value} and on (host) {select(catalog.RUN_INFO, run='=$run')}"
