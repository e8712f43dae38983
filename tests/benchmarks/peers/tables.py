"""A comparison as tables for people, in Markdown."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from tests.benchmarks.peers.base import FAILED, MEASURED, OUT_OF_MEMORY, Found
from tests.benchmarks.peers.candidates import FLYBALL, OWN, SAME
from tests.benchmarks.peers.curves import best_so_far
from tests.benchmarks.peers.remeasure import Row, ratios, row_at
from tests.benchmarks.peers.results import Comparison

from flyball.tuners.base import Interval
from flyball.tuners.space.render import leaves

NOTHING = "-"
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


def tables(found: Comparison) -> str:
    """Return a comparison as Markdown."""
    parts = [
        f"`{shlex.join(found.bench.command)}`",
        "\n".join(f"- {name}: {text}" for name, text in found.summaries.items()),
        "## Searches",
        table(SEARCH_HEAD, [_search(search, found.own) for search in found.searches]),
        "\n".join([*_notes(found.searches), *_shares(found.searches), *_scripts(found)]),
    ]
    if found.rounds:
        parts += [
            f"## Measured again by a stopwatch (interleaved rounds: {found.rounds})",
            "Each at its own global batch:",
            table(AGAIN_HEAD, _rows(found, OWN)),
            "All at your global batch, the micro batch kept as far as that divides:",
            table(AGAIN_HEAD, _rows(found, SAME)),
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _rows(found: Comparison, batch: str) -> list[list[str]]:
    limit = found.bench.memory_limit_ratio
    names = list(dict.fromkeys((row.candidate.name, row.candidate.seed) for row in found.rows))
    return [_again(found.rows, name, seed, batch, limit) for name, seed in names]


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


def _shares(searches: Sequence[Found]) -> list[str]:
    """flyball's time over that of each search of the same seed that ran to its own end or its budget's."""
    lines = []
    for mine in (search for search in searches if search.peer == FLYBALL and search.pick):
        for other in searches:
            if other.seed == mine.seed and other.peer != FLYBALL and other.trials:
                whole = mine.search_seconds + (mine.verification_seconds or 0.0)
                lines.append(
                    f"- flyball's search took {mine.search_seconds / other.search_seconds:.2f} of "
                    f"{_name(other.peer, other.seed)}'s, with its verification "
                    f"{whole / other.search_seconds:.2f}"
                )
    return lines


def _scripts(found: Comparison) -> list[str]:
    return [f"- {_name(*key)}: run its pick with `sh {script}`" for key, script in found.scripts.items()]


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
