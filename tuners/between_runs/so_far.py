"""What a study over production runs knows between two of them: its job, its space, and the runs so far."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flyball.history.records import RUNNING
from flyball.tuners.base import Configuration, Measurement, Phase, TrialReport
from flyball.tuners.between_runs.open import read_observed
from flyball.tuners.between_runs.plan import PastRun, set_aside
from flyball.tuners.between_runs.space import production_space
from flyball.tuners.job.job import Job
from flyball.tuners.measurement.feeding import Feeding
from flyball.tuners.results.recommendation import memory_share
from flyball.tuners.space.space import Space
from flyball.tuners.study.ledger import Ledger
from flyball.tuners.verification.candidates import acted
from flyball.tuners.verification.throughput_guard import shortfall


@dataclass(kw_only=True)
class SoFar:
    """One study as its records show it; they are read once."""

    ledger: Ledger
    job: Job

    def __post_init__(self) -> None:
        self.ledger.recover()
        header = read_observed(self.ledger.output)
        if header is not None:
            self.job = self.job.observed(header).on_device(header.get("gpu_uuid"), self.ledger.machine)
        self.header: Mapping[str, Any] | None = header

    @property
    def engine(self) -> int:
        """Which of the script's engines is tuned; with ``--config`` all of them take that config."""
        return 0 if self.ledger.options.config is not None else int((self.header or {}).get("engine") or 0)

    @cached_property
    def own(self) -> Configuration:
        """The user's own configuration."""
        if self.header is None:
            return Configuration(assignment={}, ds_config=self.job.config)
        return self.space.render(self.space.baseline_assignment())

    @cached_property
    def space(self) -> Space:
        """The space, without knobs that a production run must not turn."""
        return production_space(self.ledger.options, self.job)

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
        fits = run is not None and (share is None or share <= self.ledger.options.memory_limit_ratio)
        return fits and not self._too_slow(run)

    def _too_slow(self, run: Measurement | None) -> bool:
        own = self.own_report.measurement if self.own_report else None
        floor = self.ledger.options.throughput_floor
        return own is not None and run is not None and shortfall([own], [run], floor) > 0

    def configuration(self, digest: str) -> Configuration:
        """Return a configuration that has run, by its digest."""
        return next(
            report.configuration for report in self.ledger.reports() if report.configuration.digest == digest
        )


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
