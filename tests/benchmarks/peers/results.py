"""The results of a comparison as one document."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.benchmarks.peers.base import Bench, Found
from tests.benchmarks.peers.candidates import OWN, SAME
from tests.benchmarks.peers.curves import best_so_far
from tests.benchmarks.peers.remeasure import Row, ratios

from flyball.tuners.results.output import finite


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """All that one call of the bench found."""

    bench: Bench
    machine: Mapping[str, Any]
    """Fingerprint of hardware and software."""
    own: Mapping[str, Any]
    """The user's config."""
    searches: Sequence[Found]
    rows: Sequence[Row]
    rounds: int
    summaries: Mapping[str, str]
    """Peer to what it is."""
    scripts: Mapping[tuple[str, int], str]
    """Peer and seed to what runs its pick, where it has one."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        plain: dict[str, Any] = finite(
            {
                "command": shlex.join(self.bench.command),
                "machine": dict(self.machine),
                "memory_limit_ratio": self.bench.memory_limit_ratio,
                "searches": [self._searched(search) for search in self.searches],
                "rounds": self.rounds,
                "remeasured": [_measured(row) for row in self.rows],
                "ratios": [_ratios(self.rows, *key) for key in _keys(self.rows)],
            }
        )
        return plain

    def _searched(self, search: Found) -> dict[str, Any]:
        script = self.scripts.get((search.peer, search.seed))
        return {**search.document(), "best_so_far": best_so_far(search), "script": script}


def _keys(rows: Sequence[Row]) -> list[tuple[str, int | None, str]]:
    names = dict.fromkeys((row.candidate.name, row.candidate.seed) for row in rows)
    return [(name, seed, batch) for name, seed in names for batch in (OWN, SAME)]


def _measured(row: Row) -> dict[str, Any]:
    rate = row.samples_per_second
    return {
        **asdict(row.candidate),
        "rates": list(row.rates),
        "samples_per_second": asdict(rate) if rate else None,
        "reason": row.reason,
        "memory": {**asdict(row.memory), "share": row.memory.share},
    }


def _ratios(rows: Sequence[Row], name: str, seed: int | None, batch: str) -> dict[str, Any]:
    return {"name": name, "seed": seed, "batch": batch, **asdict(ratios(rows, name, seed, batch))}
