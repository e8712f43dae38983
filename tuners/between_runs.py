"""A study spread over production runs: what each one runs, and what they come to together."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from optuna.storages import RDBStorage

from flyball.clock import Clock
from flyball.history.records import RUNNING
from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import Configuration, Measurement, Phase, TrialReport
from flyball.tuners.between_runs_open import read_observed
from flyball.tuners.between_runs_plan import (
    AFTER_FAILURE,
    MOST_FAILED_USES,
    USE,
    PastRun,
    best_of,
    next_is_candidate,
    play_off_next,
    relative_logs,
    set_aside,
    wants_own,
)
from flyball.tuners.between_runs_race import RaceRun, judge, looks_made, race_rules, without_race
from flyball.tuners.candidates import acted
from flyball.tuners.conclusion import Concluded, Conclusion, conclude
from flyball.tuners.final_runs import FinalRuns, Verdict, json_alone
from flyball.tuners.interruption import Interruption
from flyball.tuners.job import Job, script_text
from flyball.tuners.knobs import Knob
from flyball.tuners.knobs_batch import MICRO
from flyball.tuners.ledger import Ledger
from flyball.tuners.measurement_feeding import Feeding
from flyball.tuners.recommendation import memory_share, objection
from flyball.tuners.sampler import Search
from flyball.tuners.script_reading import names_batch
from flyball.tuners.space import Entry, Space
from flyball.tuners.spending import Spending
from flyball.tuners.study_setup import space_of
from flyball.tuners.suggestions import leading_alerts, suggested_knobs
from flyball.tuners.verification import Decision, VerificationResult
from flyball.tuners.verification_declared import Declared, read_declared
from flyball.tuners.verification_tally import BASELINE
from flyball.tuners.witness import idle_knobs

SEARCH_RUNS = 12
"""Production runs that try something, where the user says nothing else."""
CHANGES_NUMERICS = "changes numerics, which a production run must not"
OF_BATCH = ("micro_batch", "pipeline_chunks")
BATCH_UNSEEN = (
    "the script was not seen to take its batch from the config, and would train with another global batch; "
    "name its option with --map train_micro_batch_size_per_gpu=--your-batch-size-option"
)
CHANGES_CHECKPOINT = "changes what a checkpoint holds, so that the next run might not load it"


@dataclass(frozen=True, kw_only=True, slots=True)
class NextRun:
    """What a run is for."""

    phase: Phase
    label: str
    configuration: Configuration
    optuna_number: int | None = None


@dataclass(kw_only=True)
class BetweenRuns:
    """One study, looked at between two runs. Its owner holds the claim on it."""

    ledger: Ledger
    job: Job
    clock: Clock
    _decided: Concluded | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.ledger.recover()
        header = read_observed(self.ledger.output)
        if header is not None:
            self.job = self.job.observed(header).on_device(header.get("gpu_uuid"), self.ledger.machine)
        self.header: Mapping[str, Any] | None = header

    # ---- what is known --------------------------------------------------------------------------

    @cached_property
    def own(self) -> Configuration:
        """The user's own configuration."""
        if self.header is None:
            return Configuration(assignment={}, ds_config=self.job.config)
        return self.space.render(self.space.baseline_assignment())

    @cached_property
    def space(self) -> Space:
        """The space, without knobs that a production run must not turn."""
        found = space_of(self.ledger.options, self.job)
        left_out = dict(found.left_out)
        entries: list[Entry] = []
        for entry in found.entries:
            why = self._forbidden(entry.knob)
            if why is None:
                entries.append(entry)
            else:
                left_out[entry.knob.name] = why
        return replace(found, entries=tuple(entries), left_out=left_out)

    def _forbidden(self, knob: Knob) -> str | None:
        if knob.changes_numerics:
            return CHANGES_NUMERICS
        if knob.changes_checkpoint:
            return CHANGES_CHECKPOINT
        return BATCH_UNSEEN if knob.name in OF_BATCH and not self._takes_batch() else None

    def _takes_batch(self) -> bool:
        """Whether the script's batch follows the config: in production nobody tries that out."""
        return MICRO in self.job.command.maps or names_batch(script_text(self.job.command))

    @cached_property
    def runs(self) -> list[PastRun]:
        """Every run of the study by number, those under way included."""
        reports = {report.number: report for report in self.ledger.reports()}
        found = []
        for trial in self.ledger.history.trials(self.ledger.experiment_id):
            report = reports.get(trial.number)
            under_way = trial.status == RUNNING or report is None
            found.append(
                PastRun(
                    number=trial.number,
                    phase=Phase(trial.phase),
                    label=trial.label,
                    digest=trial.configuration.digest,
                    outcome=None if under_way or report is None else report.outcome.kind,
                    measurement=report.measurement if report and not under_way else None,
                )
            )
        return found

    @property
    def own_report(self) -> TrialReport | None:
        """The user's own first measured run."""
        return first_measured(self.ledger)

    def eligible(self) -> dict[str, TrialReport]:
        """Return the newest measured run of each configuration that may be recommended, by digest."""
        out = set_aside(self.runs, self.own.digest)
        return {
            report.configuration.digest: report
            for report in self.ledger.reports(Phase.SEARCH, Phase.PLAY_OFF)
            if report.configuration.digest not in out and acted(report) and self._fits(report.measurement)
        }

    def _fits(self, run: Measurement | None) -> bool:
        share = memory_share(run) if run else None
        return run is not None and (share is None or share <= self.ledger.options.memory_limit_ratio)

    # ---- what comes next ------------------------------------------------------------------------

    def next_run(self) -> NextRun | None:
        """Return what the next run is for; None where it is the user's own and nothing hangs on it."""
        recommended = self.recommended()
        if recommended is not None:
            return self._use(recommended)
        if self.decided():
            return None
        due = wants_own(self.runs, self.own.digest) if self._declared() is None or self._failed() else None
        if self.header is None or due is not None:
            return self._own(Phase.BASELINE, due or "own")
        if self._declared() is None:
            found = self._search()
            if found is not None:
                return found
            if self._under_way(Phase.SEARCH, Phase.PLAY_OFF):
                return self._own(Phase.BASELINE, "own, while others are tried")
            self._declare()
        return self._race_run()

    def in_place_of_failed(self) -> NextRun:
        """Return the user's own run that takes the place of one that failed before its first step."""
        used = self.recommended() is not None
        return self._own(Phase.CONFIRMATION if used else Phase.BASELINE, AFTER_FAILURE)

    def _own(self, phase: Phase, label: str) -> NextRun:
        return NextRun(phase=phase, label=label, configuration=self.own)

    def _failed(self) -> bool:
        return wants_own(self.runs, self.own.digest) == AFTER_FAILURE

    def _under_way(self, *phases: Phase) -> bool:
        return any(run.outcome is None and run.phase in phases for run in self.runs)

    def _search(self) -> NextRun | None:
        tried = [run for run in self.runs if run.phase in (Phase.SEARCH, Phase.PLAY_OFF) and run.counts]
        if len(tried) >= (self.ledger.options.trials or SEARCH_RUNS):
            return None
        with contextlib.closing(_Storage(self.ledger.optuna_storage())) as storage:
            found = self._proposed(self._sampler(storage.inner), f"search {len(tried) + 1}")
        if found is not None:
            return found
        again = play_off_next(self._logs(), self.runs)
        if again is None:
            return None
        return NextRun(
            phase=Phase.PLAY_OFF, label="play-off", configuration=self.eligible()[again].configuration
        )

    def _proposed(self, search: Search, label: str) -> NextRun | None:
        out = set_aside(self.runs, self.own.digest)
        while (proposal := search.ask()) is not None:
            configuration = self.space.render(proposal.assignment)
            if configuration.digest not in out:
                return NextRun(
                    phase=Phase.SEARCH,
                    label=label,
                    configuration=configuration,
                    optuna_number=proposal.trial.number,
                )
            search.tell_infeasible(proposal.trial, OutcomeKind.INTERRUPTED.value)
        return None

    def _sampler(self, storage: RDBStorage) -> Search:
        alerts = leading_alerts(None, self.ledger.reports(Phase.BASELINE))
        suggested = tuple(suggested_knobs(alerts))
        search = Search(self.ledger.study_name, storage, self.ledger.seed, self.space, suggested=suggested)
        self.ledger.settle(search)
        live = [
            trial.optuna_number
            for trial in self.ledger.history.trials(self.ledger.experiment_id)
            if trial.status == RUNNING and trial.optuna_number is not None
        ]
        search.recover(keep=live)
        search.warm_start(self.ledger.observations_elsewhere())
        own, report = self.space.baseline_assignment(), self.own_report
        search.enqueue(own)
        while report is not None and (proposal := search.ask_enqueued()) is not None:
            if proposal.assignment == own and report.measurement is not None:
                search.tell_completed(proposal.trial, report.measurement.samples_per_second.point)
                break
            search.tell_failed(proposal.trial)
        return search

    def _logs(self) -> dict[str, list[float]]:
        able = self.eligible()
        logs = relative_logs(self.runs, self.own.digest)
        return {digest: rows for digest, rows in logs.items() if digest in able}

    # ---- the race -------------------------------------------------------------------------------

    def _declared(self) -> Declared | None:
        """The race that is on; none where its candidate was set aside before it was ever tested."""
        declared = read_declared(self.ledger.output)
        if declared is None or not declared.candidates:
            return declared
        (digest,) = declared.candidates.values()
        out = digest in set_aside(self.runs, self.own.digest)
        return None if out and not looks_made(self._race(digest), declared.rules) else declared

    def _declare(self) -> None:
        digest = best_of(self._logs())
        able = self.eligible()
        candidates = {f"trial {able[digest].number}": digest} if digest else {}
        Declared(candidates=candidates, rules=race_rules(self.ledger.seed)).write(self.ledger.output)

    def _race(self, candidate: str) -> list[RaceRun]:
        """The own run that led into the race, then all that ran in it, by number."""
        race = [run for run in self.runs if run.phase is Phase.VERIFICATION and run.measurement]
        begun = min((run.number for run in race), default=0)
        before = [
            run
            for run in self.runs
            if run.phase is Phase.BASELINE and run.measurement and (not race or run.number < begun)
        ]
        chosen = [*before[-1:], *(run for run in race if run.digest in (candidate, self.own.digest))]
        return [(run.digest == candidate, run.measurement) for run in chosen if run.measurement]

    def _race_run(self) -> NextRun | None:
        declared = self._declared()
        if declared is None or not declared.candidates:
            return None
        (digest,) = declared.candidates.values()
        if not next_is_candidate(self.runs, digest, self.own.digest, seed=self.ledger.seed):
            return self._own(Phase.VERIFICATION, "race: own")
        known = self._configuration(digest)
        return NextRun(phase=Phase.VERIFICATION, label="race: candidate", configuration=known)

    def _configuration(self, digest: str) -> Configuration:
        return next(
            report.configuration for report in self.ledger.reports() if report.configuration.digest == digest
        )

    def _result(self) -> VerificationResult | None:
        declared = self._declared()
        if declared is None or self.header is None:
            return None
        if not declared.candidates:
            return without_race("no run of the search was faster than your own", declared.rules)
        ((key, digest),) = declared.candidates.items()
        configuration = self._configuration(digest)
        if digest in set_aside(self.runs, self.own.digest):
            return without_race(f"{key}: a production run of it failed", declared.rules)

        def veto(own: Sequence[Measurement], new: Sequence[Measurement]) -> str | None:
            assignment = self.space.baseline_assignment()
            return objection(
                new,
                memory_limit_ratio=self.ledger.options.memory_limit_ratio,
                idle_knobs=idle_knobs(configuration, new, own, assignment),
            )

        return judge(key, self._race(digest), declared.rules, veto)

    # ---- the conclusion -------------------------------------------------------------------------

    def decided(self) -> bool:
        """Whether the evidence has decided; the first who sees it writes the results."""
        if self.ledger.history.recommendation(self.ledger.experiment_id) is not None:
            return True
        result = self._result()
        baseline = self.own_report
        if result is None or baseline is None:
            return False
        self._decided = self._concluded(result, replace(baseline, configuration=self.own))
        self.ledger.conclude(self._decided, finished=True)
        return True

    @property
    def summary(self) -> str | None:
        """``summary.txt``, where this very look at the study decided it."""
        return self._decided.summary if self._decided else None

    def _concluded(self, result: VerificationResult, baseline: TrialReport) -> Concluded:
        declared = self._declared()
        candidates = declared.candidates if declared else {}
        rules = declared.rules if declared else race_rules(self.ledger.seed)
        final = FinalRuns(
            space=self.space,
            baseline=self.own,
            candidates={key: self._configuration(digest) for key, digest in candidates.items()},
            make_run=_nothing_runs,
            spending=Spending(clock=self.clock, budget_seconds=None, rules=rules),
            interruption=Interruption(),
            memory_limit_ratio=self.ledger.options.memory_limit_ratio,
        )
        for key, digest in candidates.items():
            race = self._race(digest)
            final.measured = {
                BASELINE: [run for is_candidate, run in race if not is_candidate],
                key: [run for is_candidate, run in race if is_candidate],
            }
        engine = int((self.header or {}).get("engine") or 0)
        return conclude(
            Conclusion(
                options=self.ledger.options,
                job=self.job,
                space=self.space,
                baseline=baseline,
                verdict=self._verdict(result, final),
                final=final,
                reports=self.ledger.reports(),
                spending=final.spending,
                name=self.ledger.name,
                output=self.ledger.output,
                engine=0 if self.ledger.options.config is not None else engine,
                alerts=leading_alerts(None, self.ledger.reports(Phase.BASELINE)),
            )
        )

    def _verdict(self, result: VerificationResult, final: FinalRuns) -> Verdict:
        alone = None
        if result.winner is not None:
            full, mapped = final.candidates[result.winner], frozenset(self.job.command.maps.values())
            if json_alone(full, self.own, mapped).digest == full.digest:
                alone = result.candidates[0]
        return Verdict(decision=result.decision, winner=result.winner, verification=result, json_alone=alone)

    # ---- use ------------------------------------------------------------------------------------

    def recommended(self) -> Configuration | None:
        """Return what the study recommends; None before it does, or where it keeps the user's own."""
        found = self.ledger.history.recommendation(self.ledger.experiment_id)
        if found is None or found.verdict != Decision.RECOMMENDED.value:
            return None
        side = found.document["recommended"]
        bare = Configuration(
            assignment={},
            ds_config=side["ds_config"],
            arguments=side["arguments"],
            environment=side["environment"],
            probe=side["probe"],
        )
        known = (each.configuration for each in self.ledger.reports())
        return next((each for each in known if each.digest == bare.digest), bare)

    def withdrawn(self, recommended: Configuration) -> bool:
        """Whether what was recommended has failed too often in use."""
        uses = [run for run in self.runs if run.label == USE and run.digest == recommended.digest]
        return sum(run.failed for run in uses) >= MOST_FAILED_USES

    def _use(self, recommended: Configuration) -> NextRun | None:
        if self.withdrawn(recommended):
            return None
        if wants_own(self.runs, self.own.digest) == AFTER_FAILURE:
            return self._own(Phase.CONFIRMATION, AFTER_FAILURE)
        return NextRun(phase=Phase.CONFIRMATION, label=USE, configuration=recommended)


@dataclass(frozen=True, slots=True)
class _Storage:
    """Optuna's storage, which leaves its connections open by itself."""

    inner: RDBStorage

    def close(self) -> None:
        self.inner.remove_session()
        self.inner.engine.dispose()


def first_measured(ledger: Ledger) -> TrialReport | None:
    """Return the user's own first measured run."""
    return next((each for each in ledger.reports(Phase.BASELINE) if each.measurement), None)


def own_feeding(ledger: Ledger, header: Mapping[str, Any] | None) -> Feeding | None:
    """Return how the user's own first measured run, whose ``header`` was kept, fed the engine."""
    ledger.recover()
    report = first_measured(ledger)
    if report is None or report.measurement is None or header is None:
        return None
    return Feeding.of(header, report.measurement)


def _nothing_runs(phase: Phase, configuration: Configuration, label: str, cold: bool) -> TrialReport:
    raise AssertionError("a study between production runs makes no runs of its own")
