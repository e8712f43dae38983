"""What passes between ``flyball run --study`` and the study, which works in a process of its own, as JSON."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flyball.history.owner import Owner
from flyball.tuners.objective import Objective
from flyball.tuners.options import StudyOptions, options_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a production run asks for before it starts."""

    options: StudyOptions
    owner: Owner
    """The process that runs it."""
    explore: bool = True
    """Whether it may run a configuration that is only tried."""
    objective_given: bool = True
    """Whether the user named the objective; else a study that has begun keeps its own."""
    own_only: bool = False
    """Whether it takes the place of a run that failed before its first step."""

    def document(self) -> dict[str, Any]:
        """As JSON; it holds the database's URL."""
        return {
            **options_json(self.options),
            "command": list(self.options.command),
            "database_url": self.options.database_url,
            "name": self.options.name,
            "seed": self.options.seed,
            "output": str(self.options.output) if self.options.output else None,
            "owner": asdict(self.owner),
            "explore": self.explore,
            "objective_given": self.objective_given,
            "own_only": self.own_only,
        }


def asked_of_document(document: dict[str, Any]) -> Asked:
    """Return what ``Asked.document`` made it from."""

    def path(name: str) -> Path | None:
        return Path(document[name]) if document[name] else None

    options = StudyOptions(
        command=tuple(document["command"]),
        cwd=Path(document["cwd"]),
        database_url=document["database_url"],
        config=path("config"),
        space=path("space"),
        trials=document["trials"],
        seed=document["seed"],
        output=path("output"),
        maps=document["maps"],
        name=document["name"],
        memory_limit_ratio=document["memory_limit_ratio"],
        objective=Objective(document["objective"]),
        least_throughput_ratio=document["least_throughput_ratio"],
        samples_from=document["samples_from"],
        policies=tuple(document["policies"]),
    )
    return Asked(
        options=options,
        owner=Owner(**document["owner"]),
        explore=document["explore"],
        objective_given=document["objective_given"],
        own_only=document["own_only"],
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """What a production run does for the study."""

    study: str
    """Name of the study with its generation; empty where the run is no part of one."""
    experiment_id: int | None = None
    trial_id: int | None = None
    """Its record; None where it is not recorded."""
    is_own: bool = True
    """Whether it is the user's own configuration."""
    tokens: tuple[str, ...] | None = None
    """The command to run; None is the user's as typed."""
    environment: dict[str, str] = field(default_factory=dict)
    """Set on top of the user's."""
    probe: dict[str, Any] = field(default_factory=dict)
    """Settings of the probe beside its usual ones."""
    objective: str = Objective.THROUGHPUT.value
    """What the study makes better."""
    promise: dict[str, Any] | None = None
    """``promise.json`` of a run that uses a recommendation."""
    startup_seconds: float | None = None
    """That the user's own configuration took to its first step, where it is known."""
    lines: tuple[str, ...] = ()
    """To be said at the start."""
    refused: str | None = None
    """Why the study cannot begin, in one line; then nothing should run."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def turn_of_document(document: dict[str, Any]) -> Turn:
    """Return what ``Turn.document`` made it from."""
    tokens = document["tokens"]
    lines = tuple(document["lines"])
    return Turn(**{**document, "tokens": tuple(tokens) if tokens is not None else None, "lines": lines})


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a production run ended."""

    trial_id: int
    is_own: bool
    """Whether the user's own configuration ran."""
    folder: str
    """Of the run, with its journals."""
    exit_status: int | None
    signal: int | None
    told: tuple[int, ...] = ()
    """Signals that asked it to end, as far as they came by way of us."""
    hung: str | None = None
    """Why it was ended by us."""
    seconds: float = 0.0
    kernel_kills: int = 0
    """Of the kernel's out-of-memory killer meanwhile."""
    pid: int = 0
    """That it had; also its process group."""
    on_terminal: bool = False
    """Whether a user may have ended it by a key that we do not see."""
    telemetry: dict[str, Any] | None = None
    """What was seen of its GPUs, where it was summed up."""
    energy: dict[str, Any] | None = None
    """Samples a joule as ``point``, ``low`` and ``high``, or ``unavailable``: why they are not known."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def ended_of_document(document: dict[str, Any]) -> Ended:
    """Return what ``Ended.document`` made it from."""
    return Ended(**{**document, "told": tuple(document["told"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """What the study says to a run that has ended."""

    restart: bool = False
    """Whether the user's own configuration should run in its place at once."""
    lines: tuple[str, ...] = ()
