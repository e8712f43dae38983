"""Production runs of a fake workload of a known speed, each of them a turn of one study."""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.tuners.fake_job import FakeClock
from tests.tuners.study_bench import CONFIG, micro_of

from flyball.collectors.fingerprint import Fingerprint
from flyball.database import open_database
from flyball.history.owner import Owner
from flyball.history.records import TrialRecord
from flyball.history.store import History
from flyball.tuners.between_runs.process import ask, record
from flyball.tuners.between_runs.turn import (
    Asked,
    Ended,
    Recorded,
    Turn,
    asked_of_document,
    turn_of_document,
)
from flyball.tuners.objective import Objective
from flyball.tuners.options import StudyOptions

SCRIPT = "import deepspeed\nrows = engine.train_micro_batch_size_per_gpu()\n"
SPACE = "knobs:\n  micro_batch: [1, 2, 4, 8]\n"
MACHINE = Fingerprint(cpu_model="fake", cores=2, memory_bytes=2**33, python="3.11", kernel="6")
Speed = Callable[[int], float]
"""Samples a second of a micro batch."""


def grows(micro: int) -> float:
    return 100.0 * micro**0.3


def alike(micro: int) -> float:
    return 100.0


@dataclass(frozen=True, kw_only=True)
class Fate:
    """How a run ends."""

    steps: int = 60
    exit_status: int | None = 0
    signal: int | None = None
    told: tuple[int, ...] = ()
    raises: Mapping[str, Any] | None = None
    """Fields of an ``exception`` record."""
    flyball_killed: bool = False
    on_terminal: bool = False


WELL = Fate()


@dataclass
class Production:
    """A job that runs again and again under one study."""

    folder: Path
    speed: Speed = grows
    noise: float = 0.01
    search_runs: int = 3
    space: str = SPACE
    more: tuple[str, ...] = ()
    """Options behind the script."""
    clock: FakeClock = field(default_factory=FakeClock)
    objective: Objective | None = Objective.THROUGHPUT
    """None: the user does not say."""
    machine: Fingerprint = MACHINE
    energy: Callable[[int], dict[str, Any] | None] = lambda micro: None
    """What is told of the energy of a run, by its micro batch."""
    number: int = 0
    database_url: str = ""
    """A file in the folder, where nothing is said."""

    def __post_init__(self) -> None:
        self.random = random.Random(5)
        self.database_url = self.database_url or f"sqlite:///{self.folder / 'history.db'}"
        (self.folder / "train.py").write_text(SCRIPT)
        (self.folder / "ds.json").write_text(json.dumps(CONFIG))
        (self.folder / "space.yaml").write_text(self.space)

    @property
    def options(self) -> StudyOptions:
        return StudyOptions(
            command=("python", "train.py", "--deepspeed_config", "ds.json", *self.more),
            cwd=self.folder,
            database_url=self.database_url,
            space=self.folder / "space.yaml",
            trials=self.search_runs,
            seed=3,
            name="nightly",
            objective=self.objective or Objective.THROUGHPUT,
        )

    def begin(
        self,
        *,
        alive: bool = True,
        explore: bool = True,
        own_only: bool = False,
        owner: Owner | None = None,
        after_seconds: float = 60.0,
    ) -> Turn:
        """What the next run does; it is recorded as begun."""
        self.clock.sleep(after_seconds)
        owner = owner or Owner.current()
        if not alive:
            owner = replace(owner, started=f"{owner.started.rpartition('/')[0]}/1")
        asked = Asked(
            options=self.options,
            owner=owner,
            explore=explore,
            objective_given=self.objective is not None,
            own_only=own_only,
        )
        self.asked = asked_of_document(json.loads(json.dumps(asked.document())))
        turn = ask(self.asked, machine=self.machine, clock=self.clock)
        return turn_of_document(json.loads(json.dumps(turn.document())))

    def micro(self, turn: Turn) -> int:
        """The micro batch that a turn runs."""
        if turn.tokens is None:
            return micro_of(json.loads((self.folder / "ds.json").read_text()))
        return micro_of(json.loads(Path(turn.tokens[-1 - len(self.more)]).read_text()))

    def end(self, turn: Turn, fate: Fate = WELL) -> Recorded:
        """Run a turn to its end."""
        self.number += 1
        folder = self.folder / f"run-{self.number}"
        folder.mkdir()
        self._write_journal(folder, self.micro(turn), fate)
        assert turn.trial_id is not None
        ended = Ended(
            trial_id=turn.trial_id,
            is_own=turn.is_own,
            folder=str(folder),
            exit_status=fate.exit_status if fate.signal is None else None,
            signal=fate.signal,
            told=fate.told,
            seconds=60.0,
            on_terminal=fate.on_terminal,
            energy=self.energy(self.micro(turn)),
        )
        return record(ended, self.asked, machine=self.machine, clock=self.clock)

    def run(self, fate: Fate = WELL) -> tuple[Turn, Recorded | None]:
        """One run from its beginning to its end."""
        turn = self.begin(alive=not fate.flyball_killed)
        recorded = turn.trial_id is not None and not fate.flyball_killed
        return turn, self.end(turn, fate) if recorded else None

    def runs(self, number: int) -> list[int]:
        """So many runs that end well; their micro batches."""
        return [self.micro(self.run()[0]) for _ in range(number)]

    def _write_journal(self, folder: Path, micro: int, fate: Fate) -> None:
        total = CONFIG["train_batch_size"]
        assert isinstance(total, int)
        records: list[dict[str, Any]] = []
        if fate.raises is None or fate.steps:
            records.append(header(micro, total))
        rate = self.speed(micro) * self.random.gauss(1.0, self.noise)
        spent = 5.0
        for number in range(1, fate.steps + 1):
            seconds = total / rate * self.random.gauss(1.0, 0.02)
            spent += seconds
            records.append(step(number, seconds, micro, total) | {"at": spent})
        if fate.raises is not None:
            records.append({"kind": "exception", **fate.raises})
        lines = []
        for each in records:
            at = each.pop("at", spent)
            lines.append(json.dumps({**each, "time": 1e6 + at, "clock": at}) + "\n")
        (folder / "rank-0.jsonl").write_text("".join(lines))

    def trials(self, generation: int = 0) -> list[TrialRecord]:
        """The runs of a generation, the newest generation being 0."""
        with open_database(self.options.database_url) as database:
            history = History(database)
            return history.trials(history.generations("nightly")[generation].id)

    def outcomes(self) -> list[str | None]:
        """How each ended."""
        return [trial.outcome for trial in self.trials()]

    def recommendation(self) -> dict[str, Any]:
        path = self.folder / "flyball_results" / "nightly" / "recommendation.json"
        content: dict[str, Any] = json.loads(path.read_text())
        return content


def header(micro: int, total: int) -> dict[str, Any]:
    """A header record of one rank."""
    return {
        "kind": "header",
        "schema": 1,
        "rank": 0,
        "world_size": 1,
        "engine": 0,
        "engine_class": "DeepSpeedEngine",
        "device": "cpu",
        "host": "localhost",
        "pid": 0,
        "started": 0.0,
        "config": {**CONFIG, "train_micro_batch_size_per_gpu": micro},
        "micro_batch": micro,
        "accumulation": total // micro,
        "train_batch": total,
        "zero_stage": 2,
        "data_parallel_size": 1,
        "threads": 1,
        "versions": {},
        "parameters": 1000,
    }


def step(number: int, seconds: float, micro: int, total: int) -> dict[str, Any]:
    """A step record of that rank."""
    return {
        "kind": "step",
        "engine": 0,
        "step": number,
        "count": 1,
        "seconds": seconds,
        "samples": total,
        "tokens": total * 8,
        "forwards": total // micro,
        "skipped": 0,
        "loss": 1.0,
    }
