"""What was measured of the links between ranks, and which of them are slow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from flyball.runner.probe.latency import BOUNDS

SCHEMA = 1
SOURCE = "preflight"
SLOW_RATIO = 2.0
NOISE_SECONDS = {"gloo": 200e-6, "nccl": 5e-6}
"""By backend: what two equal links may differ by. gloo's small messages are at the mercy of the scheduler."""
COMPARABLE_HOSTS = 3
"""With fewer hosts there is no second link between hosts to compare one with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """Messages of one size from one rank to another, one way."""

    src: int
    dst: int
    size_bytes: int
    rounds: int
    p10_seconds: float
    """What busy moments of a host hardly touch: links are compared by it."""
    p50_seconds: float
    p99_seconds: float
    counts: Sequence[int]
    """Of all rounds, by the buckets of ``runner.probe.latency.BOUNDS``."""
    sum: float
    """Seconds of all rounds."""

    @property
    def bandwidth(self) -> float:
        """Bytes a second, by the median."""
        return self.size_bytes / self.p50_seconds if self.p50_seconds > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class Links:
    """Every link between the ranks at every size."""

    started: float
    """Seconds since the epoch."""
    backend: str
    torch: str
    concurrent: bool
    """Whether disjoint pairs were measured at the same time."""
    hosts: tuple[str, ...]
    """By rank."""
    devices: tuple[str, ...]
    """By rank: a GPU's name, or ``cpu``."""
    sizes: tuple[int, ...]
    """Bytes, ascending."""
    links: tuple[Link, ...]

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "Links":
        """From what the worker says, or the history keeps.

        Raises:
            KeyError: something is missing.
            TypeError: something is of another kind.
        """
        return cls(
            started=float(document["started"]),
            backend=str(document["backend"]),
            torch=str(document["torch"]),
            concurrent=bool(document["concurrent"]),
            hosts=tuple(str(rank["host"]) for rank in document["ranks"]),
            devices=tuple(str(rank["device"]) for rank in document["ranks"]),
            sizes=tuple(int(size) for size in document["sizes"]),
            links=tuple(
                Link(**{each.name: link[each.name] for each in fields(Link)}) for link in document["links"]
            ),
        )

    def at(self, size_bytes: int) -> tuple[Link, ...]:
        """The links at one size."""
        return tuple(link for link in self.links if link.size_bytes == size_bytes)

    def slowness(self, link: Link) -> float:
        """Its time over that of a fast link, both by their 10th percentile.

        A fast link is the quartile of those that it is compared with.

        With three hosts or more, links between hosts are compared with each other, and those within a host
        too; with fewer, all with all. The quartile and not the median, since one slow host of three is in
        four of six links.
        """
        reference = self._reference(link)
        return link.p10_seconds / reference if reference > 0 else 1.0

    def is_slow(self, link: Link) -> bool:
        """Whether it takes more than twice the time of a fast link, by more than noise."""
        excess = link.p10_seconds - self._reference(link)
        return self.slowness(link) > SLOW_RATIO and excess > NOISE_SECONDS.get(self.backend, 0.0)

    @property
    def slow(self) -> tuple[Link, ...]:
        """The slow links, at the sizes where they are."""
        return tuple(link for link in self.links if self.is_slow(link))

    def _reference(self, link: Link) -> float:
        return self._references[link.size_bytes, self._kind(link)]

    def _kind(self, link: Link) -> str:
        if len(set(self.hosts)) < COMPARABLE_HOSTS:
            return "any"
        return "within" if self.hosts[link.src] == self.hosts[link.dst] else "between"

    @cached_property
    def _references(self) -> Mapping[tuple[int, str], float]:
        groups: dict[tuple[int, str], list[float]] = {}
        for link in self.links:
            groups.setdefault((link.size_bytes, self._kind(link)), []).append(link.p10_seconds)
        return {key: lower_quartile(values) for key, values in groups.items()}

    def document(self) -> dict[str, Any]:
        """As JSON: what ``flyball p2p --json`` prints and the history keeps."""
        return {
            "schema": SCHEMA,
            "source": SOURCE,
            "started": self.started,
            "backend": self.backend,
            "torch": self.torch,
            "concurrent": self.concurrent,
            "bounds": list(BOUNDS),
            "ranks": [
                {"rank": rank, "host": host, "device": device}
                for rank, (host, device) in enumerate(zip(self.hosts, self.devices, strict=True))
            ],
            "sizes": list(self.sizes),
            "links": [self._link_document(link) for link in self.links],
        }

    def _link_document(self, link: Link) -> dict[str, Any]:
        return {
            "src": link.src,
            "dst": link.dst,
            "size_bytes": link.size_bytes,
            "rounds": link.rounds,
            "p10_seconds": link.p10_seconds,
            "p50_seconds": link.p50_seconds,
            "p99_seconds": link.p99_seconds,
            "counts": list(link.counts),
            "sum": link.sum,
            "bandwidth_bytes_per_second": link.bandwidth,
            "slowness": self.slowness(link),
            "slow": self.is_slow(link),
        }


def lower_quartile(values: Sequence[float]) -> float:
    """The value that a quarter of them does not exceed."""
    return sorted(values)[(len(values) - 1) // 4]
