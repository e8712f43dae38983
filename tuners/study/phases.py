"""The phases of a study, in the order they run: baseline, search, verification, conclusion."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flyball.clock import Clock
from flyball.collectors.gpu_recorder import GpuRecorder
from flyball.errors import BaselineFailed
from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import Configuration, Phase, StudyObserver, TrialReport, Value
from flyball.tuners.interruption import Interruption
from flyball.tuners.job.job import Job
from flyball.tuners.knobs.knob import Applied
from flyball.tuners.memory.screen import MemoryScreen
from flyball.tuners.objective import Objective, no_energy
from flyball.tuners.options import StudyOptions, StudyResult
from flyball.tuners.results.conclusion import Conclusion
from flyball.tuners.results.summary import duration
from flyball.tuners.search.drift import STEADY, Drift
from flyball.tuners.search.loop import EXHAUSTED, PATIENCE, SearchLoop, rate_of
from flyball.tuners.search.remeasuring import SHARE, Remeasuring
from flyball.tuners.search.sampler import Search
from flyball.tuners.search.suggestions import LeadingAlert, leading_alerts, suggested_knobs
from flyball.tuners.search.surrogate import Surrogate
from flyball.tuners.space.space import Space
from flyball.tuners.study.ending import Ending
from flyball.tuners.study.ledger import Ledger
from flyball.tuners.study.setup import Launchers, space_of, with_limits
from flyball.tuners.trials.run_length import RunLength
from flyball.tuners.trials.spending import Spending
from flyball.tuners.trials.trial_alerts import TrialRules
from flyball.tuners.trials.trial_runner import Run, TrialRunner
from flyball.tuners.verification.phase import VerificationPhase, binding_plan
from flyball.tuners.verification.plan import Rules


@dataclass(kw_only=True)
class Study:
    """One study under way; its phases run in the order of its methods."""

    options: StudyOptions
    job: Job
    ledger: Ledger
    launchers: Launchers
    observer: StudyObserver
    interruption: Interruption
    clock: Clock
    gpus: GpuRecorder | None = None
    """Samples the GPUs beside the runs."""
    rules: TrialRules | None = None
    """Whose alerts are kept with the runs."""
    runner: TrialRunner = field(init=False)
    spending: Spending = field(init=False)
    length: RunLength = field(init=False)
    space: Space = field(init=False)
    memory: MemoryScreen | None = field(init=False, default=None)
    drift_share: float = SHARE
    """Of the search's time, for seeing whether the machine keeps its speed; 0 takes it for steady."""
    drift: Drift = field(init=False, default=STEADY)
    """Of the machine, over the search."""
    _searched: bool = field(init=False, default=False)
    _screened_out: tuple[str, ...] = field(init=False, default=())
    _search_ended: str = field(init=False, default="")
    _noise: Callable[[], float | None] = field(init=False, default=lambda: None)
    """Relative error of one run, as far as the search knows it."""

    def __post_init__(self) -> None:
        self.options = with_limits(self.options)
        self.length = RunLength(budget_seconds=self.options.budget_seconds, objective=self.options.objective)
        self.runner = TrialRunner(
            command=self.job.command,
            launcher=self.launchers.usual,
            cold=self.launchers.cold,
            directory=self.ledger.output,
            observer=self.observer,
            interruption=self.interruption,
            device_memory_bytes=self.job.context.device_memory_bytes,
            allowed_writes=self.options.allowed_writes,
            samples_from=self.options.samples_from,
            objective=self.options.objective,
            limits=self.length.own_limits(),
            renew=self.ledger.renew,
            gpus=self.gpus,
            rules=self.rules,
            substitute=self.job.command.config_place == "probe" and self.job.document is not None,
        )
        self.spending = Spending(
            clock=self.clock,
            budget_seconds=self.options.budget_seconds,
            rules=Rules(seed=self.ledger.seed),
        )

    def run(self) -> StudyResult:
        """Run every phase and write the results."""
        self.ledger.recover()
        self.spending.resume(self.ledger.spent(), self.ledger.reports())
        self.spending.begin()
        self.observer.study_started(self.ledger.name, self.ledger.output, self.spending.budget_seconds)
        if self.options.objective is not Objective.THROUGHPUT:
            self.observer.note(f"objective: {self.options.objective}, in {self.options.objective.terms.unit}")
        for finding in self.job.warnings:
            place = self.job.document.place(finding.key) if self.job.document else finding.key
            self.observer.note(f"{place}: {finding.what}; {finding.mend}")
        baseline = self.baseline()
        self.forecast(baseline)
        reports = self.search(baseline)
        verification = self.verification()
        verdict = verification.verify(self.drift.corrected(baseline), reports)
        conclusion = Conclusion(
            options=self.options,
            job=self.job,
            space=self.space,
            baseline=baseline,
            verdict=verdict,
            final=verification.final,
            reports=self.ledger.reports(),
            spending=self.spending,
            name=self.ledger.name,
            output=self.ledger.output,
            engine=self.runner.engine or 0,
            alerts=self._leading_alerts(),
            memory=self.memory,
            drift=self.drift if self._searched else None,
        )
        ending = Ending(
            ledger=self.ledger,
            observer=self.observer,
            interruption=self.interruption,
            search_ended=self._search_ended,
            screened_out=self._screened_out,
        )
        result, whole = ending.write(conclusion)
        self.ledger.conclude(result, finished=whole and not self.interruption.finish_requested)
        return StudyResult(
            verdict=verdict.decision.value, output_directory=self.ledger.output, summary=result.summary
        )

    # ---- baseline -------------------------------------------------------------------------------

    def baseline(self) -> TrialReport:
        """Run the user's command with the user's config: trial 0, and what later launches learn from.

        Raises:
            BaselineFailed: it does not complete a measurement.
        """
        configuration = Configuration(assignment={}, ds_config=self.job.config)
        report = self._run(
            Run(
                number=self.ledger.next_number(),
                phase=Phase.BASELINE,
                configuration=configuration,
                precision=self.length.own_precision(),
            )
        )
        if report.measurement is None:
            self.observer.trial_finished(report, best=False)
            self.ledger.stop_if_asked(self.interruption)
            if report.outcome.kind is OutcomeKind.INTERRUPTED:
                self.ledger.leave()
            if report.outcome.kind is OutcomeKind.COMPLETED:
                raise no_energy(report.outcome.reason, where=str(self.ledger.trial_folder(report.number)))
            raise BaselineFailed(
                f"your own command was not measured: {report.outcome.kind.value}: {report.outcome.reason}",
                where=str(self.ledger.trial_folder(report.number)),
                mend="make it train for a few steps, then start again",
            )
        self.observer.trial_finished(report, best=True)
        header = self.runner.header or {}
        self.job = self.job.observed(header).on_device(header.get("gpu_uuid"), self.ledger.machine)
        self.runner.device_memory_bytes = self.job.context.device_memory_bytes
        self.runner.substitute = self.job.command.config_place == "probe"
        self.space = space_of(self.options, self.job)
        self.spending.json_alone = any(
            entry.knob.applied is not Applied.CONFIG for entry in self.space.entries
        )
        self.runner.limits = self.length.limits(report)
        own = self.space.render(self.space.baseline_assignment())
        return replace(report, configuration=own)

    def forecast(self, baseline: TrialReport) -> None:
        """Say what the study will cost, before it is spent."""
        runs = self.spending.rules.fewest_runs(1)
        budget = self.spending.budget_seconds
        limit = f"{duration(budget)} in all" if budget is not None else f"{self.options.trials} search trials"
        self.observer.note(
            f"forecast: the first run took {duration(baseline.total_seconds)}, later ones take less; "
            f"{limit}, of which verification takes {runs} runs or more"
        )
        left = self.spending.left()
        stepping = runs * (baseline.total_seconds - (baseline.startup_seconds or 0.0))
        if left is not None and stepping > left:
            self.observer.note(
                f"{duration(left)} are left and verification alone steps for {duration(stepping)} or more; "
                "give a larger --budget"
            )

    # ---- search ---------------------------------------------------------------------------------

    def search(self, baseline: TrialReport) -> list[TrialReport]:
        """Search from the baseline; return every search run of this study, those before a resume included."""
        alerts = self._leading_alerts()
        search = Search(
            self.ledger.study_name,
            self.ledger.optuna_storage(),
            self.ledger.seed,
            self.space,
            suggested=tuple(suggested_knobs(alerts)),
            memory=self._screen(),
            trials=self._expected_trials(),
        )
        self._tell_alerts(alerts)
        past = [
            report
            for report in self.ledger.reports(Phase.SEARCH)
            if report.outcome.kind is not OutcomeKind.INTERRUPTED
        ]
        self.ledger.settle(search)
        search.recover()
        if taught := search.warm_start(self.ledger.observations_elsewhere()):
            self.observer.note(f"{taught} runs of earlier studies of this job teach the search")
        self._tell_baseline(search, baseline)
        self._noise = search.noise
        remeasuring = Remeasuring(
            history=self.ledger.reports,
            surrogate=Surrogate(entries=self.space.entries),
            point_of=self.space.completed,
            share=self.drift_share,
        )
        loop = SearchLoop(
            search=search,
            remeasuring=remeasuring,
            space=self.space,
            baseline=baseline,
            make_run=self._search_run,
            observer=self.observer,
            interruption=self.interruption,
            spending=self.spending,
            trials=self.options.trials,
            memory_limit_ratio=self.options.memory_limit_ratio,
            throughput_floor=self.options.throughput_floor,
            reports=past,
        )
        reason = loop.run() if binding_plan(self.ledger) is None else "verification had begun"
        self._searched = bool(loop.reports) or reason == EXHAUSTED
        self._search_ended = reason
        self._screened_out = tuple(search.screening.left.values())
        self.observer.note(f"search ended: {reason}")
        self.ledger.stop_if_asked(self.interruption)
        self.drift = remeasuring.drift()
        return [report for report in loop.corrected() if loop.eligible(report)]

    def _expected_trials(self) -> int:
        """How many runs the search may have: as asked, or what half of the budget holds."""
        left = self.spending.left()
        if self.options.trials is not None or left is None:
            return self.options.trials or 2 * PATIENCE
        return min(2 * PATIENCE, int(left / 2 / max(self.spending.run_seconds(), 1.0)))

    def _screen(self) -> MemoryScreen:
        """What the runs so far tell of memory."""
        self.memory = MemoryScreen.of(
            self.job.context, self.ledger.reports(), self.options.memory_limit_ratio
        )
        return self.memory

    def _leading_alerts(self) -> tuple[LeadingAlert, ...]:
        return leading_alerts(self.options.lead, self.ledger.reports(Phase.BASELINE))

    def _tell_alerts(self, alerts: Sequence[LeadingAlert]) -> None:
        """Say what fired, each rule once, and which knobs go first for it."""
        varied = {entry.knob.name for entry in self.space.entries}
        first: dict[str, list[str]] = {}
        for knob, leading in suggested_knobs(alerts).items():
            if knob in varied:
                first.setdefault(leading.told, []).append(knob)
        seen: set[str] = set()
        for leading in alerts:
            told = leading.told
            if told in seen:
                continue
            seen.add(told)
            # That of a request was told with its summary when the study began.
            summary = "" if leading.lead else leading.alert.annotations.get("summary", "")
            knobs = f"; tried first: {', '.join(first[told])}" if told in first else ""
            self.observer.note(f"{told}{summary and f': {summary}'}{knobs}")

    def _tell_baseline(self, search: Search, baseline: TrialReport) -> None:
        """Make the user's own config Optuna's first trial, unless an earlier part of the study did."""
        own = self.space.baseline_assignment()
        search.enqueue(own)
        while (proposal := search.ask_enqueued()) is not None:
            if proposal.assignment == own:
                search.tell_completed(proposal.trial, rate_of(baseline))
                return
            # Left waiting by a process that was killed: it was never run, and may be proposed again.
            search.tell_failed(proposal.trial)

    def _search_run(
        self,
        phase: Phase,
        configuration: Configuration,
        changes: Mapping[str, Value],
        incumbent_low: float | None,
        optuna_number: int | None,
    ) -> TrialReport:
        first = self.ledger.reports(Phase.BASELINE)[-1]
        wanted = Run(
            number=self.ledger.next_number(),
            phase=phase,
            configuration=configuration,
            changes=changes,
            precision=self.length.precision(first, noise=self._noise()),
            incumbent_low=incumbent_low,
        )
        return self._run(wanted, optuna_number=optuna_number)

    def _run(self, wanted: Run, *, label: str = "", optuna_number: int | None = None) -> TrialReport:
        """Make one run with its record around it."""
        with self.ledger.trial(wanted, label=label, optuna_number=optuna_number) as finish:
            report = self.runner.run(wanted)
            finish(report)
        self.spending.note(report)
        return report

    # ---- verification ---------------------------------------------------------------------------

    def verification(self) -> VerificationPhase:
        """Return the phase that goes on from the search."""
        return VerificationPhase(
            options=self.options,
            job=self.job,
            space=self.space,
            ledger=self.ledger,
            spending=self.spending,
            length=self.length,
            observer=self.observer,
            interruption=self.interruption,
            make=lambda wanted, label: self._run(wanted, label=label),
            searched=self._searched,
            steady=self.drift.corrected,
        )
