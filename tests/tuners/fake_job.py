"""A job without processes: a launcher that writes the journals which a workload of a given speed would."""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flyball.collectors.journal import RankJournal
from flyball.runner.base import StopRule, TrialRequest, TrialResult
from flyball.runner.outcome import Outcome, OutcomeKind
from flyball.tuners.base import Phase, TrialReport, Value

RANKS = 2
Speed = Callable[[Mapping[str, Any], Mapping[str, str]], float | OutcomeKind]
"""Samples a second for a config and an environment, or how such a run fails."""


@dataclass
class FakeClock:
    """Moves only when a run takes time."""

    now: float = 1_000_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class FakeHandle:
    """One run, written step by step until the rule is content."""

    launcher: "FakeLauncher"
    request: TrialRequest
    killed: str | None = None

    def kill(self, reason: str) -> None:
        self.killed = reason

    def wait(self, stop: StopRule) -> TrialResult:
        speed = self.launcher.speed(self.request.ds_config, self.request.environment)
        if isinstance(speed, OutcomeKind):
            return self._result(Outcome(kind=speed, reason=f"it ended as {speed}"), {}, 1.0)
        journals = self._journals()
        seconds = self._steps(journals, speed * self.launcher.luck(), stop)
        kind = OutcomeKind.INTERRUPTED if self.killed else OutcomeKind.COMPLETED
        return self._result(Outcome(kind=kind, reason=self.killed or "measured"), journals, seconds)

    def _result(self, outcome: Outcome, journals: Mapping[int, RankJournal], seconds: float) -> TrialResult:
        startup = self.launcher.startup(self.request.ds_config)
        self.launcher.clock.sleep(startup + seconds)
        return TrialResult(
            outcome=outcome,
            journals=journals,
            launcher=self.launcher.name,
            startup_seconds=startup,
            total_seconds=startup + seconds,
        )

    def _journals(self) -> dict[int, RankJournal]:
        journals = {}
        for rank in range(RANKS):
            path = self.request.directory / f"rank-{rank}.jsonl"
            idle = [{**self._header(rank), "engine": number} for number in range(self.launcher.engine)]
            path.write_text("".join(json.dumps(header) + "\n" for header in (*idle, self._header(rank))))
            journals[rank] = RankJournal(path=path)
        return journals

    def _header(self, rank: int) -> dict[str, Any]:
        config = self.request.ds_config
        micro = config["train_micro_batch_size_per_gpu"]
        total = config["train_batch_size"]
        return {
            "kind": "header",
            "schema": 1,
            "time": 0.0,
            "clock": 0.0,
            "rank": rank,
            "world_size": RANKS,
            "engine": self.launcher.engine,
            "engine_class": "DeepSpeedEngine",
            "device": self.launcher.device,
            "host": "localhost",
            "config": dict(config),
            "micro_batch": micro,
            "accumulation": total // micro // RANKS,
            "train_batch": total,
            "zero_stage": config.get("zero_optimization", {}).get("stage", 0),
            "data_parallel_size": RANKS,
            "threads": 1,
            "versions": {},
            **self.launcher.facts,
        }

    def _steps(self, journals: dict[int, RankJournal], rate: float, stop: StopRule) -> float:
        config = self.request.ds_config
        total, micro = config["train_batch_size"], config["train_micro_batch_size_per_gpu"]
        memory = self.launcher.memory(config, self.request.environment)
        spent = 0.0
        for step in range(1, 400):
            seconds = total / rate * self.launcher.random.gauss(1.0, 0.02)
            spent += seconds
            for journal in journals.values():
                record = {
                    "kind": "step",
                    "time": spent,
                    "clock": spent,
                    "engine": self.launcher.engine,
                    "step": step,
                    "count": 1,
                    "seconds": seconds,
                    "samples": total // RANKS,
                    "tokens": total // RANKS * 8,
                    "forwards": total // RANKS // micro,
                    "skipped": 0,
                    "loss": 5.0 / (step * total) ** 0.1 if self.launcher.tells_losses else None,
                    **({"memory": dict(memory)} if memory else {}),
                }
                told = {"kind": "startup", "clock": spent, "seconds": dict(self.launcher.startup_parts)}
                acted = self.launcher.witness(self.request.environment) if step == 3 else {}
                if acted:
                    saw = {**record, "kind": "witness", **acted}
                    journal.path.write_text(journal.path.read_text() + json.dumps(saw) + "\n")
                with journal.path.open("a") as file:
                    file.write(json.dumps(record) + "\n")
                    if step == 1 and self.launcher.startup_parts:
                        file.write(json.dumps(told) + "\n")
                journal.refresh()
            if self.killed or stop(journals):
                break
            if self.launcher.on_step:
                self.launcher.on_step(self, step)
        return spent


@dataclass
class FakeLauncher:
    """Runs take no real time; the clock says how long they took."""

    speed: Speed
    clock: FakeClock
    name: str = "warm"
    seed: int = 0
    run_noise: float = 0.01
    requests: list[TrialRequest] = field(default_factory=list)
    on_step: Callable[[FakeHandle, int], None] | None = None
    startup: Callable[[Mapping[str, Any]], float] = lambda config: 1.0
    """Seconds before the first step."""
    startup_parts: Mapping[str, float] = field(default_factory=dict)
    """What the journal tells of the seconds before the first step; none: nothing."""
    engine: int = 0
    """The engine that trains; those before it make no step."""
    tells_losses: bool = True
    device: str = "cpu"
    memory: Callable[[Mapping[str, Any], Mapping[str, str]], Mapping[str, Any]] = lambda *applied: {}
    """What every step tells of the allocator, for a config and an environment."""
    facts: Mapping[str, Any] = field(default_factory=lambda: {"parameters": 1000})
    """What the header tells of the model."""
    witness: Callable[[Mapping[str, str]], Mapping[str, Any]] = lambda environment: {}
    """Knob and value of the witness that a run with an environment writes, where it writes one."""
    closed: bool = False

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def luck(self) -> float:
        """One run's own factor."""
        return self.random.gauss(1.0, self.run_noise)

    def launch(self, request: TrialRequest) -> FakeHandle:
        self.requests.append(request)
        return FakeHandle(self, request)

    def close(self) -> None:
        self.closed = True


@dataclass
class RecordingObserver:
    """Keeps what a study says."""

    notes: list[str] = field(default_factory=list)
    finished: list[TrialReport] = field(default_factory=list)

    def study_started(self, name: str, output_directory: Path, budget_seconds: float | None) -> None:
        self.notes.append(f"started {name}")

    def note(self, text: str) -> None:
        self.notes.append(text)

    def trial_started(self, number: int, phase: Phase, changes: Mapping[str, Value]) -> None:
        pass

    def trial_progress(self, number: int, steps: int, samples_per_second: float | None) -> None:
        pass

    def trial_finished(self, report: TrialReport, *, best: bool) -> None:
        self.finished.append(report)

    def time_left(self, seconds: float | None) -> None:
        pass
