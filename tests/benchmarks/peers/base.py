"""What a tuner is to the bench: a name, whether it can run here, and a search with a wall budget."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.benchmarks._outside_run import OutsideRun

from flyball.clock import Clock
from flyball.tuners.base import Configuration
from flyball.tuners.knobs.knob import Situation
from flyball.tuners.space.space import Space

MEASURED, OUT_OF_MEMORY, FAILED, CUT_OFF = "measured", "out of memory", "failed", "cut off"


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One launch of the script by a peer, as the peer saw it."""

    at_seconds: float
    """When it ended, since the search began."""
    outcome: str
    """``measured``, ``out of memory``, ``failed`` or ``cut off`` (by the end of the budget)."""
    samples_per_second: float | None = None
    """By the peer's own measure, which need not be another's."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pick:
    """What a peer recommends, with all that is needed to run it."""

    ds_config: Mapping[str, Any]
    arguments: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    probe: Mapping[str, Any] = field(default_factory=dict)
    script: str = ""
    """Text for ``sh``, where the peer hands over a command of its own; else the user's with ``ds_config``."""
    config_path: str = ""
    """The config that ``script`` names."""

    @property
    def configuration(self) -> Configuration:
        """The same as flyball's."""
        return Configuration(
            assignment={},
            ds_config=self.ds_config,
            arguments=self.arguments,
            environment=self.environment,
            probe=self.probe,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What came of one search, or why there was none."""

    peer: str
    seed: int
    budget_seconds: float
    trials: tuple[Trial, ...] = ()
    search_seconds: float = 0.0
    verification_seconds: float | None = None
    """None where the peer verifies nothing."""
    ended: str = ""
    """``by itself`` or ``budget``."""
    pick: Pick | None = None
    reason: str = ""
    """Why there is no pick."""
    notes: tuple[str, ...] = ()

    def count(self, outcome: str) -> int:
        """How many trials ended so."""
        return sum(trial.outcome == outcome for trial in self.trials)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Found":
        """From JSON."""
        fields = {
            **document,
            "trials": tuple(Trial(**each) for each in document["trials"]),
            "pick": Pick(**document["pick"]) if document["pick"] else None,
            "notes": tuple(document["notes"]),
        }
        return cls(**fields)


class Measure(Protocol):
    """Runs one configuration as a user would, in a folder, for at most so long."""

    def __call__(self, configuration: Configuration, folder: Path, limit_seconds: float) -> OutsideRun:
        """Return what was seen of it; its rate is in steps of the optimizer."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """The job that every peer tunes, with what the peers share."""

    command: Sequence[str]
    """The user's own."""
    config_path: Path
    """The user's own config, named by the command."""
    cwd: Path
    space: Space
    measure: Measure
    """By which the peers of single runs launch and time theirs."""
    clock: Clock
    most_trials: int | None = None
    space_file: Path | None = None
    allow_global_batch: bool = False
    memory_limit_ratio: float = 0.90

    @property
    def ranks(self) -> int:
        """Processes of the job."""
        return self.space.situation.context.world_size

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda``."""
        return self.space.situation.context.device

    def global_batch(self, ds_config: Mapping[str, Any]) -> int:
        """Samples that a step of the optimizer takes under a config."""
        batch = Situation(config=ds_config, context=self.space.situation.context).batch
        if batch is None:
            raise ValueError("the config leaves its batch open: name train_batch_size in it")
        return batch.global_batch


class Peer(Protocol):
    """A tuner; one file each, listed in ``registry.py``."""

    name: str
    summary: str
    """What it is and how it is run, one line for the report."""

    def unavailable(self, bench: Bench) -> str | None:
        """Why it cannot run on this machine, with the mend; None where it can."""
        ...

    def search(self, bench: Bench, folder: Path, *, seed: int, budget_seconds: float) -> Found:
        """Search for at most so long, everything written into ``folder``; never raises for a bad trial."""
        ...
