"""The end of a study: its verdict is written down first, then explained as far as the budget goes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from flyball.errors import FlyballError, StorageFailed
from flyball.tuners.base import Configuration, StudyObserver
from flyball.tuners.explaining.ablation_phase import AblationPhase
from flyball.tuners.explaining.explanation import Explanation, Importance, KnobEffect
from flyball.tuners.explaining.importance import memory_importance, speed_importance
from flyball.tuners.explaining.not_tried import not_tried
from flyball.tuners.explaining.study_cost import payback, study_cost
from flyball.tuners.interruption import Interruption
from flyball.tuners.memory.screen import MemoryScreen
from flyball.tuners.objective import Objective
from flyball.tuners.results.conclusion import Concluded, Conclusion, conclude, throughput_beside
from flyball.tuners.study.ledger import Ledger
from flyball.tuners.verification.verification import Decision


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """Writes one study down.

    Args:
        search_ended: why the search ended.
        screened_out: families that the search left, each with why.
    """

    ledger: Ledger
    observer: StudyObserver
    interruption: Interruption
    search_ended: str
    screened_out: tuple[str, ...] = ()

    def write(self, study: Conclusion) -> tuple[Concluded, bool]:
        """Store the verdict, measure what its changes bring, and write both; nothing changes the verdict.

        Returns what was written, and whether there is nothing left that a resumed study could do.

        Raises:
            StorageFailed: the verdict could not be written. What fails after that is said and left.
        """
        speed = speed_importance(study.space, study.reports, seed=self.ledger.seed)
        phase = AblationPhase(
            study=study,
            ledger=self.ledger,
            observer=self.observer,
            interruption=self.interruption,
            order=speed.order,
            cannot_fit=_screen(study),
        )
        stored = conclude(self._explained(study, speed, phase.effects()))
        self.ledger.keep(stored)
        whole = True
        try:
            phase.run()
        except FlyballError as error:
            # What the disk could not hold can be made up for; what the script does would happen again.
            whole = not isinstance(error, StorageFailed)
            phase.leave_off(error.what)
            self.observer.note(f"what each change brings was left off: {error}")
        try:
            after = replace(study, reports=self.ledger.reports())
            return conclude(self._explained(after, speed, phase.effects())), whole
        except FlyballError as error:
            self.observer.note(f"the recommendation stands, its explanation could not be written: {error}")
            return stored, False

    def _explained(self, study: Conclusion, speed: Importance, effects: Sequence[KnobEffect]) -> Conclusion:
        limit = study.options.memory_limit_ratio
        context, verdict = study.job.context, study.verdict
        cost = study_cost(
            study.reports,
            devices=context.world_size,
            device=context.device,
            spent_seconds=study.spending.spent(),
        )
        gain = verdict.verification.speedup if verdict.decision is Decision.RECOMMENDED else None
        if gain is not None and study.options.objective is Objective.ENERGY:
            gain = throughput_beside(study, verdict.winner or "")  # what is paid back is time
        found = Explanation(
            speed=speed,
            memory=memory_importance(
                study.space, study.reports, memory_limit_ratio=limit, seed=self.ledger.seed
            ),
            effects=tuple(effects),
            cost=cost,
            payback=payback(cost, gain),
            not_tried=not_tried(
                study.space,
                study.reports,
                memory_limit_ratio=limit,
                search_ended=self.search_ended,
                cannot_fit=_screen(study),
                screened_out=self.screened_out,
                rejected=study.memory.rejected if study.memory else {},
            ),
        )
        return replace(study, explanation=found)


def _screen(study: Conclusion) -> Callable[[Configuration], str | None]:
    """Return what says why a configuration certainly runs out of memory."""
    screen = study.memory or MemoryScreen.of(study.job.context, study.reports)
    return screen.cannot_fit
