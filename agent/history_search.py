"""Finds an experiment by whatever the user calls it."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from flyball.agent.history_records import PastExperiment, PastRun
from flyball.errors import OptionError


def find_experiment(experiments: Sequence[PastExperiment], reference: str) -> PastExperiment:
    """Return the experiment that ``reference`` names: its name, its id or its results folder.

    Raises:
        OptionError: there is none; the text says what comes close.
    """
    folder = str(Path(reference).expanduser().absolute())
    for name in (lambda each: each.name, lambda each: str(each.id), lambda each: each.output_directory):
        for experiment in experiments:
            if name(experiment) in (reference, folder):
                return experiment
    mend = _advice([experiment.name for experiment in experiments], reference)
    raise OptionError(f"there is no experiment '{reference}'", where="EXPERIMENT", mend=mend)


def find_runs(runs: Sequence[PastRun], name: str) -> list[PastRun]:
    """Return the runs of a name, one for each host that has it, the newest first.

    Raises:
        OptionError: there is none; the text says what comes close.
    """
    newest: dict[str, PastRun] = {}
    for run in runs:
        if run.name == name:
            newest.setdefault(run.host, run)
    if newest:
        return list(newest.values())
    close = difflib.get_close_matches(name, [run.name for run in runs], n=3, cutoff=0.5)
    mend = f"did you mean {' or '.join(close)}?" if close else "flyball history runs lists them all"
    raise OptionError(f"there is no run '{name}'", where="NAME", mend=mend)


def _advice(names: Sequence[str], reference: str) -> str:
    if not names:
        return "the history is empty; make one with autotune -- COMMAND..."
    close = difflib.get_close_matches(reference, names, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"the newest is {names[0]}; flyball history experiments lists them all"
