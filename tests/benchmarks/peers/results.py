"""The results of a comparison: one JSON document, and the same as tables for people."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.benchmarks.peers.base import FAILED, MEASURED, OUT_OF_MEMORY, Bench, Found
from tests.benchmarks.peers.candidates import OWN, SAME
from tests.benchmarks.peers.curves import best_so_far
from tests.benchmarks.peers.remeasure import Row, ratios, row_at

from flyball.tuners.base import Interval
from flyball.tuners.output import finite
from flyball.tuners.render import leaves

NOTHING = "-"


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

    def document(self) -> dict[str, Any]:
        """As JSON."""
        plain: dict[str, Any] = finite(
            {
                "command": shlex.join(self.bench.command),
                "machine": dict(self.machine),
                "memory_limit_ratio": self.bench.memory_limit_ratio,
                "searches": [
                    {**search.document(), "best_so_far": best_so_far(search)} for search in self.searches
                ],
                "rounds": self.rounds,
                "remeasured": [_measured(row) for row in self.rows],
                "ratios": [_ratios(self.rows, *key) for key in _keys(self.rows)],
            }
        )
        return plain

    def tables(self) -> str:
        """As Markdown."""
        parts = [
            f"`{shlex.join(self.bench.command)}`",
            "\n".join(f"- {name}: {text}" for name, text in self.summaries.items()),
            "## Searches",
            table(SEARCH_HEAD, [_search(search, self.own) for search in self.searches]),
            "\n".join(_notes(self.searches)),
        ]
        if self.rounds:
            parts += [
                f"## Measured again by a stopwatch, {self.rounds} interleaved rounds",
                "Each at its own global batch:",
                table(AGAIN_HEAD, self._again(OWN)),
                "All at your global batch, the micro batch kept as far as that divides:",
                table(AGAIN_HEAD, self._again(SAME)),
            ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _again(self, batch: str) -> list[list[str]]:
        limit = self.bench.memory_limit_ratio
        names = list(dict.fromkeys((row.candidate.name, row.candidate.seed) for row in self.rows))
        return [_again(self.rows, name, seed, batch, limit) for name, seed in names]


SEARCH_HEAD = (
    "peer",
    "trials",
    "out of memory",
    "failed",
    "search",
    "verification",
    "ended",
    "best it saw, samples/s",
    "recommended",
)
AGAIN_HEAD = (
    "what",
    "global batch",
    "samples/s",
    "over yours",
    "flyball over it",
    "flyball's JSON alone over it",
    "peak reserved",
    "within the limit",
)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _search(found: Found, own: Mapping[str, Any]) -> list[str]:
    name = _name(found.peer, found.seed)
    if not found.trials and found.pick is None:
        return [name, *[NOTHING] * (len(SEARCH_HEAD) - 2), f"did not run: {found.reason}"]
    curve = best_so_far(found)
    verified = found.verification_seconds
    best = f"{curve[-1][1]:.1f} after {curve[-1][0]:.0f} s" if curve else NOTHING
    return [
        name,
        f"{len(found.trials)}, {found.count(MEASURED)} measured",
        str(found.count(OUT_OF_MEMORY)),
        str(found.count(FAILED)),
        f"{found.search_seconds:.0f} s of {found.budget_seconds:.0f}",
        "none" if verified is None else f"{verified:.0f} s",
        found.ended or NOTHING,
        best,
        changes(found, own) if found.pick else f"nothing: {found.reason}",
    ]


def _notes(searches: Sequence[Found]) -> list[str]:
    """Each note once, with the searches that it is about."""
    about: dict[str, list[str]] = {}
    for search in searches:
        for note in search.notes:
            about.setdefault(note, []).append(_name(search.peer, search.seed))
    return [f"- {', '.join(names)}: {note}" for note, names in about.items()]


def changes(found: Found, own: Mapping[str, Any]) -> str:
    """Return what a pick changes of the user's config, command and environment, in one line."""
    assert found.pick is not None, "there is a pick"
    mine, theirs = leaves(own), leaves(found.pick.ds_config)
    config = [
        f"{path} {mine.get(path, 'absent')} -> {theirs.get(path, 'absent')}"
        for path in sorted({*mine, *theirs})
        if mine.get(path) != theirs.get(path)
    ]
    arguments = [f"{name} {value}".strip() for name, value in found.pick.arguments.items()]
    environment = [f"{name}={value}" for name, value in found.pick.environment.items()]
    probe = [f"probe: {name} {value}" for name, value in found.pick.probe.items()]
    return "; ".join([*config, *arguments, *environment, *probe]) or "yours"


def _again(rows: Sequence[Row], name: str, seed: int | None, batch: str, limit: float) -> list[str]:
    row = row_at(rows, name, seed, batch)
    shown = _name(name, seed)
    if row is None:
        return [shown, *[NOTHING] * (len(AGAIN_HEAD) - 1)]
    held = ratios(rows, name, seed, batch)
    rate = row.samples_per_second
    memory, share = row.memory, row.memory.share
    reserved = (
        f"{(memory.peak_reserved_bytes or 0) / 2**30:.1f} GiB ({share:.0%})" if share else memory.reason
    )
    return [
        shown,
        str(row.candidate.global_batch),
        interval(rate, "{:.1f}") if rate else f"did not run: {row.reason}",
        interval(held.over_baseline, "{:.3f}"),
        interval(held.flyball_over, "{:.3f}"),
        interval(held.json_over, "{:.3f}"),
        reserved or NOTHING,
        NOTHING if share is None else ("yes" if share <= limit else "no"),
    ]


def interval(found: Interval | None, pattern: str) -> str:
    """Return an estimate with its interval, for people."""
    if found is None:
        return NOTHING
    if found.low == found.high:
        return "the same configuration"
    if found.low == 0.0:
        return pattern.format(found.point)
    return f"{pattern.format(found.point)} ({pattern.format(found.low)} to {pattern.format(found.high)})"


def _name(peer: str, seed: int | None) -> str:
    return peer if seed is None else f"{peer} (seed {seed})"


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
