"""The ``explanation`` of ``recommendation.json``; its ``text``s say the numbers in words."""

import math
from typing import Any

from flyball.tuners.base import Interval
from flyball.tuners.explaining.explanation import Explanation, Importance, KnobEffect, NotTried
from flyball.tuners.explaining.explanation_text import (
    cost_text,
    effect_text,
    knobs_text,
    not_tried_text,
    payback_text,
)
from flyball.tuners.explaining.study_cost import Cost, Payback


def explanation_json(found: Explanation | None) -> dict[str, Any] | None:
    """Return the explanation; null where none was made, as for a study over production runs."""
    if found is None:
        return None
    return {
        "importance": importance_json(found.speed),
        "memory_importance": importance_json(found.memory) if found.memory else None,
        "effects": [effect_json(each) for each in found.effects],
        "cost": cost_json(found.cost),
        "payback": payback_json(found.payback),
        "not_tried": [not_tried_json(each) for each in found.not_tried],
    }


def importance_json(importance: Importance) -> dict[str, Any]:
    """Return what decides one thing."""
    return {
        "knobs": [{"knob": each.knob, "share": _interval(each.share)} for each in importance.knobs],
        "configurations": importance.points,
        "explained": importance.explained,
        "reason": importance.reason or None,
        "text": knobs_text(importance),
    }


def effect_json(effect: KnobEffect) -> dict[str, Any]:
    """Return what one changed knob brings."""
    own = effect.reversion
    return {
        "knob": own.knob,
        "together_with": list(own.together),
        "paths": list(own.paths),
        "own": own.own,
        "recommended": own.recommended,
        "effect": effect.kind.value,
        "ratio": _interval(effect.ratio),
        "rounds": effect.rounds,
        "measured_by": "verification" if effect.by_verification else "ablation" if effect.rounds else None,
        "reason": effect.reason or None,
        "text": effect_text(effect),
    }


def cost_json(cost: Cost) -> dict[str, Any]:
    """Return what the study cost."""
    return {
        "devices": cost.devices,
        "unit": cost.unit,
        "device_hours": cost.device_hours,
        "wall_hours": cost.wall_hours,
        "device_hours_by_phase": cost.by_phase(),
        "text": cost_text(cost),
    }


def payback_json(found: Payback | None) -> dict[str, Any] | None:
    """Return after how many hours of production the study has paid for itself."""
    if found is None:
        return None
    hours = {"point": found.point, "low": found.low, "high": found.high}
    return {"production_hours": hours, "text": payback_text(found)}


def not_tried_json(group: NotTried) -> dict[str, Any]:
    """Return one group of things not tried."""
    return {
        "because": group.because.value,
        "reason": group.reason,
        "items": list(group.items),
        "count": group.count,
        "text": not_tried_text(group),
    }


def _interval(found: Interval | None) -> dict[str, float] | None:
    if found is None or not math.isfinite(found.high):
        return None
    return {"point": found.point, "low": found.low, "high": found.high}
