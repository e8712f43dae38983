"""The process in which a production run's study works, so that whatever breaks in it is not the run's.

    python -m flyball.tuners.between_runs.process ask|record

One JSON document comes on stdin (``between_runs_turn``), one goes to stdout.
"""

import contextlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from flyball.clock import Clock, SystemClock
from flyball.collectors.fingerprint import Fingerprint, fingerprint
from flyball.errors import BadInput, DatabaseError, FlyballError
from flyball.history.finding import BETWEEN_RUNS
from flyball.history.records import ExperimentRecord
from flyball.history.store import History
from flyball.tuners.base import Phase, TrialReport
from flyball.tuners.between_runs.key import JobKey
from flyball.tuners.between_runs.open import (
    begin_or_continue,
    claimed,
    keep_observed,
    newest,
    opened,
    read_observed,
    taken_up,
    understood,
    with_objective_of,
)
from flyball.tuners.between_runs.plan import USE
from flyball.tuners.between_runs.report import EndedRun, RunRecord
from flyball.tuners.between_runs.so_far import own_feeding
from flyball.tuners.between_runs.space import BATCH_UNSEEN, CHANGES_CHECKPOINT
from flyball.tuners.between_runs.study import BetweenRuns, NextRun
from flyball.tuners.between_runs.turn import (
    Asked,
    Ended,
    Recorded,
    Turn,
    asked_of_document,
    ended_of_document,
)
from flyball.tuners.job.job import device_memory
from flyball.tuners.measurement.series import busiest_header
from flyball.tuners.objective import figure
from flyball.tuners.results.output import json_bytes, write_whole
from flyball.tuners.results.promise import promise_json
from flyball.tuners.search.loop import changed_knobs
from flyball.tuners.study.ledger import Ledger, configuration_of
from flyball.tuners.trials.trial_runner import Run

CONFIGS = "configs"
SAID = (BATCH_UNSEEN, CHANGES_CHECKPOINT)
"""Reasons to leave a knob out that a user should hear of."""


def ask(asked: Asked, *, machine: Fingerprint, clock: Clock) -> Turn:
    """Return what the run does for its study, and record that it begins.

    Raises:
        FlyballError: the study cannot be used; of one that has begun, that is no reason not to run.
    """
    with opened(asked.options.database_url, clock=clock) as history:
        asked = with_objective_of(newest(history, asked), asked)
        try:
            job = understood(asked.options, machine)
            ledger, lines = begin_or_continue(history, asked, job, machine)
        except DatabaseError:
            raise
        except BadInput as error:
            if any(each.options.get(BETWEEN_RUNS) for each in history.generations(asked.options.name or "")):
                raise
            return Turn(study="", refused=str(error) if error.where else f"--study: {error}")
        with claimed(history, ledger.experiment_id, clock=clock):
            study = BetweenRuns(ledger=ledger, job=job, clock=clock)
            return _turn(study, asked, lines)


def _turn(study: BetweenRuns, asked: Asked, lines: list[str]) -> Turn:
    wanted = study.in_place_of_failed() if asked.own_only else study.next_run()
    name = study.ledger.name
    is_tried = wanted is not None and wanted.label != USE and not _is_own(study, wanted)
    if wanted is None or (is_tried and not asked.explore):
        why = "its last word is to keep your own configuration" if wanted is None else "nothing is tried now"
        return replace(_own_turn(study), lines=(*lines, f"study {name}: {why}"))
    number = study.ledger.next_number()
    # Before the record: on a full disk nothing is begun.
    turn = _own_turn(study) if _is_own(study, wanted) else _other_turn(study, wanted, number)
    trial_id = study.ledger.start(
        Run(number=number, phase=wanted.phase, configuration=wanted.configuration),
        label=wanted.label,
        optuna_number=wanted.optuna_number,
    )
    said = (*lines, *_left_out(study, wanted), f"study {name}, run {number}: {_told(study, wanted)}")
    return replace(turn, trial_id=trial_id, lines=said)


def _is_own(study: BetweenRuns, wanted: NextRun) -> bool:
    return wanted.configuration.digest == study.own.digest


def _left_out(study: BetweenRuns, wanted: NextRun) -> list[str]:
    """What the user can mend, said once: when the first configuration is tried."""
    if wanted.phase is not Phase.SEARCH or study.ledger.reports(Phase.SEARCH):
        return []
    left_out = study.space.left_out.items()
    return [f"study {study.ledger.name}: {knob} is not tried: {why}" for knob, why in left_out if why in SAID]


def _told(study: BetweenRuns, wanted: NextRun) -> str:
    if _is_own(study, wanted):
        return f"your own configuration ({wanted.label})"
    if wanted.label == USE:
        return f"the recommended configuration, see {study.ledger.output}/summary.txt"
    changes = changed_knobs(study.space, wanted.configuration.assignment)
    return f"{wanted.label}: {', '.join(f'{knob}={value}' for knob, value in changes.items())}"


def _own_turn(study: BetweenRuns) -> Turn:
    """The user's own command as typed; with ``--config``, that config put where the script's was."""
    report, command = study.own_report, study.job.command
    measured = report.measurement if report else None
    base = Turn(
        study=study.ledger.name,
        experiment_id=study.ledger.experiment_id,
        objective=study.ledger.options.objective.value,
        probe={"samples_from": study.ledger.options.samples_from},
        startup_seconds=measured.startup_seconds if measured else None,
    )
    if study.ledger.options.config is None and not command.has_placeholders:
        return base
    if command.config_place == "probe":
        return replace(base, probe={**base.probe, "substitute_config": dict(study.job.config)})
    path = command.config_path
    return base if path is None else replace(base, tokens=tuple(command.render_optimal(path, {})))


def _other_turn(study: BetweenRuns, wanted: NextRun, number: int) -> Turn:
    own, command = wanted.configuration, study.job.command
    path = study.ledger.output / CONFIGS / f"{number}.json"
    write_whole(path, json_bytes(dict(own.ds_config)))
    probe: dict[str, Any] = {"samples_from": study.ledger.options.samples_from, "knobs": dict(own.probe)}
    if command.config_place == "probe":
        probe |= {"substitute_config": dict(own.ds_config), "substitute_engine": study.engine}
    promise = _promise(study) if wanted.label == USE else None
    return replace(
        _own_turn(study),
        is_own=False,
        tokens=tuple(command.render_optimal(path, own.arguments)),
        environment=dict(own.environment),
        probe=probe,
        promise=promise,
    )


def _promise(study: BetweenRuns) -> dict[str, Any] | None:
    found = study.ledger.history.recommendation(study.ledger.experiment_id)
    if found is None:
        return None
    return promise_json(study.ledger.name, found.document, samples_from=study.ledger.options.samples_from)


def record(ended: Ended, asked: Asked, *, machine: Fingerprint, clock: Clock) -> Recorded:
    """Record how a run ended; where the evidence then decides, write the recommendation.

    Raises:
        FlyballError: database or disk gave out.
    """
    run = EndedRun.read(ended)
    with opened(asked.options.database_url, clock=clock) as history:
        experiment = history.experiment_of_trial(ended.trial_id)
        asked = with_objective_of(experiment, asked)
        ledger = taken_up(history, experiment, asked.options, asked.owner, machine)
        report = _finish(ledger, run, machine)
        restart = run.may_restart(report.outcome) and not ended.is_own
        summary = _decide(history, experiment, asked, machine, clock)
        return Recorded(
            restart=restart, lines=tuple(_result_lines(ledger.name, report, summary, restart=restart))
        )


def _finish(ledger: Ledger, run: EndedRun, machine: Fingerprint) -> TrialReport:
    trials = ledger.history.trials(ledger.experiment_id)
    trial = next(each for each in trials if each.id == run.ended.trial_id)
    header = busiest_header(run.journals)
    observed = read_observed(ledger.output)
    device = str((observed or header or {}).get("device") or "cpu").partition(":")[0]
    report = run.report(
        RunRecord(
            number=trial.number,
            phase=Phase(trial.phase),
            configuration=configuration_of(trial.configuration),
            is_own=run.ended.is_own,
        ),
        own_feeding=own_feeding(ledger, observed),
        device_memory_bytes=device_memory(device, machine),
        policies=ledger.options.policies,
        objective=ledger.options.objective,
    )
    if run.ended.is_own and report.measurement is not None and observed is None and header is not None:
        keep_observed(ledger.output, header)
    ledger.finish(trial.id, report)
    return report


def _decide(
    history: History, experiment: ExperimentRecord, asked: Asked, machine: Fingerprint, clock: Clock
) -> str | None:
    """Return the summary, where this run decided; of a job that was changed meanwhile nothing is decided."""
    try:
        job = understood(asked.options, machine)
        same = not JobKey.of(asked.options, job, machine).changed(experiment.options[BETWEEN_RUNS])
    except DatabaseError:
        raise
    except BadInput:
        return None
    if not same:
        return None
    with claimed(history, experiment.id, clock=clock):
        ledger = taken_up(history, experiment, asked.options, asked.owner, machine)
        study = BetweenRuns(ledger=ledger, job=job, clock=clock)
        study.decided()
        return study.summary


def _result_lines(name: str, report: TrialReport, summary: str | None, *, restart: bool) -> list[str]:
    if report.measurement is not None:
        run = report.measurement
        said = f"{figure(run.value.point)} {run.objective.terms.unit}"
    else:
        said = f"{report.outcome.kind.value.replace('_', ' ')}: {report.outcome.reason}"
    again = "; your own configuration starts in its place" if restart else ""
    lines = [f"study {name}, run {report.number}: {said}{again}"]
    return [*lines, "", *summary.rstrip("\n").splitlines()] if summary else lines


def main(arguments: list[str]) -> int:
    """Answer one request; a fault of the study's is told as JSON too."""
    request = json.load(sys.stdin)
    clock, machine = SystemClock(), fingerprint()
    asked = asked_of_document(request["asked"])
    answers: Mapping[str, Callable[[], Any]] = {
        "ask": lambda: ask(asked, machine=machine, clock=clock).document(),
        "record": lambda: asdict(
            record(ended_of_document(request["ended"]), asked, machine=machine, clock=clock)
        ),
    }
    # What a library prints must not stand in the answer.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            answer = answers[arguments[0]]()
        except FlyballError as error:
            answer = {"fault": str(error)}
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
