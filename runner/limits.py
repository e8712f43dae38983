"""When a trial has taken too long: start-up, a hang, a pause, or in all."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from flyball.collectors.journal import RankJournal, Record
from flyball.runner.base import Limits


class Passed(StrEnum):
    """Which limit was passed."""

    STARTUP = "startup"
    HANG = "hang"
    PAUSE = "pause"
    TOTAL = "total"
    EXIT = "exit"
    """Every rank said that it ends, and the processes stay."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overrun:
    """A passed limit, in words."""

    limit: Passed
    text: str
    rank: int | None = None


def overrun(
    journals: Mapping[int, RankJournal], limits: Limits, *, ranks: int, started: float, now: float
) -> Overrun | None:
    """Return the first limit passed; ``started`` and ``now`` are on the machine's monotonic clock."""
    if now - started - _longest_paused(journals, limits, now) > limits.total_seconds:
        return Overrun(limit=Passed.TOTAL, text=f"longer than {limits.total_seconds:g} s in all")
    stepping = [rank for rank, journal in journals.items() if journal.last("step") is not None]
    if len(stepping) < max(ranks, 1) and now - started > limits.startup_seconds:
        return _late(journals, stepping, limits)
    ended = [rank for rank, journal in journals.items() if journal.last("end") is not None]
    # a rank that has ended waits for the others; only when all have is its staying a fault
    waiting = ended if len(ended) < max(len(journals), ranks) else []
    for rank in sorted(set(journals) - set(waiting)):
        found = _stalled(rank, journals[rank], limits, now)
        if found is not None:
            return found
    return None


def _longest_paused(journals: Mapping[int, RankJournal], limits: Limits, now: float) -> float:
    """Seconds that the rank which paused longest has evaluated and saved: no part of the total."""
    return max((_paused(journal, limits, now) for journal in journals.values()), default=0.0)


def _paused(journal: RankJournal, limits: Limits, now: float) -> float:
    """Seconds in known pauses, one inside another once; between two steps ``pause_seconds`` at most."""
    total = since_step = begun = 0.0
    inside: set[tuple[object, object]] = set()
    for record in journal.records:
        clock, phase = float(record.get("clock", now)), (record.get("engine"), record.get("phase"))
        if record["kind"] == "step":
            total, since_step = total + min(since_step, limits.pause_seconds), 0.0
        elif record["kind"] == "pause" and record.get("edge") == "begin":
            begun = begun if inside else clock
            inside.add(phase)
        elif record["kind"] == "pause" and phase in inside:
            inside.discard(phase)
            since_step += 0.0 if inside else clock - begun
    open_seconds = now - begun if inside else 0.0
    return total + min(since_step + open_seconds, limits.pause_seconds)


def _late(journals: Mapping[int, RankJournal], stepping: list[int], limits: Limits) -> Overrun:
    engines = [rank for rank, journal in journals.items() if journal.header is not None]
    if stepping:
        seen = f"only ranks {sorted(stepping)} made one"
    else:
        seen = "there is an engine" if engines else "deepspeed.initialize was not reached"
    return Overrun(
        limit=Passed.STARTUP, text=f"no first step on every rank within {limits.startup_seconds:g} s; {seen}"
    )


def _stalled(rank: int, journal: RankJournal, limits: Limits, now: float) -> Overrun | None:
    paused = _open_pause(journal)
    if paused is not None:
        if now - paused["clock"] <= limits.pause_seconds:
            return None
        text = f"{paused.get('phase')} for more than {limits.pause_seconds:g} s"
        return Overrun(limit=Passed.PAUSE, text=text, rank=rank)
    last = _last_sign(journal)
    if last is None or now - last <= limits.hang_floor_seconds:
        return None
    allowed = _patience(journal, limits)
    if now - last <= allowed:
        return None
    if journal.last("end") is not None:
        return Overrun(
            limit=Passed.EXIT, text=f"still there {allowed:.0f} s after the script ended", rank=rank
        )
    step = journal.last("step")
    text = f"no step for {now - last:.0f} s after step {step.get('step') if step else 0}"
    return Overrun(limit=Passed.HANG, text=text, rank=rank)


def _open_pause(journal: RankJournal) -> Record | None:
    """The outermost pause that has begun since the newest step and has not ended, or None.

    A checkpoint inside an evaluation ends before it.
    """
    newest = journal.last("step")
    stepped = float(newest["clock"]) if newest is not None else 0.0
    running: dict[object, Record] = {}
    for record in journal.of_kind("pause"):
        phase = (record.get("engine"), record.get("phase"))
        if record.get("edge") != "begin":
            running.pop(phase, None)
        elif float(record["clock"]) >= stepped:
            running[phase] = record
    return next(iter(running.values()), None)


def _patience(journal: RankJournal, limits: Limits) -> float:
    seconds = [
        step["seconds"] / max(step.get("count", 1), 1)
        for step in journal.of_kind("step")[-200:]
        if step.get("seconds")
    ]
    median = statistics.median(seconds) if seconds else 0.0
    return max(limits.hang_floor_seconds, limits.hang_factor * median)


def _last_sign(journal: RankJournal) -> float | None:
    """When a rank that has made a step last moved: its newest step, end of a pause, or end."""
    if journal.last("step") is None:
        return None
    signs = [journal.last(kind) for kind in ("step", "pause", "end")]
    return max(float(record["clock"]) for record in signs if record is not None)
