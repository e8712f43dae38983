"""The ablation of one study: what can be put back, what of it the rest of the budget holds, and its runs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import Configuration, Phase, StudyObserver, TrialReport
from flyball.tuners.explaining.ablation import Ablation, failure
from flyball.tuners.explaining.ablation_plan import Plan, least_seconds, plan_rounds, read_plan
from flyball.tuners.explaining.ablation_reversions import reversions
from flyball.tuners.explaining.explanation import EffectKind, KnobEffect, Reversion
from flyball.tuners.interruption import Interruption
from flyball.tuners.results.conclusion import Conclusion
from flyball.tuners.results.summary import duration
from flyball.tuners.study.ledger import Ledger
from flyball.tuners.verification.verification import Decision

PENDING = "the study ended before"
OFF = "switched off by --ablation off"


@dataclass(kw_only=True, slots=True)
class AblationPhase:
    """Made from a study that has its verdict.

    Args:
        study: as it was concluded.
        order: knob to its importance.
        cannot_fit: why a configuration certainly runs out of memory, or None.
    """

    study: Conclusion
    ledger: Ledger
    observer: StudyObserver
    interruption: Interruption
    order: Mapping[str, float]
    cannot_fit: Callable[[Configuration], str | None]
    known: dict[str, KnobEffect] = field(init=False, default_factory=dict)
    """What is known without a run, and why the others were not measured."""
    found: tuple[Reversion, ...] = field(init=False, default=())
    _pending: str = field(init=False, default=PENDING)
    _running: Ablation | None = field(init=False, default=None)
    _began: float = field(init=False, default=0.0)
    _limit: float = field(init=False, default=0.0)
    _lengths: list[float] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        winner = self._winner()
        if winner is not None:
            self.found = reversions(self.study.space, winner, self.order, cannot_fit=self.cannot_fit)
        for each in self.found:
            self._settle(each)

    def _winner(self) -> Configuration | None:
        verdict, final = self.study.verdict, self.study.final
        if verdict.decision is not Decision.RECOMMENDED or final is None:
            return None
        return final.candidates.get(verdict.winner or "")

    def _settle(self, each: Reversion) -> None:
        """Say what needs no run: it cannot be made, was made already, or the knob is the only change."""
        verification = self.study.verdict.verification
        own = each.configuration.digest
        ran_out = next((report for report in self.study.reports if _ran_out(report, own)), None)
        if each.impossible is not None:
            self.known[each.knob] = _not_measured(each, each.impossible)
        elif own == self.study.baseline.configuration.digest and verification.speedup is not None:
            self.known[each.knob] = KnobEffect(
                reversion=each,
                kind=EffectKind.FASTER,
                ratio=verification.speedup,
                rounds=verification.rounds,
                by_verification=True,
            )
        elif ran_out is not None and ran_out.phase is not Phase.ABLATION:
            self.known[each.knob] = KnobEffect(
                reversion=each, kind=EffectKind.NEEDED, reason=failure(ran_out)
            )

    def run(self) -> None:
        """Make the runs that the budget holds; what they showed so far can be asked for at any time."""
        winner, final = self._winner(), self.study.final
        open_ones = [each for each in self.found if each.knob not in self.known]
        if winner is None or final is None or not open_ones:
            return
        if self.study.options.ablation_seconds == 0:
            self._leave(open_ones, OFF)
            return
        if self.interruption.finish_requested:
            self._leave(open_ones, "stopped by the user")
            return
        plan = self._planned(winner, open_ones)
        chosen = {each.knob: each for each in open_ones if each.knob in plan.knobs}
        self._leave([each for each in open_ones if each.knob not in chosen], self._too_dear(winner))
        self._tell(plan)
        if not chosen:
            return
        self._running = Ablation(
            plan=plan,
            found=chosen,
            recommended=winner,
            make_run=self._make_run,
            recorded=final.recorded,
            room=self._room,
            stopped=lambda: self.interruption.finish_requested,
            seed=self.ledger.seed,
        )
        self._running.run()

    def leave_off(self, reason: str) -> None:
        """Say why no more is measured."""
        self._pending = reason
        if self._running is not None:
            self._running.ended = reason

    def effects(self) -> tuple[KnobEffect, ...]:
        """Return what is known of every changed knob, the most important first."""
        minimum = self.study.verdict.verification.minimum_gain
        measured = self._running.effects(minimum_gain=minimum) if self._running else {}
        known = {**self.known, **measured}
        return tuple(known.get(each.knob) or _not_measured(each, self._pending) for each in self.found)

    # ---- what it may take -----------------------------------------------------------------------

    def _planned(self, winner: Configuration, open_ones: Sequence[Reversion]) -> Plan:
        spending = self.study.spending
        self._began, self._limit = spending.spent(), self._seconds()
        earlier = read_plan(self.ledger.output) if self.ledger.reports(Phase.ABLATION) else None
        names = [each.knob for each in open_ones]
        if earlier is not None and earlier.reference == winner.digest and set(earlier.knobs) <= set(names):
            return earlier
        plan = plan_rounds(
            names,
            reference=winner.digest,
            reference_seconds=spending.seconds_of(winner.digest),
            reverted_seconds=self._reverted_seconds(winner),
            limit_seconds=self._limit,
        )
        if plan.knobs:
            plan.write(self.ledger.output)
        return plan

    def _reverted_seconds(self, winner: Configuration) -> float:
        """Expected length of a run with a knob put back: between the recommended's and the user's own."""
        spending = self.study.spending
        return max(spending.seconds_of(winner.digest), spending.own_seconds())

    def _seconds(self) -> float:
        """What it may take: what the budget leaves; without one, as long as search or verification took."""
        made = self.ledger.reports(Phase.ABLATION)
        asked, left = self.study.options.ablation_seconds, self.study.spending.left()
        already = sum(report.total_seconds for report in made)
        if asked is not None:
            return max(0.0, min(asked - already, math.inf if left is None else left))
        if left is not None:
            return max(0.0, left)
        longest = max(
            sum(report.total_seconds for report in self.ledger.reports(phase))
            for phase in (Phase.SEARCH, Phase.VERIFICATION)
        )
        return max(0.0, longest - already)

    def _room(self, runs: int) -> bool:
        spent = self.study.spending.spent() - self._began
        winner = self._winner()
        expected = self._reverted_seconds(winner) if winner else 0.0
        if self._lengths:
            expected = sum(self._lengths) / len(self._lengths)
        return spent + runs * expected <= self._limit

    def _make_run(self, phase: Phase, own: Configuration, label: str, cold: bool) -> TrialReport:
        assert self.study.final is not None
        report = self.study.final.make_run(phase, own, label, cold)
        self._lengths.append(report.total_seconds)
        return report

    # ---- what is said of it ---------------------------------------------------------------------

    def _leave(self, those: Sequence[Reversion], reason: str) -> None:
        for each in those:
            self.known[each.knob] = _not_measured(each, reason)

    def _too_dear(self, winner: Configuration) -> str:
        least = least_seconds(self.study.spending.seconds_of(winner.digest), self._reverted_seconds(winner))
        return f"{duration(self._limit)} were left, and one knob takes {duration(least)} or more"

    def _tell(self, plan: Plan) -> None:
        dear = [name for name, each in self.known.items() if each.kind is EffectKind.NOT_MEASURED]
        rest = f"; not measured: {', '.join(dear)}" if dear else ""
        if plan.knobs:
            self.observer.note(
                "the verdict is stored; now what each change brings, put back one at a time in "
                f"{plan.rounds} rounds within {duration(self._limit)}: {', '.join(plan.knobs)}{rest} "
                "(Ctrl-C keeps the recommendation)"
            )
        elif dear:
            self.observer.note(f"what each change brings was not measured: {self.known[dear[0]].reason}")


def _ran_out(report: TrialReport, digest: str) -> bool:
    return report.configuration.digest == digest and report.outcome.kind is OutcomeKind.OUT_OF_MEMORY


def _not_measured(each: Reversion, reason: str) -> KnobEffect:
    return KnobEffect(reversion=each, kind=EffectKind.NOT_MEASURED, reason=reason)
