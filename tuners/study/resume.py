"""What a study was started with, as the history keeps it, and how ``--resume`` takes it up again."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flyball.database import open_database
from flyball.errors import OptionError
from flyball.history.finding import BETWEEN_RUNS, GENERATION
from flyball.history.records import FINISHED, ExperimentRecord
from flyball.history.store import History
from flyball.tuners.job.lead import lead_of_document
from flyball.tuners.objective import Objective
from flyball.tuners.options import LATEST, StudyOptions

ORIGINAL_CONFIG = "ds_config_original.json"
ORIGINAL_SPACE = "space.yaml"


def experiments_to_resume(options: StudyOptions) -> StudyOptions:
    """Return the options of the experiment that ``--resume`` means, with what was given anew on top.

    Raises:
        OptionError: there is no such experiment, or it is finished.
        DatabaseError: the database cannot be used.
    """
    with open_database(options.database_url) as database:
        experiment = find_resumable(History(database), options)
    if experiment.options.get(BETWEEN_RUNS):
        raise OptionError(
            f"{experiment.name!r} is a study over production runs",
            where="--resume",
            mend=f"go on with: flyball run --study {experiment.name.partition(GENERATION)[0]} -- COMMAND...",
        )
    if experiment.status == FINISHED:
        raise OptionError(
            f"experiment {experiment.name!r} is finished",
            where="--resume",
            mend="start a new one without --resume",
        )
    return _restored(options, experiment)


def find_resumable(history: History, options: StudyOptions) -> ExperimentRecord:
    """Return the experiment that ``--resume`` means; OptionError or DatabaseError where there is none."""
    if options.resume != LATEST:
        return history.find_experiment(options.resume or "")
    found = history.latest_resumable()
    if found is None:
        raise OptionError(
            "there is no experiment to resume", where="--resume", mend="see: flyball history experiments"
        )
    return found


def _restored(options: StudyOptions, experiment: ExperimentRecord) -> StudyOptions:
    stored, output = experiment.options, Path(experiment.output_directory)
    if options.command and tuple(options.command) != tuple(experiment.command):
        raise OptionError(
            f"experiment {experiment.name!r} tunes another command",
            where="--resume",
            mend="leave the command out, or start anew without --resume",
        )
    space = output / ORIGINAL_SPACE
    given_space = stored.get("space")
    return replace(
        options,
        command=experiment.command,
        cwd=Path(stored["cwd"]),
        typed_in=options.cwd,
        config=_original_config(stored, output),
        space=space if space.is_file() else (Path(given_space) if given_space else None),
        trials=options.trials if options.trials is not None else stored.get("trials"),
        budget_seconds=_first(options.budget_seconds, stored.get("budget_seconds")),
        ablation_seconds=_first(options.ablation_seconds, stored.get("ablation_seconds")),
        seed=experiment.seed,
        output=output,
        resume=experiment.name,
        maps=stored.get("maps") or {},
        name=None,
        warm=options.warm and bool(stored.get("warm", True)),
        allowed_writes=(*options.allowed_writes, *(Path(each) for each in stored.get("allowed_writes", ()))),
        memory_limit_ratio=stored.get("memory_limit_ratio", options.memory_limit_ratio),
        objective=Objective(stored.get("objective", options.objective)),
        least_throughput_ratio=stored.get("least_throughput_ratio", options.least_throughput_ratio),
        allow_global_batch=bool(stored.get("allow_global_batch")),
        samples_from=stored.get("samples_from", options.samples_from),
        policies=tuple(stored.get("policies", options.policies)),
        lead=lead_of_document(stored["lead"]) if stored.get("lead") else None,
    )


def _original_config(stored: Mapping[str, Any], output: Path) -> Path | None:
    kept = output / ORIGINAL_CONFIG
    return kept if kept.is_file() else (Path(stored["config"]) if stored.get("config") else None)


def _first(given: float | None, stored: Any) -> float | None:
    return given if given is not None else stored
