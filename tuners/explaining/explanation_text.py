"""The explanation in words, for the terminal, the page and the history."""

from flyball.tuners.base import Interval
from flyball.tuners.explaining.explanation import (
    Because,
    EffectKind,
    Explanation,
    Importance,
    KnobEffect,
    NotTried,
)
from flyball.tuners.explaining.study_cost import Cost, Payback

MOST_KNOBS = 4
LEAST_SHARE = 0.01
"""A knob whose interval begins below this may decide nothing."""
NO_TIME = 1e-6
"""Hours: less is what rounding leaves of nothing."""
TITLES = {
    Because.OUTSIDE: "outside the space",
    Because.EXCLUDED: "excluded",
    Because.NOT_ENTERED: "not entered",
    Because.SCREENED: "screened out",
    Because.MEMORY: "memory",
    Because.BUDGET: "not run",
}


def range_text(ratio: Interval) -> str:
    """Return the bounds of a ratio."""
    return f"{ratio.low:.3f} to {ratio.high:.3f}"


def effect_text(effect: KnobEffect) -> str:
    """Return in one line what one changed knob brings."""
    ratio, kind = effect.ratio, effect.kind
    if kind is EffectKind.NEEDED:
        return f"needed: {effect.reason}"
    if ratio is None:
        return f"not measured: {effect.reason}"
    if kind is EffectKind.NOTHING_MEASURABLE:
        return f"without it nothing measurable is lost ({range_text(ratio)})"
    if kind is EffectKind.SLOWER:
        return f"better without it: {ratio.point:.3f}x ({range_text(ratio)})"
    if kind is EffectKind.UNCLEAR:
        return f"not told apart from nothing: {ratio.point:.3f}x ({range_text(ratio)})"
    return f"{ratio.point:.3f}x ({range_text(ratio)})"


def short_effect(effect: KnobEffect) -> str:
    """Return the same for a line that holds more; empty where nothing was measured."""
    if effect.kind is EffectKind.NOT_MEASURED:
        return ""
    if effect.ratio is None:
        return "needed"
    return f"{effect.ratio.point:.3f}x"


def knobs_text(importance: Importance, *, most: int = MOST_KNOBS) -> str:
    """Return the knobs with their shares, or why there are none; one that stands out by chance is said to."""
    told = [
        f"{each.knob} {each.share.point:.0%} ({each.share.low:.0%} to {each.share.high:.0%})"
        for each in importance.knobs[:most]
    ]
    if told and all(each.share.low < LEAST_SHARE for each in importance.knobs):
        return f"not certain which knob, most likely {told[0]}"
    return ", ".join(told) or importance.reason or "no knob was varied"


def cost_text(cost: Cost) -> str:
    """Return the cost with its parts."""
    parts = ", ".join(
        f"{phase.replace('_', '-')} {hours:.3g}"
        for phase, hours in cost.by_phase().items()
        if hours > NO_TIME
    )
    return f"{cost.device_hours:.3g} {cost.unit} ({parts})"


def payback_text(found: Payback | None) -> str:
    """Return when the study has paid for itself."""
    if found is None:
        return "never: nothing faster is recommended"
    return f"after {hours_text(found.point)} of production ({_bounds(found)})"


def _bounds(found: Payback) -> str:
    low, high = hours_text(found.low), "no bound" if found.high is None else hours_text(found.high)
    # The unit is said once, where it is the same.
    number, _, unit = low.partition(" ")
    return f"{number if high.endswith(' ' + unit) else low} to {high}"


def hours_text(hours: float) -> str:
    """Return hours in the unit that fits."""
    if hours < 1:
        return f"{hours * 60:.2g} min"
    return f"{hours:.3g} h" if hours < 48 else f"{hours / 24:.3g} days"


def not_tried_text(group: NotTried) -> str:
    """Return one group in one line."""
    more = group.count - len(group.items)
    names = ", ".join(group.items) + (f" and {more} more" if more and group.items else "")
    return f"{names}: {group.reason}" if names else f"{group.count} {group.reason}"


def summary_lines(found: Explanation) -> tuple[list[str], list[str]]:
    """Return what the terminal's screen must hold, and what it holds where there is room."""
    cost = f"  cost        {found.cost.device_hours:.3g} {found.cost.unit}"
    if found.payback:
        cost += f"; paid back in {hours_text(found.payback.point)} of use ({_bounds(found.payback)})"
    must = [cost]
    spare = [each.reversion.knob for each in found.dispensable()]
    if spare:
        alone = "one of them alone" if len(spare) > 1 else "it"
        must.append(f"  may go      {', '.join(spare)}: without {alone} nothing measurable is lost")
    worse = [each.reversion.knob for each in found.effects if each.kind is EffectKind.SLOWER]
    if worse:
        must.append(f"  look at     {', '.join(worse)}: measured better without it")
    return must, [f"  matters     {knobs_text(found.speed)}"]
