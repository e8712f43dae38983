"""Explanations made up for the tests of what is written and shown."""

from typing import Any

from tests.tuners.statistics_fakes import configuration, interval

from flyball.tuners.base import Interval
from flyball.tuners.explaining.explanation import (
    Because,
    EffectKind,
    Explanation,
    Importance,
    KnobEffect,
    KnobShare,
    NotTried,
    Reversion,
)
from flyball.tuners.explaining.study_cost import Cost, Payback


def effect(
    knob: str, kind: EffectKind = EffectKind.FASTER, ratio: float | None = 1.12, **other: Any
) -> KnobEffect:
    paths = {
        "micro_batch": ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps"),
        "zero_stage": ("zero_optimization.stage",),
    }.get(knob, (knob,))
    return KnobEffect(
        reversion=Reversion(
            knob=knob, together=(), paths=paths, own=1, recommended=8, configuration=configuration({})
        ),
        kind=kind,
        ratio=interval(ratio, 0.01) if ratio is not None else None,
        rounds=4 if ratio is not None else 0,
        **other,
    )


EFFECTS = (
    effect("micro_batch"),
    effect("zero_stage", EffectKind.NOTHING_MEASURABLE, 1.001),
    effect("compile", EffectKind.NEEDED, None, reason="without it trial 31 ended as out of memory: <b>"),
    effect("NCCL_ALGO", EffectKind.NOT_MEASURED, None, reason="12 s were left"),
)


def explained(**other: Any) -> Explanation:
    usual: dict[str, Any] = {
        "speed": Importance(
            knobs=(
                KnobShare(knob="micro_batch", share=Interval(point=0.71, low=0.52, high=0.83)),
                KnobShare(knob="zero_stage", share=Interval(point=0.2, low=0.09, high=0.35)),
            ),
            points=24,
            explained=0.9,
        ),
        "memory": None,
        "effects": EFFECTS,
        "cost": Cost(devices=8, unit="GPU hours", hours={"search": 0.2, "start-up": 0.05}),
        "payback": Payback(point=1.25, low=1.1, high=None),
        "not_tried": (
            NotTried(
                because=Because.EXCLUDED,
                reason="the job is not a <i>pipeline</i>",
                items=("pipeline_chunks",),
                count=1,
            ),
            NotTried(because=Because.BUDGET, reason="of 96 combinations", items=(), count=72),
        ),
    }
    return Explanation(**{**usual, **other})
