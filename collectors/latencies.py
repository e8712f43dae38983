"""Latency histograms and bytes that a rank's ``communication`` and ``step`` records add up to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from typing import Any, TypeVar

from flyball.collectors import catalog
from flyball.collectors.base import Metric
from flyball.collectors.distribution import Tally
from flyball.collectors.record_fields import (
    LONGEST_NAME,
    MOST_COUNT,
    WrongField,
    count_of,
    counts_of,
    real_of,
    text_of,
)

MOST_OPERATIONS = 64
MOST_COLLECTIVES = 512
MOST_PAIRS = 4096
"""Keys that one rank's journal may bring; of what goes beyond, nothing is kept."""

_MOST_BUCKETS = 256

_Key = TypeVar("_Key")

CollectiveKey = tuple[str, str, str]
"""Operation, size class, source."""
PairKey = tuple[int, int, str, str]
"""Sending rank, receiving rank, size class, source."""


@dataclass(kw_only=True, slots=True, eq=False)
class Communication:
    """What one rank communicated since its run began."""

    communicated: dict[str, int] = field(default_factory=dict)
    collectives: dict[CollectiveKey, Tally] = field(default_factory=dict)
    p2p: dict[PairKey, Tally] = field(default_factory=dict)
    operations: dict[str, int] = field(default_factory=dict)
    bounds: Sequence[float] = field(default_factory=list)
    """Of the last record's histograms, seconds."""
    overflowed: bool = False
    """Whether something was left out because there were too many keys."""

    def add_bytes(self, found: Mapping[str, int]) -> None:
        """Add a step's ``communicated``."""
        self._add_counts(self.communicated, found)

    def add_record(self, record: Mapping[str, Any]) -> None:
        """Add a ``communication`` record. Raises WrongField, before anything was added."""
        bounds = self._bounds(record.get("bounds"))
        collectives = [_entry(entry, bounds) for entry in _entries(record, "collectives")]
        pairs = [_entry(entry, bounds) for entry in _entries(record, "p2p")]
        collective_keys = [_collective_key(entry) for entry, _, _ in collectives]
        pair_keys = [_pair_key(entry) for entry, _, _ in pairs]
        operations = counts_of(record, "operations", MOST_OPERATIONS)
        for collective, (_, counts, total) in zip(collective_keys, collectives, strict=True):
            tally = self._tally(self.collectives, collective, MOST_COLLECTIVES, catalog.COLLECTIVE_LATENCY)
            tally.add(bounds, counts, total)
        for pair, (_, counts, total) in zip(pair_keys, pairs, strict=True):
            self._tally(self.p2p, pair, MOST_PAIRS, catalog.P2P_LATENCY).add(bounds, counts, total)
        self._add_counts(self.operations, operations)

    def _bounds(self, value: object) -> Sequence[float]:
        # One probe has the same bounds every second.
        if value != self.bounds:
            self.bounds = _checked_bounds(value)
        return self.bounds

    def _add_counts(self, totals: dict[str, int], found: Mapping[str, int]) -> None:
        for name, count in found.items():
            if name in totals or len(totals) < MOST_OPERATIONS:
                totals[name] = totals.get(name, 0) + count
            else:
                self.overflowed = True

    def _tally(self, tallies: dict[_Key, Tally], key: _Key, most: int, metric: Metric) -> Tally:
        tally = tallies.get(key)
        if tally is None:
            tally = Tally(metric)
            if len(tallies) < most:
                tallies[key] = tally
            else:
                self.overflowed = True
        return tally

    def copy(self) -> "Communication":
        """As it is now."""
        return Communication(
            communicated=dict(self.communicated),
            collectives={key: copy_tally(tally) for key, tally in self.collectives.items()},
            p2p={key: copy_tally(tally) for key, tally in self.p2p.items()},
            operations=dict(self.operations),
            overflowed=self.overflowed,
        )

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "communicated": self.communicated,
            "collectives": [[*key, tally.document()] for key, tally in self.collectives.items()],
            "p2p": [[*key, tally.document()] for key, tally in self.p2p.items()],
            "operations": self.operations,
            "overflowed": self.overflowed,
        }

    def restore(self, document: Mapping[str, Any]) -> None:
        """Go on from :meth:`document`."""
        self.communicated = dict(counts_of(document, "communicated", MOST_OPERATIONS))
        self.operations = dict(counts_of(document, "operations", MOST_OPERATIONS))
        self.overflowed = document["overflowed"] is True
        for op, size_class, source, tally in document["collectives"]:
            self.collectives[str(op), str(size_class), str(source)] = restored(
                catalog.COLLECTIVE_LATENCY, tally
            )
        for src, dst, size_class, source, tally in document["p2p"]:
            self.p2p[int(src), int(dst), str(size_class), str(source)] = restored(catalog.P2P_LATENCY, tally)


def copy_tally(tally: Tally) -> Tally:
    """A tally that does not grow with the first."""
    twin = Tally.__new__(Tally)
    twin.bounds, twin.counts, twin.sum = tally.bounds, tally.counts.copy(), tally.sum
    return twin


def restored(metric: Metric, document: dict[str, Any]) -> Tally:
    """A tally from its document."""
    tally = Tally(metric)
    tally.restore(document)
    return tally


def _checked_bounds(value: object) -> Sequence[float]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) >= _MOST_BUCKETS:
        raise WrongField("bounds")
    bounds = value
    if not all(type(bound) in (int, float) and 0 <= bound < inf for bound in bounds) or any(
        after <= before for before, after in pairwise(bounds)
    ):
        raise WrongField("bounds")
    return bounds


def _entries(record: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = record.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MOST_PAIRS or not all(isinstance(e, dict) for e in value):
        raise WrongField(name)
    return value


def _entry(entry: Mapping[str, Any], bounds: Sequence[float]) -> tuple[Mapping[str, Any], list[int], float]:
    counts = entry.get("counts")
    if not isinstance(counts, list) or len(counts) != len(bounds) + 1:
        raise WrongField("counts")
    if not all(type(count) is int and 0 <= count <= MOST_COUNT for count in counts):
        raise WrongField("counts")
    return entry, counts, real_of(entry, "sum")


def _size_class(entry: Mapping[str, Any]) -> str:
    size_class = entry.get("size_class")
    if size_class not in catalog.SIZE_CLASSES:
        raise WrongField("size_class")
    return str(size_class)


def _name(entry: Mapping[str, Any], field_name: str) -> str:
    name = text_of(entry, field_name, LONGEST_NAME)
    if not name:
        raise WrongField(field_name)
    return name


def _collective_key(entry: Mapping[str, Any]) -> CollectiveKey:
    return _name(entry, "op"), _size_class(entry), _name(entry, "source")


def _pair_key(entry: Mapping[str, Any]) -> PairKey:
    return count_of(entry, "src"), count_of(entry, "dst"), _size_class(entry), _name(entry, "source")
