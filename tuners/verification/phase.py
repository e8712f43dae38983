"""The verification of one study: who is held against the baseline, by which plan, and by which runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flyball.tuners.base import Configuration, Measurement, Phase, StudyObserver, TrialReport
from flyball.tuners.interruption import Interruption
from flyball.tuners.job.job import Job
from flyball.tuners.knobs.knob import Applied
from flyball.tuners.legality.context import resolve_batch
from flyball.tuners.measurement.stopping import Precision
from flyball.tuners.options import StudyOptions
from flyball.tuners.results.summary import duration
from flyball.tuners.search.loop import changed_knobs, rate_of
from flyball.tuners.search.surrogate import Observation, Surrogate
from flyball.tuners.space.space import Space
from flyball.tuners.study.ledger import Ledger
from flyball.tuners.trials.run_length import RunLength
from flyball.tuners.trials.spending import Spending
from flyball.tuners.trials.trial_runner import Run
from flyball.tuners.verification.candidates import CandidateChoice, acted, without_slower
from flyball.tuners.verification.declared import Declared, read_declared
from flyball.tuners.verification.final_runs import FinalRuns, Verdict, samples_for_guard
from flyball.tuners.verification.reserves import remark, reserve
from flyball.tuners.verification.verification import Decision


def binding_plan(ledger: Ledger) -> Declared | None:
    """Return the plan of an earlier part of a study, once a run was made by it."""
    begun = ledger.reports(Phase.VERIFICATION)
    return read_declared(ledger.output) if begun else None


@dataclass(kw_only=True)
class VerificationPhase:
    """Holds the search's best against the baseline on fresh runs.

    Args:
        make: makes one run under a label, with its record around it.
        searched: whether the search made a run, or had nothing left to make one of.
    """

    options: StudyOptions
    job: Job
    space: Space
    ledger: Ledger
    spending: Spending
    length: RunLength
    observer: StudyObserver
    interruption: Interruption
    make: Callable[[Run, str], TrialReport]
    searched: bool
    steady: Callable[[TrialReport], TrialReport] = lambda report: report
    """A run of the play-off as it would have been when the search began."""
    final: FinalRuns | None = field(init=False, default=None)
    """The runs of the last candidates."""
    _series: int = field(init=False, default=0)

    def verify(self, baseline: TrialReport, reports: list[TrialReport]) -> Verdict:
        """Hold the search's best against the baseline on fresh runs."""
        candidates = self._declared(baseline, reports)
        given_up: dict[str, Configuration] = {}
        remarks: list[str] = []
        while True:
            verdict, gave_up = self._decide(baseline, reports, candidates, given_up)
            reserves = self._reserve(baseline, reports, candidates, given_up) if gave_up else {}
            if not reserves:
                break
            key, own = next(iter(candidates.items()))
            remarks.append(remark(key, self.spending.seconds_of(own.digest), self.spending.left() or 0.0))
            self.observer.note(remarks[-1])
            given_up |= candidates
            candidates = reserves
            self._series += 1
            self._declare(candidates)
        self.ledger.stop_if_asked(self.interruption)
        verdict = replace(verdict, remarks=tuple(remarks))
        if verdict.winner and not verdict.verification.rounds:
            verdict = without_slower(verdict, candidates[verdict.winner], baseline, reports)
        if not self.searched:
            reason = "no search run was made: the budget holds none beside verification"
            return replace(
                verdict,
                decision=Decision.UNVERIFIED,
                verification=replace(verdict.verification, reasons=(reason,)),
            )
        return verdict

    def _decide(
        self,
        baseline: TrialReport,
        reports: list[TrialReport],
        candidates: dict[str, Configuration],
        given_up: Mapping[str, Configuration],
    ) -> tuple[Verdict, bool]:
        """Make the final runs; whether they were left off because the candidates' are too long."""
        batch = resolve_batch(self.job.config, self.job.context)
        enough = samples_for_guard(
            self.space,
            candidates.values(),
            [baseline, *reports],
            global_batch=batch.global_batch if batch else 0,
        )
        precision = self._deciding(baseline, reports, min_samples=enough)

        def make_run(phase: Phase, configuration: Configuration, label: str, cold: bool) -> TrialReport:
            return self._final_run(phase, configuration, label, cold=cold, precision=precision)

        self.final = FinalRuns(
            space=self.space,
            baseline=baseline.configuration,
            candidates=candidates,
            make_run=make_run,
            spending=self.spending,
            interruption=self.interruption,
            memory_limit_ratio=self.options.memory_limit_ratio,
            throughput_floor=self.options.throughput_floor,
            better=self.options.objective.terms.better,
            series=self._series,
            give_up=lambda rounds: (
                not self._holds(candidates, rounds)
                and bool(self._reserve(baseline, reports, candidates, given_up))
            ),
            recorded=lambda label, own: self.ledger.recorded(label, own.digest) is not None,
            mapped_options=frozenset(self.job.command.maps.values()),
        )
        if candidates:
            seconds = self.spending.seconds_to_verify([each.digest for each in candidates.values()])
            names = ", ".join(candidates)
            self.observer.note(f"verification: {names} against your own, {duration(seconds)} or more")
        return self.final.decide(), self.final.gave_up

    def _deciding(
        self, baseline: TrialReport, reports: Sequence[TrialReport], *, min_samples: float = 0.0
    ) -> Precision:
        """How long the runs of play-off and verification are measured: a resumed study finds the same."""
        seen = [
            Observation(assignment=self.space.completed(each.configuration.assignment), value=rate_of(each))
            for each in (baseline, *reports)
        ]
        noise = Surrogate(entries=self.space.entries).belief(seen, [seen[0].assignment]).noise
        precision = self.length.deciding(baseline, reports, noise=noise, min_samples=min_samples)
        if not min_samples:
            self.spending.deciding_seconds = precision.min_seconds
        return precision

    def _holds(self, candidates: Mapping[str, Configuration], rounds: int) -> bool:
        """Whether the budget holds their verification, as far as the length of their runs is known."""
        digests = [each.digest for each in candidates.values()]
        if not rounds and not self.spending.knows(digests):
            return True
        return self.spending.holds_verification(digests, rounds_made=rounds)

    def _reserve(
        self,
        baseline: TrialReport,
        reports: list[TrialReport],
        candidates: Mapping[str, Configuration],
        given_up: Mapping[str, Configuration],
    ) -> dict[str, Configuration]:
        eligible = list(filter(acted, reports))
        return reserve(eligible, baseline, candidates, given_up, space=self.space, spending=self.spending)

    def _declared(self, baseline: TrialReport, reports: list[TrialReport]) -> dict[str, Configuration]:
        """Return the candidates, after the plan for them is on disk; a resumed study keeps to its plan."""
        declared = binding_plan(self.ledger)
        known = {report.configuration.digest: report.configuration for report in reports}
        if declared is not None and set(declared.candidates.values()) <= known.keys():
            self.spending.rules, self._series = declared.rules, declared.series
            return {key: known[digest] for key, digest in declared.candidates.items()}
        candidates = self._chosen(baseline, reports)
        self._declare(candidates)
        return candidates

    def _chosen(self, baseline: TrialReport, reports: list[TrialReport]) -> dict[str, Configuration]:
        precision = self._deciding(baseline, reports)

        def run_once(configuration: Configuration, label: str) -> Measurement | None:
            run = self._final_run(Phase.PLAY_OFF, configuration, label, cold=False, precision=precision)
            return self.steady(run).measurement

        choice = CandidateChoice(
            space=self.space,
            spending=self.spending,
            run_once=run_once,
            seed=self.ledger.seed,
            stopped=lambda: self.interruption.finish_requested,
        )
        return choice.choose(baseline, reports)

    def _declare(self, candidates: Mapping[str, Configuration]) -> None:
        self.spending.rules = self.spending.declare(
            [each.digest for each in candidates.values()],
            json_alone=any(self._both_places(each) for each in candidates.values()),
        )
        if candidates and not self.interruption.finish_requested:
            digests = {key: each.digest for key, each in candidates.items()}
            plan = Declared(candidates=digests, rules=self.spending.rules, series=self._series)
            plan.write(self.ledger.output)

    def _both_places(self, configuration: Configuration) -> bool:
        """Whether something changed in the JSON and beside it: what the JSON gains alone is measured then."""
        changed = changed_knobs(self.space, configuration.assignment)
        in_json = {self.space.entry(name).knob.applied is Applied.CONFIG for name in changed}
        return len(in_json) > 1

    def _final_run(
        self, phase: Phase, configuration: Configuration, label: str, *, cold: bool, precision: Precision
    ) -> TrialReport:
        """Make one run of verification, or answer from what an earlier part of the study recorded."""
        known = self.ledger.recorded(label, configuration.digest)
        if known is not None:
            self.spending.replayed(known)
            return known
        wanted = Run(
            number=self.ledger.next_number(),
            phase=phase,
            configuration=configuration,
            changes=changed_knobs(self.space, configuration.assignment),
            precision=precision,
            cold=cold,
        )
        report = self.make(wanted, label)
        self.observer.trial_finished(report, best=False)
        self.observer.time_left(self.spending.left())
        return report
