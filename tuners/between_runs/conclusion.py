"""Writes what a study over production runs has come to: a study's result files, with the race in them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from flyball.clock import Clock
from flyball.tuners.base import Configuration, Phase, TrialReport
from flyball.tuners.between_runs.race import RaceRun
from flyball.tuners.between_runs.so_far import SoFar
from flyball.tuners.interruption import Interruption
from flyball.tuners.results.conclusion import Concluded, Conclusion, conclude
from flyball.tuners.search.suggestions import leading_alerts
from flyball.tuners.trials.spending import Spending
from flyball.tuners.verification.declared import Declared
from flyball.tuners.verification.final_runs import FinalRuns, Verdict, json_alone
from flyball.tuners.verification.tally import BASELINE
from flyball.tuners.verification.verification import VerificationResult


def conclude_race(
    study: SoFar,
    result: VerificationResult,
    declared: Declared,
    races: Mapping[str, Sequence[RaceRun]],
    baseline: TrialReport,
    clock: Clock,
) -> Concluded:
    """Write the result files and return what is to be recorded.

    Args:
        study: as it stands.
        result: of the race.
        declared: its candidates and its rule.
        races: each candidate's key to the runs of its race.
        baseline: the user's own first measured run.
        clock: for what was spent.
    """
    options, spending = study.ledger.options, Spending(clock=clock, budget_seconds=None, rules=declared.rules)
    final = FinalRuns(
        space=study.space,
        baseline=study.own,
        candidates={key: study.configuration(digest) for key, digest in declared.candidates.items()},
        make_run=_nothing_runs,
        spending=spending,
        interruption=Interruption(),
        memory_limit_ratio=options.memory_limit_ratio,
    )
    for key, race in races.items():
        final.measured = {
            BASELINE: [run for is_candidate, run in race if not is_candidate],
            key: [run for is_candidate, run in race if is_candidate],
        }
    return conclude(
        Conclusion(
            options=options,
            job=study.job,
            space=study.space,
            baseline=replace(baseline, configuration=study.own),
            verdict=_verdict(study, result, final),
            final=final,
            reports=study.ledger.reports(),
            spending=spending,
            name=study.ledger.name,
            output=study.ledger.output,
            engine=study.engine,
            alerts=leading_alerts(None, study.ledger.reports(Phase.BASELINE)),
        )
    )


def _verdict(study: SoFar, result: VerificationResult, final: FinalRuns) -> Verdict:
    alone = None
    if result.winner is not None:
        full, mapped = final.candidates[result.winner], frozenset(study.job.command.maps.values())
        if json_alone(full, study.own, mapped).digest == full.digest:
            alone = result.candidates[0]
    return Verdict(decision=result.decision, winner=result.winner, verification=result, json_alone=alone)


def _nothing_runs(phase: Phase, configuration: Configuration, label: str, cold: bool) -> TrialReport:
    raise AssertionError("a study between production runs makes no runs of its own")
