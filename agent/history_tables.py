"""Draws past experiments and trials: tables on a terminal, nothing cut off in a pipe."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flyball.agent.durations import format_duration
from flyball.agent.history_records import PastExperiment, PastLinks, PastRun, PastTrial
from flyball.agent.plain_tables import add_row, facts_table, new_table
from flyball.agent.run_display import summary_lines
from flyball.agent.text import describe_changes, describe_rate, describe_value
from flyball.runner.foreground import Ending
from flyball.tuners.base import Configuration, Interval, Phase
from flyball.tuners.knobs.registry import BY_NAME
from flyball.tuners.measurement.telemetry import in_words
from flyball.tuners.objective import Objective
from flyball.tuners.results.recommendation import Change, changes

_SHOWN_ITEMS = 4


def experiments_table(experiments: Sequence[PastExperiment]) -> Table:
    """Return one row for each experiment."""
    made = new_table("name", "status", "verdict", ">x", ">trials", ">best/s", "started")
    for experiment in experiments:
        speedup = (experiment.recommendation or {}).get("speedup")
        cells = (
            experiment.name,
            experiment.status,
            experiment.verdict or "-",
            f"{speedup['point']:.2f}" if speedup else "-",
            str(sum(experiment.outcomes.values())),
            describe_rate(experiment.best_samples_per_second),
            _moment(experiment.created),
        )
        add_row(made, cells)
    return made


def trials_table(trials: Sequence[PastTrial], own: PastTrial | None = None) -> Table:
    """Return one row for each trial, with what differs from the user's own run; what failed says why."""
    objective = _objective(trials)
    value = [] if objective is Objective.THROUGHPUT else [f">{objective.terms.unit}"]
    alerts = ["alerts"] if any(trial.rules for trial in trials) else []
    made = new_table(">trial", "phase", "outcome", *value, ">samples/s", ">took", *alerts, "changes")
    for trial in trials:
        about = describe_changes(_changed(trial, own))
        failed = trial.outcome not in ("completed", "running")
        cells = (
            str(trial.number),
            trial.phase,
            trial.outcome,
            *([describe_rate(_value(trial, objective))] if value else []),
            describe_rate(trial.rate.get("point")),
            _span(trial.total_seconds) or "-",
            *([", ".join(trial.rules) or "-"] if alerts else []),
            f"{trial.reason}  ({about})" if failed else about,
        )
        add_row(made, cells, style="yellow" if failed else "")
    return made


def own_run(trials: Sequence[PastTrial]) -> PastTrial | None:
    """Return the run of the user's own configuration that a study began with."""
    return next((trial for trial in trials if trial.phase == Phase.BASELINE), None)


def _objective(trials: Sequence[PastTrial]) -> Objective:
    found = ((trial.measurement or {}).get("objective") for trial in trials)
    return Objective(next(filter(None, found), Objective.THROUGHPUT))


def _value(trial: PastTrial, objective: Objective) -> float | None:
    """Return what a trial was compared by, in the objective's own unit."""
    merit = (trial.measurement or {}).get(objective.terms.merit_field)
    return objective.of_merit(Interval(**merit)).point if merit else None


def _changed(trial: PastTrial, own: PastTrial | None) -> Mapping[str, Any]:
    if own is None:
        return trial.assignment
    # The user's own run precedes the space: a knob that it does not name is told by what it writes.
    moved = changes(_configuration(own), _configuration(trial), {})
    return {
        knob: value
        for knob, value in trial.assignment.items()
        if (own.assignment[knob] != value if knob in own.assignment else _is_moved(knob, moved))
    }


def _is_moved(knob: str, moved: Collection[Change]) -> bool:
    """Whether what a knob writes differs, as far as that can be told: an option names no knob."""
    path = BY_NAME[knob].path if knob in BY_NAME else None
    by_option = any(change.place == "arguments" for change in moved)
    return path is None or by_option or any(f"{each.path}.".startswith(f"{path}.") for each in moved)


def experiment_page(experiment: PastExperiment, trials: Sequence[PastTrial]) -> Group:
    """Return all there is to say of one experiment."""
    found = experiment.recommendation or {}
    fastest = f"{describe_rate(experiment.best_samples_per_second)} samples/s"
    facts = {
        "experiment": f"{experiment.name} (id {experiment.id})",
        "status": f"{experiment.status}, begun {_moment(experiment.created)}",
        "took": _span(experiment.seconds),
        "command": " ".join(experiment.command),
        "results": experiment.output_directory,
        "led by": _lead_text(experiment.options.get("lead")),
        "seed": experiment.seed,
        "budget": _span(experiment.budget_seconds),
        "machine": _flat(experiment.fingerprint),
        "trials": ", ".join(f"{count} {outcome}" for outcome, count in experiment.outcomes.items()) or "none",
        _best_label(experiment.options.get("objective")): fastest,
        "objective": experiment.options.get("objective"),
        "verdict": experiment.verdict or "none yet",
        "speed-up": _interval(found.get("speedup"), "x"),
        "JSON alone": _interval(found.get("speedup_json"), "x"),
        "because": "; ".join(found.get("reasons", ())),
        **_explained(found.get("explanation")),
    }
    parts: list[RenderableType] = [facts_table(facts)]
    if found.get("changes"):
        parts += [Text(), _changes_table(found["changes"])]
    if trials:
        parts += [Text(), trials_table(trials, own_run(trials))]
    return Group(*parts)


def _best_label(objective: str | None) -> str:
    """Return what the fastest trial is: the best one only where speed was what was compared."""
    return "best seen" if objective in (None, Objective.THROUGHPUT) else "fastest seen"


def _explained(found: Mapping[str, Any] | None) -> dict[str, str | None]:
    """Return what explains a verdict; of studies before it was kept there is none."""
    if not found:
        return {}
    return {
        "matters": found["importance"]["text"],
        "brings": "; ".join(f"{each['knob']}: {each['text']}" for each in found["effects"]),
        "cost": found["cost"]["text"],
        "paid back": (found["payback"] or {}).get("text"),
        "not tried": "; ".join(group["text"] for group in found["not_tried"]),
    }


def trial_page(experiment: PastExperiment, trial: PastTrial, baseline: PastTrial | None) -> Group:
    """Return all there is to say of one trial; its configuration as a difference from the user's own."""
    facts = {
        "trial": f"{trial.number} of {experiment.name}",
        "phase": trial.phase,
        "outcome": trial.outcome,
        "reason": trial.reason,
        "samples/s": _interval(trial.rate, ""),
        "launcher": trial.launcher,
        "start-up": _span(trial.startup_seconds),
        "took": _span(trial.total_seconds),
        "notes": "; ".join(trial.notes),
        "knobs": describe_changes(trial.assignment),
        "alerts": _alerts_text(trial.alerts),
    }
    own = Configuration(assignment={}, ds_config=experiment.base_config)
    rows = _difference(_configuration(baseline) if baseline else own, _configuration(trial))
    parts: list[RenderableType] = [facts_table(facts), Text()]
    parts.append(_changes_table(rows) if rows else Text("the configuration is yours"))
    if trial.measurement:
        measured = {key: _flat(value) for key, value in trial.measurement.items() if key != "telemetry"}
        parts += [Text(), facts_table(measured | in_words(trial.measurement.get("telemetry") or {}))]
    return Group(*parts)


def _lead_text(lead: Mapping[str, Any] | None) -> str | None:
    return None if lead is None else f"{lead['alert']['rule']} in the run {lead['run']} ({lead['url']})"


def _alerts_text(alerts: Sequence[Mapping[str, Any]] | None) -> str:
    told = ((alert["rule"], alert["annotations"].get("summary", "")) for alert in alerts or ())
    return "; ".join(f"{rule}: {summary}" if summary else str(rule) for rule, summary in told)


def runs_table(runs: Sequence[PastRun]) -> Table:
    """Return one row for each watched run."""
    made = new_table("name", "host", "end", ">took", ">samples/s", ">SM", "started")
    for run in runs:
        known = run.summary or {}
        sm = ((known.get("gpu") or {}).get("sm_utilization") or {}).get("mean")
        cells = (
            run.name,
            run.host,
            run_end(run),
            _span(run.finished - run.started if run.finished is not None else None) or "-",
            describe_rate((known.get("samples_per_second") or {}).get("point")),
            f"{sm:.0%}" if sm is not None else "-",
            _moment(run.started),
        )
        add_row(made, cells, style="yellow" if run.finished is not None and run.exit_status != 0 else "")
    return made


def links_table(measurements: Sequence[PastLinks]) -> Table:
    """Return one row for each measurement of links."""
    made = new_table(">id", "measured", "host", "backend", ">ranks", ">slow links", "launcher")
    for one in measurements:
        links = one.document.get("links") or ()
        slow = {(link["src"], link["dst"]) for link in links if link.get("slow")}
        ranks = str(len(one.document.get("ranks") or ()))
        command = " ".join(one.command) or "-"
        cells = (str(one.id), _moment(one.measured), one.host, one.backend, ranks, str(len(slow)), command)
        add_row(made, cells, style="yellow" if slow else "")
    return made


def run_end(run: PastRun) -> str:
    """Return how a run ended, in words."""
    if run.finished is None:
        return "still running" if run.running else "not seen"
    return Ending(exit_status=run.exit_status, signal=run.signal).text


def run_page(run: PastRun) -> Group:
    """Return all there is to say of one watched run."""
    facts = {
        "command": " ".join(run.command),
        "started": _moment(run.started),
        "machine": _flat(run.fingerprint),
        "end": run_end(run) if run.finished is None else None,
    }
    known = [Text(line) for line in summary_lines(run.summary)] if run.summary else []
    return Group(*known, Text(), facts_table(facts))


def _difference(before: Configuration, after: Configuration) -> list[dict[str, Any]]:
    return [
        {"place": change.place, "path": change.path, "before": change.before, "after": change.after}
        for change in changes(before, after, {})
    ]


def _configuration(trial: PastTrial) -> Configuration:
    return Configuration(
        assignment=trial.assignment,
        ds_config=trial.ds_config,
        arguments=trial.arguments,
        environment=trial.environment,
        probe=trial.probe,
    )


def _changes_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    made = new_table("where", "what", "yours", "becomes", "because")
    for row in rows:
        values = ("-" if row.get(side) is None else describe_value(row[side]) for side in ("before", "after"))
        add_row(made, (str(row["place"]), str(row["path"]), *values, str(row.get("reason", ""))))
    return made


def _flat(value: object) -> str:
    if isinstance(value, Mapping):
        return "  ".join(f"{key}={_flat(each)}" for key, each in value.items() if each not in (None, [], ()))
    if isinstance(value, list | tuple):
        shown = ", ".join(_flat(each) for each in value[:_SHOWN_ITEMS])
        return f"{shown}, ... ({len(value)} in all)" if len(value) > _SHOWN_ITEMS else shown
    return "" if value is None else describe_value(value)


def _interval(interval: Mapping[str, float] | None, unit: str) -> str | None:
    if not interval:
        return None
    low, high = (describe_rate(interval.get(bound)) for bound in ("low", "high"))
    return f"{describe_rate(interval['point'])}{unit} ({low} to {high})"


def _span(seconds: float | None) -> str | None:
    return format_duration(seconds) if seconds is not None else None


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
