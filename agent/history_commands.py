"""``flyball history``: what was tried before, from the history database."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, TextIO

import typer

from flyball.agent.database_option import Database
from flyball.agent.history_records import PastExperiment, PastLinks, PastTrial
from flyball.agent.history_search import find_experiment, find_runs
from flyball.agent.redact import redact_urls
from flyball.agent.study_options import parse_whole
from flyball.agent.wiring import Wiring
from flyball.errors import OptionError
from flyball.runner.outcome import OutcomeKind
from flyball.settings import history_url
from flyball.tuners.base import Phase

history_app = typer.Typer(help="Look at past experiments, their trials and what came of them.")

_AsJson = Annotated[bool, typer.Option("--json", metavar="", help="Print JSON.")]
_Experiment = Annotated[
    str, typer.Argument(metavar="EXPERIMENT", help="Its name, its id, or its results folder.")
]


@history_app.command(epilog="Example: flyball history experiments --json")
def experiments(context: typer.Context, db: Database = None, as_json: _AsJson = False) -> None:
    """List past experiments, the newest first."""
    from flyball.agent.history_tables import experiments_table
    from flyball.agent.plain_tables import write

    wiring: Wiring = context.obj
    with wiring.open_history(db or history_url()) as history:
        rows = history.experiments()
    if as_json:
        _print_json(wiring.out, [asdict(row) for row in rows])
    elif rows:
        write(experiments_table(rows), wiring.out)
    else:
        wiring.out.write("no experiments yet; make one with autotune -- COMMAND...\n")


@history_app.command(epilog="Example: flyball history trials NAME --outcome out_of_memory")
def trials(
    context: typer.Context,
    experiment: _Experiment,
    outcome: Annotated[
        str | None, typer.Option("--outcome", metavar="OUTCOME", help="Only trials that ended so.")
    ] = None,
    phase: Annotated[
        str | None, typer.Option("--phase", metavar="PHASE", help="Only trials of this phase.")
    ] = None,
    db: Database = None,
    as_json: _AsJson = False,
) -> None:
    """List the trials of an experiment."""
    from flyball.agent.history_tables import own_run, trials_table
    from flyball.agent.plain_tables import write

    wiring: Wiring = context.obj
    _check_choice(outcome, [*(kind.value for kind in OutcomeKind), "running"], where="--outcome")
    _check_choice(phase, [each.value for each in Phase], where="--phase")
    with wiring.open_history(db or history_url()) as history:
        every = history.trials(find_experiment(history.experiments(), experiment))
    chosen = [
        trial
        for trial in every
        if trial.outcome == (outcome or trial.outcome) and trial.phase == (phase or trial.phase)
    ]
    if as_json:
        _print_json(wiring.out, [asdict(trial) for trial in chosen])
    elif chosen:
        write(trials_table(chosen, own_run(every)), wiring.out)
    else:
        wiring.out.write(f"none of its {len(every)} trials\n" if every else "it has no trials\n")


@history_app.command(epilog="Example: flyball history show NAME --trial 7")
def show(
    context: typer.Context,
    experiment: _Experiment,
    trial: Annotated[
        str | None, typer.Option("--trial", metavar="N", help="Show this trial instead of the whole.")
    ] = None,
    db: Database = None,
    as_json: _AsJson = False,
) -> None:
    """Show all of an experiment, or of one of its trials."""
    wiring: Wiring = context.obj
    number = parse_whole(trial, where="--trial", least=0)
    with wiring.open_history(db or history_url()) as history:
        past = find_experiment(history.experiments(), experiment)
        every = history.trials(past)
    if number is not None:
        _show_trial(wiring.out, past, every, number, as_json=as_json)
    else:
        _show_experiment(wiring.out, past, every, as_json=as_json)


@history_app.command(epilog="Example: flyball history runs --json")
def runs(context: typer.Context, db: Database = None, as_json: _AsJson = False) -> None:
    """List the runs that flyball run watched, the newest first."""
    from flyball.agent.history_tables import runs_table
    from flyball.agent.plain_tables import write

    wiring: Wiring = context.obj
    with wiring.open_history(db or history_url()) as history:
        rows = history.runs()
    if as_json:
        _print_json(wiring.out, [asdict(row) for row in rows])
    elif rows:
        write(runs_table(rows), wiring.out)
    else:
        wiring.out.write("no runs yet; make one with flyball run -- COMMAND...\n")


@history_app.command(epilog="Example: flyball history run NAME --json")
def run(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The run's name.")],
    db: Database = None,
    as_json: _AsJson = False,
) -> None:
    """Show all of a watched run; of each host, where several have one of this name."""
    from flyball.agent.history_tables import run_page
    from flyball.agent.plain_tables import write

    wiring: Wiring = context.obj
    with wiring.open_history(db or history_url()) as history:
        found = find_runs(history.runs(), name)
    if as_json:
        _print_json(wiring.out, [asdict(row) for row in found])
        return
    for row in found:
        write(run_page(row), wiring.out)


@history_app.command(epilog="Example: flyball history p2p 3")
def p2p(
    context: typer.Context,
    number: Annotated[
        str | None, typer.Argument(metavar="ID", help="Show this measurement; without it, list all.")
    ] = None,
    db: Database = None,
    as_json: _AsJson = False,
) -> None:
    """List the measurements of flyball p2p, the newest first, or show one."""
    from flyball.agent.history_tables import links_table
    from flyball.agent.plain_tables import write

    wiring: Wiring = context.obj
    wanted = parse_whole(number, where="ID", least=1)
    with wiring.open_history(db or history_url()) as history:
        every = history.links()
    if wanted is not None:
        _show_links(wiring.out, every, wanted, as_json=as_json)
    elif as_json:
        _print_json(wiring.out, [asdict(row) for row in every])
    elif every:
        write(links_table(every), wiring.out)
    else:
        wiring.out.write("no links were measured yet; measure them with flyball p2p\n")


def _show_links(out: TextIO, every: Sequence[PastLinks], number: int, *, as_json: bool) -> None:
    from flyball.agent.p2p_display import render
    from flyball.runner.p2p.links import Links

    chosen = next((each for each in every if each.id == number), None)
    if chosen is None:
        mend = f"there are {', '.join(str(each.id) for each in every[:8])}" if every else "there is none yet"
        raise OptionError(f"there is no measurement {number}", where="ID", mend=mend)
    if as_json:
        _print_json(out, asdict(chosen))
    else:
        out.write(render(Links.read(chosen.document)))


def _show_experiment(out: TextIO, past: PastExperiment, every: Sequence[PastTrial], *, as_json: bool) -> None:
    from flyball.agent.history_tables import experiment_page
    from flyball.agent.plain_tables import write

    if as_json:
        _print_json(out, asdict(past) | {"trials": [asdict(trial) for trial in every]})
    else:
        write(experiment_page(past, every), out)


def _show_trial(
    out: TextIO, past: PastExperiment, every: Sequence[PastTrial], number: int, *, as_json: bool
) -> None:
    from flyball.agent.history_tables import own_run, trial_page
    from flyball.agent.plain_tables import write

    chosen = next((each for each in every if each.number == number), None)
    if chosen is None:
        mend = f"its trials are {every[0].number} to {every[-1].number}" if every else "it has none yet"
        raise OptionError(f"{past.name} has no trial {number}", where="--trial", mend=mend)
    if as_json:
        _print_json(out, asdict(chosen))
    else:
        write(trial_page(past, chosen, own_run(every)), out)


def _check_choice(value: str | None, choices: list[str], *, where: str) -> None:
    if value is not None and value not in choices:
        raise OptionError(
            f"'{value}' is none of them", where=where, mend=f"choose one of {', '.join(choices)}"
        )


def _print_json(out: TextIO, document: Any) -> None:
    out.write(redact_urls(json.dumps(document, indent=2, ensure_ascii=False)) + "\n")
