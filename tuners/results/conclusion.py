"""Turns what a study came to into the recommendation and its files."""

import math
import os
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flyball.runner.outcome import OutcomeKind
from flyball.runner.probe_install import install
from flyball.tuners.base import Configuration, Interval, Measurement, Phase, TrialReport
from flyball.tuners.explaining.explanation import Explanation
from flyball.tuners.job.job import Job
from flyball.tuners.knobs.batch import scaling_note
from flyball.tuners.measurement.witness import idle_note
from flyball.tuners.memory.screen import MemoryScreen, error_note
from flyball.tuners.objective import Objective
from flyball.tuners.options import StudyOptions
from flyball.tuners.results.environment_file import NAME as ENVIRONMENT_FILE
from flyball.tuners.results.environment_file import POINTER, environment_file, users_own
from flyball.tuners.results.output import COMMAND, CONFIG, ShellCommand, storage, write_results
from flyball.tuners.results.recommendation import Recommendation, Side, changes
from flyball.tuners.results.recommendation_json import document
from flyball.tuners.results.report import render_report
from flyball.tuners.results.summary import render_summary
from flyball.tuners.search.drift import Drift
from flyball.tuners.search.drift_report import drift_report
from flyball.tuners.search.suggestions import LeadingAlert, suggested_knobs
from flyball.tuners.space.space import Space
from flyball.tuners.trials.spending import Spending
from flyball.tuners.verification.final_runs import FinalRuns, Verdict
from flyball.tuners.verification.statistics import ratio_interval
from flyball.tuners.verification.tally import BASELINE
from flyball.tuners.verification.throughput_guard import shortfall, throughput_ratio
from flyball.tuners.verification.verification import Decision

PROBE = "probe"
MOST_NOTES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Conclusion:
    """A finished study, ready to be written down."""

    options: StudyOptions
    job: Job
    space: Space
    baseline: TrialReport
    verdict: Verdict
    final: FinalRuns | None
    reports: Sequence[TrialReport]
    spending: Spending
    name: str
    output: Path
    engine: int = 0
    """Number of the engine that was tuned, where the script makes several."""
    alerts: tuple[LeadingAlert, ...] = ()
    """That said where to look first."""
    memory: MemoryScreen | None = None
    """What was held against the device's memory; None where nothing was searched."""
    drift: Drift | None = None
    """Of the machine, over the search; None where nothing was searched."""
    explanation: Explanation | None = None
    """None for a study over production runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Concluded:
    """What was written."""

    recommendation: Recommendation
    plain: Mapping[str, Any]
    """``recommendation.json`` as the history keeps it."""
    summary: str


def conclude(study: Conclusion) -> Concluded:
    """Write every result file and return what they say.

    Raises:
        StorageFailed: a file could not be written.
    """
    recommendation = recommend(study)
    command = best_command(study, recommendation)
    use = f"sh {shlex.quote(str(shown(study.output / COMMAND, study.options.typed_in or study.options.cwd)))}"
    summary = render_summary(recommendation, use=use)
    report = render_report(recommendation, study.reports, use=use, command=command.line())
    write_results(
        study.output,
        recommendation=recommendation,
        command=command,
        user_config=study.job.user_config,
        summary=summary,
        report=report,
        environment_file=environment_lines(study, recommendation),
    )
    return Concluded(recommendation=recommendation, plain=document(recommendation), summary=summary)


def recommend(study: Conclusion) -> Recommendation:
    """Return the recommendation that the verdict means."""
    verdict, own = study.verdict, study.baseline.configuration
    winner = study.final.candidates.get(verdict.winner or "") if study.final else None
    keep = verdict.decision is Decision.KEEP or winner is None
    chosen = own if winner is None or keep else winner
    leading = alerts_by_path(study, own, chosen)
    scaling = scaling_note(study.space.situation, chosen.assignment)
    alone = verdict.json_alone.speedup if verdict.json_alone else None
    drift = drift_report(study.drift, study.reports) if study.drift is not None else None
    baseline = Side(configuration=own, measurement=fresh(study, BASELINE) or study.baseline.measurement)
    return Recommendation(
        experiment=study.name,
        verdict=verdict.decision,
        reasons=(*verdict.notes, *verdict.verification.reasons),
        baseline=baseline,
        recommended=baseline
        if keep
        else Side(configuration=chosen, measurement=fresh(study, verdict.winner or "")),
        changes=changes(as_typed(study, own, chosen), chosen, reasons_by_path(study), leading),
        speedup=None if keep else verdict.verification.speedup,
        speedup_json=None if keep else alone,
        verification=verdict.verification,
        rules=study.spending.rules,
        memory_limit_ratio=study.options.memory_limit_ratio,
        loss=verdict.loss,
        confirmation=verdict.confirmation,
        trials=Counter(report.outcome.kind.value for report in study.reports),
        seconds=seconds_by_phase(study),
        alerts=study.alerts,
        explanation=study.explanation,
        objective=study.options.objective,
        throughput_ratio=None if keep else throughput_beside(study, verdict.winner or ""),
        drift=drift,
        notes=(
            *([drift.told] if drift and drift.told else []),
            *([scaling] if scaling else []),
            *verdict.remarks,
            *slow_note(study),
            *untold_note(study),
            *notes(study.reports),
            *(study.memory.notes() if study.memory else ()),
            *error_note(study.job.context, study.reports),
        ),
    )


def reasons_by_path(study: Conclusion) -> dict[str, str]:
    """Return why each knob can pay, by what it writes."""
    reasons = {path: entry.knob.reason for entry in study.space.entries for path in entry.knob.paths}
    return reasons | {
        option: reasons[key] for key, option in study.job.command.maps.items() if key in reasons
    }


def alerts_by_path(study: Conclusion, own: Configuration, chosen: Configuration) -> dict[str, LeadingAlert]:
    """Return the alerts that suggested a knob which was changed, by what that knob writes."""
    suggested = suggested_knobs(study.alerts)
    found = {
        path: suggested[entry.knob.name]
        for entry in study.space.entries
        for path in entry.knob.paths
        if entry.knob.name in suggested
        and chosen.assignment.get(entry.knob.name) != own.assignment.get(entry.knob.name)
    }
    return found | {option: found[key] for key, option in study.job.command.maps.items() if key in found}


def as_typed(study: Conclusion, own: Configuration, chosen: Configuration) -> Configuration:
    """Return the user's own configuration with what command and environment say of what was chosen."""
    typed = {option: study.job.command.option(option) for option in chosen.arguments}
    known = {option: value for option, value in typed.items() if value is not None}
    variables = study.job.context.environment
    held = {name: variables[name] for name in chosen.environment if name in variables}
    return replace(own, arguments={**known, **own.arguments}, environment={**held, **own.environment})


def seconds_by_phase(study: Conclusion) -> dict[str, float]:
    """Return the seconds spent in the runs of each phase, and between them."""
    spent: dict[str, float] = {}
    for report in study.reports:
        spent[report.phase.value] = spent.get(report.phase.value, 0.0) + report.total_seconds
    return {**spent, "between runs": max(0.0, study.spending.spent() - sum(spent.values()))}


def notes(reports: Sequence[TrialReport]) -> tuple[str, ...]:
    """Return what the user should know of the runs, each text once: why they were cold, what did nothing."""
    idle = (
        note
        for report in reports
        if report.measurement is not None
        for note in idle_note(report.configuration, report.measurement)
    )
    said = dict.fromkeys((*idle, *(note for report in reports for note in unexpected(report))))
    return tuple(said)[:MOST_NOTES]


def unexpected(report: TrialReport) -> tuple[str, ...]:
    """Return what a run's notes say beyond the plan: the first and the last runs are cold by it."""
    if report.launcher != "cold" or report.phase is Phase.CONFIRMATION:
        return ()
    return report.notes[1:] if report.phase is Phase.BASELINE else report.notes


def fresh(study: Conclusion, key: str) -> Measurement | None:
    """Return one key's verification runs as one: the last, with the rate and interval over all."""
    runs = study.final.measured.get(key, []) if study.final else []
    if not runs:
        return None
    if len(runs) == 1:
        return runs[0]
    return replace(
        runs[-1],
        samples_per_second=over_runs([run.samples_per_second for run in runs]),
        steps_per_second=known_over_runs([run.steps_per_second for run in runs]),
        samples_per_joule=known_over_runs([run.samples_per_joule for run in runs]),
    )


def over_runs(rates: Sequence[Interval]) -> Interval:
    """Return a rate over several runs, with the interval of its mean from their spread."""
    return ratio_interval([math.log(rate.point) for rate in rates])


def known_over_runs(rates: Sequence[Interval | None]) -> Interval | None:
    """Return the same of those runs that told it; None where fewer than two did."""
    known = [rate for rate in rates if rate is not None]
    return over_runs(known) if len(known) > 1 else None


def throughput_beside(study: Conclusion, winner: str) -> Interval | None:
    """Return what the candidate does to the throughput, where something else was compared."""
    if study.options.objective is not Objective.ENERGY or study.final is None:
        return None
    runs = study.final.measured
    return throughput_ratio(runs.get(BASELINE, ()), runs.get(winner, ()))


def untold_note(study: Conclusion) -> tuple[str, ...]:
    """Return how many runs did not tell what the study compares by: they are missing, not bad."""
    untold = [
        report
        for report in study.reports
        if report.outcome.kind is OutcomeKind.COMPLETED and report.measurement is None
    ]
    if not untold:
        return ()
    return (f"{len(untold)} runs were not counted; trial {untold[0].number}: {untold[0].outcome.reason}",)


def slow_note(study: Conclusion) -> tuple[str, ...]:
    """Return how many configurations were left aside for their throughput, where that is a limit."""
    own, floor = study.baseline.measurement, study.options.throughput_floor
    slow = {
        report.configuration.digest
        for report in study.reports
        if own and report.measurement and report.phase is Phase.SEARCH
        if shortfall([own], [report.measurement], floor)
    }
    if not slow or floor is None:
        return ()
    told = f"{len(slow)} configurations trained at less than {floor:.2f} of your own throughput"
    return (f"{told} and were left aside",)


def best_command(study: Conclusion, recommendation: Recommendation) -> ShellCommand:
    """Return the command that uses the result; on ``keep`` the user's own."""
    chosen = recommendation.recommended.configuration
    if recommendation.verdict is Decision.KEEP or not recommendation.changes:
        return own_command(study, chosen)
    tokens = study.job.command.render_optimal(study.output / CONFIG, chosen.arguments)
    handed_on = environment_lines(study, recommendation) is not None
    pointer = {POINTER: str((study.output / ENVIRONMENT_FILE).absolute())} if handed_on else {}
    return ShellCommand(
        tokens=tokens,
        cwd=study.options.cwd,
        environment={**chosen.environment, **pointer},
        prepended=carried_by_probe(study, chosen),
    )


def environment_lines(study: Conclusion, recommendation: Recommendation) -> str | None:
    """Return ``.deepspeed_env`` for a job of DeepSpeed's launcher on several hosts; None for any other."""
    chosen = recommendation.recommended.configuration.environment
    spans_hosts = (study.job.context.hosts or 1) > 1 and study.job.command.launcher == "deepspeed"
    if not spans_hosts or not chosen or recommendation.verdict is Decision.KEEP:
        return None
    own = users_own(home=Path.home(), cwd=study.options.cwd, environment=os.environ)
    return environment_file(chosen, user=own)


def own_command(study: Conclusion, own: Configuration) -> ShellCommand:
    """Return the user's command as it was measured: as typed, but for placeholders and another config."""
    command, overridden = study.job.command, study.options.config is not None
    if not overridden and not command.has_placeholders:
        return ShellCommand(tokens=study.options.command, cwd=study.options.cwd)
    return ShellCommand(
        tokens=command.render_optimal(study.output / CONFIG, {}),
        cwd=study.options.cwd,
        prepended=carried_by_probe(study, own) if overridden else {},
    )


def carried_by_probe(study: Conclusion, chosen: Configuration) -> dict[str, str]:
    """Install the probe where it carries something: knobs, or the config of a script that has none."""
    substitute = study.job.command.config_place == "probe"
    if not chosen.probe and not substitute:
        return {}
    folder = study.output / PROBE
    settings = {
        "run": study.name,
        "purpose": "run",
        "directory": str(folder / "run"),
        "substitute_config": dict(chosen.ds_config) if substitute else None,
        "substitute_engine": study.engine,
        "knobs": dict(chosen.probe),
        "guard_writes": False,
    }
    with storage(folder):
        return install(folder, settings)


def shown(path: Path, cwd: Path) -> Path:
    """Return a path as the user would type it: relative to where they are, where it lies below."""
    return path.relative_to(cwd) if path.is_relative_to(cwd) else path
