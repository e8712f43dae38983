"""Measures what each change of a recommendation brings, by putting one knob at a time back.

It runs only after the verdict is stored, spends only what is left, and changes nothing of the verdict.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import Configuration, Interval, Phase, TrialReport
from flyball.tuners.explaining.ablation_effects import REFERENCE, kind_of, ratios
from flyball.tuners.explaining.ablation_plan import Plan
from flyball.tuners.explaining.explanation import EffectKind, KnobEffect, Reversion
from flyball.tuners.verification.final_runs import LabelledRun

STOPPED = "stopped by the user"
REFERENCE_FAILURES = 2
"""So many failed runs of the recommended end it: what is compared does not stand."""


@dataclass(kw_only=True, slots=True)
class Ablation:
    """Runs one plan.

    Args:
        found: the knobs of the plan.
        make_run: makes one recorded run, or answers from the record.
        recorded: whether a run of that label and configuration was made already: it costs nothing.
        room: asked before a round with the number of its runs: whether what is left holds them.
        stopped: whether the user asked to finish.
    """

    plan: Plan
    found: Mapping[str, Reversion]
    recommended: Configuration
    make_run: LabelledRun
    recorded: Callable[[str, Configuration], bool]
    room: Callable[[int], bool]
    stopped: Callable[[], bool]
    seed: int
    rounds: list[dict[str, float]] = field(default_factory=list)
    """Of every whole round: key to samples a second."""
    failed: dict[str, str] = field(default_factory=dict)
    """Knob to how a run without it failed."""
    ended: str = ""
    """Why it ended before its plan, or empty."""

    def run(self) -> None:
        """Make the rounds, until the plan, the time or the user's patience ends."""
        void = 0
        for number in range(self.plan.rounds):
            keys = [REFERENCE, *(knob for knob in self.plan.knobs if knob not in self.failed)]
            why = self._why_stop(number, keys)
            if why or len(keys) == 1:
                self.ended = why
                return
            # The order of all knobs is drawn, whoever has failed: a resumed study draws the same.
            order = [REFERENCE, *self.plan.knobs]
            random.Random(f"{self.seed}:ablation:{number}").shuffle(order)
            made = self._round(number, [key for key in order if key in keys])
            if made is None:
                self.ended = STOPPED
                return
            if REFERENCE in made:
                self.rounds.append(made)
                continue
            void += 1
            if void >= REFERENCE_FAILURES:
                self.ended = "runs of the recommended configuration failed"
                return

    def _why_stop(self, number: int, keys: Sequence[str]) -> str:
        if self.stopped():
            return STOPPED
        known = all(self.recorded(label(key, number), self._configuration(key)) for key in keys)
        return "" if known or self.room(len(keys)) else "the budget ended"

    def _round(self, number: int, order: Sequence[str]) -> dict[str, float] | None:
        """Make one round and return its rates; None where it was broken off."""
        made: dict[str, float] = {}
        for key in order:
            report = self.make_run(Phase.ABLATION, self._configuration(key), label(key, number), False)
            stopped = report.outcome.kind is OutcomeKind.INTERRUPTED
            if stopped or (self.stopped() and key != order[-1]):
                return None
            if report.measurement is not None:
                made[key] = report.measurement.merit.point
            elif key != REFERENCE:
                self.failed[key] = failure(report)
        return made

    def _configuration(self, key: str) -> Configuration:
        return self.recommended if key == REFERENCE else self.found[key].configuration

    def effects(self, *, minimum_gain: float) -> dict[str, KnobEffect]:
        """Return what is known of the plan's knobs so far."""
        keys = [REFERENCE, *(knob for knob in self.plan.knobs if knob not in self.failed)]
        whole = [{key: each[key] for key in keys} for each in self.rounds]
        measured = ratios(whole) if len(whole) > 1 else {}
        return {
            knob: self._effect(knob, measured.get(knob), minimum_gain=minimum_gain)
            for knob in self.plan.knobs
        }

    def _effect(self, knob: str, ratio: Interval | None, *, minimum_gain: float) -> KnobEffect:
        reversion = self.found[knob]
        if knob in self.failed:
            return KnobEffect(reversion=reversion, kind=EffectKind.NEEDED, reason=self.failed[knob])
        if ratio is None:
            reason = f"{self.ended or 'too few rounds'} after {len(self.rounds)} rounds"
            return KnobEffect(reversion=reversion, kind=EffectKind.NOT_MEASURED, reason=reason)
        kind = kind_of(ratio, minimum_gain=minimum_gain)
        return KnobEffect(reversion=reversion, kind=kind, ratio=ratio, rounds=len(self.rounds))


def label(key: str, number: int) -> str:
    """Name a run of the ablation in the record."""
    return f"ablation: {key}, round {number + 1}"


def failure(report: TrialReport) -> str:
    """Return how a run without a knob failed, in one line."""
    kind = report.outcome.kind.value.replace("_", " ")
    return f"without it trial {report.number} ended as {kind}: {report.outcome.reason}"
