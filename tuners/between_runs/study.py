"""A study spread over production runs: what each one runs, and when they have decided."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from optuna.storages import RDBStorage

from flyball.clock import Clock
from flyball.history.records import RUNNING
from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import Configuration, Measurement, Phase
from flyball.tuners.between_runs.conclusion import conclude_race
from flyball.tuners.between_runs.plan import (
    AFTER_FAILURE,
    MOST_FAILED_USES,
    USE,
    best_of,
    next_is_candidate,
    play_off_next,
    relative_logs,
    set_aside,
    wants_own,
)
from flyball.tuners.between_runs.race import RaceRun, judge, looks_made, race_looks, race_rules, without_race
from flyball.tuners.between_runs.so_far import SoFar
from flyball.tuners.measurement.witness import idle_knobs
from flyball.tuners.memory.screen import MemoryScreen
from flyball.tuners.results.conclusion import Concluded
from flyball.tuners.results.recommendation import objection
from flyball.tuners.search.sampler import Search
from flyball.tuners.search.suggestions import leading_alerts, suggested_knobs
from flyball.tuners.verification.declared import Declared, read_declared
from flyball.tuners.verification.throughput_guard import too_slow
from flyball.tuners.verification.verification import Decision, VerificationResult

SEARCH_RUNS = 12
"""Production runs that try something, where the user says nothing else."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NextRun:
    """What a run is for."""

    phase: Phase
    label: str
    configuration: Configuration
    optuna_number: int | None = None


@dataclass(kw_only=True)
class BetweenRuns(SoFar):
    """One study, looked at between two runs. Its owner holds the claim on it."""

    clock: Clock
    _decided: Concluded | None = field(default=None, init=False)

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
        context, limit = self.space.situation.context, self.ledger.options.memory_limit_ratio
        search = Search(
            self.ledger.study_name,
            storage,
            self.ledger.seed,
            self.space,
            suggested=suggested,
            memory=MemoryScreen.of(context, self.ledger.reports(), limit),
        )
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
                search.tell_completed(proposal.trial, report.measurement.merit.point)
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
        rules = race_rules(self.ledger.seed)
        planned = race_looks(rules.error_rate) if candidates else ()
        Declared(candidates=candidates, rules=rules, planned=planned).write(self.ledger.output)

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
        known = self.configuration(digest)
        return NextRun(phase=Phase.VERIFICATION, label="race: candidate", configuration=known)

    def _result(self) -> VerificationResult | None:
        declared = self._declared()
        if declared is None or self.header is None:
            return None
        if not declared.candidates:
            better = self.ledger.options.objective.terms.better
            return without_race(f"no run of the search was {better} than your own", declared.rules)
        ((key, digest),) = declared.candidates.items()
        configuration = self.configuration(digest)
        if digest in set_aside(self.runs, self.own.digest):
            return without_race(f"{key}: a production run of it failed", declared.rules)

        def veto(own: Sequence[Measurement], new: Sequence[Measurement]) -> str | None:
            assignment = self.space.baseline_assignment()
            return objection(
                new,
                memory_limit_ratio=self.ledger.options.memory_limit_ratio,
                too_slow=too_slow(own, new, self.ledger.options.throughput_floor),
                idle_knobs=idle_knobs(configuration, new, own, assignment),
            )

        return judge(key, self._race(digest), declared.rules, veto)

    # ---- the conclusion -------------------------------------------------------------------------

    def decided(self) -> bool:
        """Whether the evidence has decided; the first who sees it writes the results."""
        if self.ledger.history.recommendation(self.ledger.experiment_id) is not None:
            return True
        declared, result, baseline = self._declared(), self._result(), self.own_report
        if declared is None or result is None or baseline is None:
            return False
        races = {key: self._race(digest) for key, digest in declared.candidates.items()}
        self._decided = conclude_race(self, result, declared, races, baseline, self.clock)
        self.ledger.conclude(self._decided, finished=True)
        return True

    @property
    def summary(self) -> str | None:
        """``summary.txt``, where this very look at the study decided it."""
        return self._decided.summary if self._decided else None

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

    def _withdrawn(self, recommended: Configuration) -> bool:
        """Whether what was recommended has failed too often in use."""
        uses = [run for run in self.runs if run.label == USE and run.digest == recommended.digest]
        return sum(run.failed for run in uses) >= MOST_FAILED_USES

    def _use(self, recommended: Configuration) -> NextRun | None:
        if self._withdrawn(recommended):
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
