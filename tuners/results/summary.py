"""The end of a run in one screen: the same text on the terminal and in ``summary.txt``."""

import json
import math
import textwrap
from collections.abc import Mapping
from typing import Any

from flyball.tuners.base import Interval
from flyball.tuners.explaining.explanation_text import short_effect, summary_lines
from flyball.tuners.measurement.telemetry import described
from flyball.tuners.objective import figure
from flyball.tuners.results.recommendation import Change, Recommendation, Side
from flyball.tuners.search.suggestions import told_together
from flyball.tuners.verification.verification import Decision

NOTHING_VERIFIED = "UNVERIFIED: nothing was verified; your configuration stands"
WIDTH = 80
HEIGHT = 24
FEWEST_CHANGES = 3
"""Shown even where the rest fills the screen."""
CHANGES_TITLE = ("", "what changes, and why:")
HEADLINES = {
    Decision.RECOMMENDED: "RECOMMENDED: {better}, verified on fresh runs",
    Decision.KEEP: "KEEP: your configuration is as good as any that was found",
    Decision.UNVERIFIED: "UNVERIFIED: maybe {better}, not certain enough to recommend",
}


def render_summary(recommendation: Recommendation, *, use: str) -> str:
    """Return the summary.

    Args:
        recommendation: as decided.
        use: the exact command that uses it, for example ``sh flyball_results/gpt/cmd_optimal.txt``; never
            wrapped, so that it can be copied.
    """
    above = [
        f"flyball: {headline(recommendation)}",
        *wrapped(f"  {recommendation.reasons[0]}"),
        *(line for note in recommendation.notes[:2] for line in wrapped(f"  {note}")),
        "",
        *rates(recommendation),
        *gains(recommendation),
        *loss_line(recommendation),
        *why_lines(recommendation),
        *alert_line(recommendation),
    ]
    explained, where_room = explanation_lines(recommendation)
    below = [
        "",
        *wrapped(f"  trials      {counts(recommendation.trials)}"),
        *wrapped(f"  time        {spent(recommendation.seconds)}"),
        *explained,
        "",
        "use it:",
        f"  {use}",
    ]
    room = HEIGHT - len(above) - len(below) - len(CHANGES_TITLE)
    if room - len(where_room) >= min(len(recommendation.changes), FEWEST_CHANGES + 1):
        above, room = [*above, *where_room], room - len(where_room)
    lines = [*above, *change_lines(recommendation.changes, room, measured_effects(recommendation)), *below]
    return "\n".join(lines) + "\n"


def headline(recommendation: Recommendation) -> str:
    """Return the verdict in one line."""
    if recommendation.verdict is Decision.UNVERIFIED and not recommendation.changes:
        return NOTHING_VERIFIED
    return HEADLINES[recommendation.verdict].format(better=recommendation.objective.terms.better)


def wrapped(text: str) -> list[str]:
    """Return a text in lines of ``WIDTH``, later ones indented."""
    return textwrap.wrap(text, WIDTH, subsequent_indent="    ") or [""]


def rates(recommendation: Recommendation) -> list[str]:
    """Return the two rates with their intervals; on ``keep`` the baseline's alone."""
    lines = [f"  {'baseline':<12}{rate_text(recommendation.baseline)}"]
    if recommendation.changes:
        name = "recommended" if recommendation.verdict is Decision.RECOMMENDED else "candidate"
        lines.append(f"  {name:<12}{rate_text(recommendation.recommended)}")
    return lines


def rate_text(side: Side) -> str:
    """Return what a side does by the study's objective, in its unit, with the interval."""
    if side.measurement is None:
        return "not measured"
    found, unit = side.measurement.value, side.measurement.objective.terms.unit
    return f"{figure(found.point)} {unit}  (95%: {figure(found.low)} to {figure(found.high)})"


def gain_text(gain: Interval | None) -> str:
    """Return a speedup as a factor with its interval."""
    if gain is None:
        return "not measured"
    if math.isinf(gain.high):
        return f"{gain.point:.3f}x  (by one pair of runs: no interval)"
    return f"{gain.point:.3f}x  (95%: {gain.low:.3f} to {gain.high:.3f})"


def gains(recommendation: Recommendation) -> list[str]:
    """Return both gains: of the whole command and of the JSON alone."""
    if not recommendation.changes:
        return []
    return [
        f"  gain        {gain_text(recommendation.speedup)}  whole command",
        f"              {gain_text(recommendation.speedup_json)}  DeepSpeed JSON alone",
        *throughput_line(recommendation),
    ]


def throughput_line(recommendation: Recommendation) -> list[str]:
    """Return what the gain costs or brings in throughput, where that was not what was compared."""
    if recommendation.throughput_ratio is None:
        return []
    return [f"  throughput  {gain_text(recommendation.throughput_ratio)}  samples/s"]


def loss_line(recommendation: Recommendation) -> list[str]:
    """Return what the loss guard said, where it had to say something."""
    return wrapped(f"  loss        {recommendation.loss.reason}") if recommendation.loss else []


def why_lines(recommendation: Recommendation) -> list[str]:
    """Return what GPUs, allocator and links did, before and after; nothing where nothing of it is known."""
    before = described(recommendation.baseline.measurement)
    after = described(recommendation.recommended.measurement) if recommendation.changes else {}
    pairs = [f"{name} {_before_after(text, after.get(name))}" for name, text in before.items()]
    return wrapped(f"  seen        {', '.join(pairs)}") if pairs else []


def alert_line(recommendation: Recommendation) -> list[str]:
    """Return which alerts said where to look; one line, what does not fit stands in the report."""
    told = "; ".join(told_together(recommendation.alerts))
    return [f"  alerts      {textwrap.shorten(told, WIDTH - 14, placeholder=' ...')}"] if told else []


def explanation_lines(recommendation: Recommendation) -> tuple[list[str], list[str]]:
    """Return the explanation, a line each: what must stand there, and what may where there is room."""
    if recommendation.explanation is None:
        return [], []
    must, may = summary_lines(recommendation.explanation)
    return [_one_line(line) for line in must], [_one_line(line) for line in may]


def _one_line(text: str) -> str:
    # What shorten takes for blanks would lose the indent and the column.
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 4].rsplit(' ', 1)[0]} ..."


def measured_effects(recommendation: Recommendation) -> dict[str, str]:
    """Return what each changed knob brings, by the first of the paths that it writes."""
    if recommendation.explanation is None:
        return {}
    told = {path: short_effect(each) for path, each in recommendation.explanation.by_path().items()}
    return {path: text for path, text in told.items() if text}


def _before_after(before: str, after: str | None) -> str:
    return before if after is None else f"{before} -> {after}"


def value_text(value: Any) -> str:
    """Return a value as it stands in JSON; nothing where there is none."""
    return "(unset)" if value is None else json.dumps(value, ensure_ascii=False)


def change_lines(changes: tuple[Change, ...], room: int, effects: Mapping[str, str]) -> list[str]:
    """Return the difference, a key, what it brings and its reason each.

    What does not fit into ``room`` lines is counted. A reason is there as a whole or not at all.
    """
    if not changes:
        return []
    shown = len(changes) if len(changes) <= room else max(FEWEST_CHANGES, room - 1)
    told = [_change_line(change, effects.get(change.path)) for change in changes[:shown]]
    left = len(changes) - shown
    spare = room - shown - (1 if left else 0)
    for place, change in enumerate(changes[:shown]):
        explained = _explained_change(change, effects.get(change.path))
        if len(explained) - 1 <= max(0, spare):
            told[place] = explained
            spare -= len(explained) - 1
    lines = [*CHANGES_TITLE, *(line for each in told for line in each)]
    return [*lines, f"  and {left} more in recommendation.json"] if left > 0 else lines


def _change_line(change: Change, effect: str | None) -> list[str]:
    text = f"{_pair_text(change)} ({effect})" if effect else _pair_text(change)
    return [f"  {textwrap.shorten(text, WIDTH - 2, placeholder=' ...')}"]


def _explained_change(change: Change, effect: str | None) -> list[str]:
    brings = f"{effect}; " if effect else ""
    return wrapped(f"  {_pair_text(change)} ({brings}{change.reason})")


def _pair_text(change: Change) -> str:
    return f"{change.path}: {value_text(change.before)} -> {value_text(change.after)}"


def counts(trials: Mapping[str, int]) -> str:
    """Return runs by outcome, most first."""
    ordered = sorted(trials.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number} {outcome.replace('_', ' ')}" for outcome, number in ordered) or "none"


def duration(seconds: float) -> str:
    """Return a length of time as people say it."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def spent(seconds: Mapping[str, float]) -> str:
    """Return the whole time and its parts by phase."""
    parts = ", ".join(f"{phase} {duration(each)}" for phase, each in seconds.items() if each > 0)
    return f"{duration(sum(seconds.values()))}" + (f" ({parts})" if parts else "")
