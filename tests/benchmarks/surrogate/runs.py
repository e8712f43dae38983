"""Runs that take no time: a surface says how fast a configuration is, a replay how noisy the run was.

The rule that ends a run and the measurement of what it wrote are flyball's own.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.surrogate.jobs import SimulatedJob
from tests.benchmarks.surrogate.noise import Replay

from flyball.collectors.journal import RankJournal
from flyball.runner.base import Limits
from flyball.runner.outcome import Outcome, OutcomeKind
from flyball.tuners.base import Assignment, Measurement, Phase, TrialReport
from flyball.tuners.measurement.measurement import measure
from flyball.tuners.measurement.stopping import PrecisionRule
from flyball.tuners.trials.trial_runner import Run

POLL_SECONDS = 1.0
"""How often the supervisor looks at the journals of a run."""
COMPILE_SECONDS, COMPILED_BEFORE_SECONDS = 22.0, 8.0
"""What a compiled run of the recorded GPU job took longer to start; less where its like ran before."""
COLD_SECONDS = 9.0
"""What a cold start takes longer than one from a fork server."""
FAILED_SECONDS = 1.0

TrueSpeed = Callable[[Assignment], float | None]
"""Samples a second at a point, or None where it runs out of memory."""

Pace = Callable[[float], float]
"""The machine's own speed at a second of the study, over that at its beginning."""


def steady(seconds: float) -> float:
    """Return the speed of a machine that keeps it."""
    return 1.0


@dataclass
class SimulatedClock:
    """Moves only when a run takes time."""

    now: float = 0.0

    def time(self) -> float:
        """Return the time."""
        return self.now

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@dataclass(kw_only=True)
class SimulatedRunner:
    """Stands in for ``TrialRunner``: the same questions, answered from a surface."""

    job: SimulatedJob
    complete: Callable[[Assignment], Assignment]
    """The point of the space that an assignment stands for."""
    speed: TrueSpeed
    replay: Replay
    clock: SimulatedClock
    pace: Pace = steady
    fixed_length: bool = False
    """Measure every run for the longest time: no race, no precision that is enough."""
    header: Mapping[str, Any] | None = None
    engine: int = 0
    device_memory_bytes: int | None = None
    substitute: bool = False
    limits: Limits = field(default_factory=Limits)
    _compiled: set[int] = field(default_factory=set)
    """Micro batches that were compiled for."""

    def run(self, wanted: Run) -> TrialReport:
        """Make one run."""
        self.header = self.job.header()
        startup, factors = self.replay.next_run()
        cold = wanted.cold or wanted.phase is Phase.BASELINE
        startup += COLD_SECONDS if cold else 0.0
        startup += self._compiling(wanted) if wanted.configuration.probe.get("compile") else 0.0
        speed = self.speed(self.complete(wanted.configuration.assignment))
        if speed is None:
            outcome = Outcome(kind=OutcomeKind.OUT_OF_MEMORY, reason="out of memory")
            return self._report(wanted, outcome, None, startup, FAILED_SECONDS)
        measured, seconds = self._measure(wanted, speed, factors, began=self.clock.now + startup)
        return self._report(
            wanted, Outcome(kind=OutcomeKind.COMPLETED, reason="measured"), measured, startup, seconds
        )

    def _compiling(self, wanted: Run) -> float:
        shape = int(wanted.configuration.ds_config["train_micro_batch_size_per_gpu"])
        if shape in self._compiled:
            return COMPILED_BEFORE_SECONDS
        self._compiled.add(shape)
        return COMPILE_SECONDS

    def _measure(
        self, wanted: Run, speed: float, factors: Any, *, began: float
    ) -> tuple[Measurement | None, float]:
        batch = int(self.job.config["train_batch_size"])
        rule = PrecisionRule(precision=wanted.precision, incumbent_low=wanted.incumbent_low)
        journal = RankJournal(path=Path("rank-0.jsonl"), records=[self._header(wanted)])
        spent, next_look, step = 0.0, POLL_SECONDS, 0
        while step < wanted.precision.max_steps:
            # A record's steady steps go round; its first one is slow once.
            place = step if step < len(factors) else 1 + (step - 1) % (len(factors) - 1)
            seconds = batch / (speed * self.pace(began + spent)) * float(factors[place])
            spent += seconds
            step += 1
            journal.records.append(self._step(wanted, step, spent, batch, seconds))
            if step == 1:
                journal.records.extend(self._witnesses(wanted, spent))
            if spent >= next_look:
                next_look = spent + POLL_SECONDS
                if self._ends(rule, journal, wanted, spent, step):
                    break
        measured = measure({0: journal})
        return (measured if isinstance(measured, Measurement) else None), spent

    def _ends(self, rule: PrecisionRule, journal: RankJournal, wanted: Run, spent: float, step: int) -> bool:
        if self.fixed_length and wanted.phase is Phase.SEARCH:
            return spent >= wanted.precision.max_seconds and step >= wanted.precision.min_steps + 2
        return rule({0: journal}) is not None

    def _header(self, wanted: Run) -> dict[str, Any]:
        micro = wanted.configuration.ds_config["train_micro_batch_size_per_gpu"]
        return {**self.job.header(), "world_size": 1, "data_parallel_size": 1, "micro_batch": micro}

    def _step(self, wanted: Run, step: int, clock: float, batch: int, seconds: float) -> dict[str, Any]:
        micro = int(wanted.configuration.ds_config["train_micro_batch_size_per_gpu"])
        fed = {"samples": batch, "tokens": batch, "forwards": batch // micro}
        return {"kind": "step", "step": step, "seconds": seconds, "clock": clock, **fed}

    def _witnesses(self, wanted: Run, clock: float) -> list[dict[str, Any]]:
        shown = {"compile": {"graphs": 1}, "activation_checkpointing": {"layers": 12}}
        return [
            {"kind": "witness", "knob": knob, "clock": clock, "value": shown[knob]}
            for knob, value in wanted.configuration.probe.items()
            if value and knob in shown
        ]

    def _report(
        self, wanted: Run, outcome: Outcome, measured: Measurement | None, startup: float, seconds: float
    ) -> TrialReport:
        total = startup + seconds
        if not math.isfinite(total):
            raise ValueError("a run of a simulated study has no end")
        self.clock.sleep(total)
        return TrialReport(
            number=wanted.number,
            phase=wanted.phase,
            configuration=wanted.configuration,
            outcome=outcome,
            measurement=measured,
            launcher="cold" if wanted.cold or wanted.phase is Phase.BASELINE else "warm",
            startup_seconds=startup,
            total_seconds=total,
        )
