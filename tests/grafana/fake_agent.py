"""A whole exposition made from the catalog: what an agent would serve that can read everything."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count, product
from threading import Lock, Thread

from flyball.collectors import catalog
from flyball.collectors.base import Kind, Metric

RUN, HOST = "tiny-42", "node-a"
UUIDS = ("GPU-0a", "GPU-1b")
VALUES: Mapping[str, tuple[str, ...]] = {
    "host": (HOST,),
    "run": (RUN,),
    "rank": ("0", "1"),
    "src": ("0",),
    "dst": ("1",),
    "method": ("peak", "slack", "inactive_split", "external"),
    "size_class": catalog.SIZE_CLASSES[:2],
    "mode": ("user", "idle"),
    "op": ("all_reduce", "broadcast"),
    "kind": ("corrected",),
    "xid": ("79",),
    "device": ("eth0",),
    "path": ("/checkpoints",),
    "source": ("in_band",),
    "severity": ("critical", "info", "warning"),
    "status": ("firing", "pending"),
}
"""Of labels that stand for themselves; a label without values here gets its own name as the only one."""


def label_sets(metric: Metric) -> Iterator[tuple[str, ...]]:
    """Every combination, but for labels that belong together."""
    if metric is catalog.RUN_INFO:
        yield (RUN, "0", HOST, "0", UUIDS[0], "stepping", "")
        yield (RUN, "1", HOST, "1", UUIDS[1], "checkpointing", "")
        yield ("", "", HOST, "0", UUIDS[0], "", "not_probed")
    elif metric is catalog.COLLECTOR_UP:
        yield ("nvml", "")
        yield ("dcgm", "unreachable")
    elif metric.labels[:3] == catalog.GPU_LABELS:
        rest = [("gpm",) if label == "source" else VALUES.get(label, (label,)) for label in metric.labels[3:]]
        for (index, uuid), *more in product(enumerate(UUIDS), *rest):
            yield (HOST, str(index), uuid, *more)
    else:
        yield from product(*(VALUES.get(label, (label,)) for label in metric.labels))


def exposition(age: int) -> str:
    """Prometheus' text format, ``age`` scrapes after the start: counters have grown by one a scrape."""
    return "".join(line + "\n" for metric in catalog.METRICS.values() for line in _family(metric, age))


def _family(metric: Metric, age: int) -> Iterator[str]:
    yield f"# HELP {metric.full_name} {metric.help}"
    yield f"# TYPE {metric.full_name} {metric.kind}"
    for values in label_sets(metric):
        labels = dict(zip(metric.labels, values, strict=True))
        if metric.kind is Kind.HISTOGRAM:
            yield from _histogram(metric, labels, age)
        else:
            yield f"{metric.full_name}{_braces(labels)} {_value(metric, labels, age)}"


def _value(metric: Metric, labels: Mapping[str, str], age: int) -> float:
    if metric.kind is Kind.COUNTER:
        return 100 + age
    if metric is catalog.COLLECTOR_UP:
        return float(not labels["reason"])
    return 0.5 if metric.unit == "ratio" else 1.0


def _histogram(metric: Metric, labels: Mapping[str, str], age: int) -> Iterator[str]:
    # All observations lie between the fifth bound and the sixth.
    for index, bound in enumerate((*metric.bounds, float("inf"))):
        written = "+Inf" if bound == float("inf") else str(bound)
        yield f"{metric.full_name}_bucket{_braces({**labels, 'le': written})} {(100 + age) * (index >= 5)}"
    yield f"{metric.full_name}_sum{_braces(labels)} {(100 + age) * metric.bounds[5]}"
    yield f"{metric.full_name}_count{_braces(labels)} {100 + age}"


def _braces(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}" if labels else ""


@dataclass
class FakeAgent:
    """An HTTP server on a free port of the loopback interface; a context manager."""

    _ages: Iterator[int] = field(default_factory=count)
    _lock: Lock = field(default_factory=Lock)

    def __enter__(self) -> "FakeAgent":
        agent = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with agent._lock:
                    body = exposition(next(agent._ages)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_port}"
