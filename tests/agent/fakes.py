"""Studies that need no DeepSpeed: they tell their observer what a real one would."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flyball.runner.outcome import Outcome, OutcomeKind
from flyball.tuners.base import (
    Configuration,
    Interval,
    Measurement,
    Phase,
    StudyObserver,
    TrialReport,
    Value,
)
from flyball.tuners.interruption import Interruption
from flyball.tuners.objective import Objective
from flyball.tuners.options import StudyOptions, StudyResult, nothing


@dataclass
class FakeClock:
    """A clock that moves only when told to."""

    now: float = 1_000_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def trial_report(
    number: int,
    *,
    rate: float | None = 100.0,
    phase: Phase = Phase.SEARCH,
    kind: OutcomeKind = OutcomeKind.COMPLETED,
    reason: str = "measured well enough",
    assignment: Mapping[str, Value] | None = None,
    notes: tuple[str, ...] = (),
    samples_per_joule: float | None = None,
) -> TrialReport:
    """A finished run; without a rate it has no measurement. Of a study for energy, with samples a joule."""
    frugal = samples_per_joule
    measurement = rate and Measurement(
        samples_per_second=Interval(point=rate, low=rate * 0.97, high=rate * 1.03),
        tokens_per_second=rate * 128,
        steps=40,
        warmup_steps=5,
        seconds=4.0,
        samples_per_joule=(frugal and Interval(point=frugal, low=frugal * 0.97, high=frugal * 1.03)) or None,
        objective=Objective.ENERGY if frugal else Objective.THROUGHPUT,
    )
    return TrialReport(
        number=number,
        phase=phase,
        configuration=Configuration(assignment=assignment or {}, ds_config={"train_batch_size": 8}),
        outcome=Outcome(kind=kind, reason=reason),
        measurement=measurement or None,
        launcher="warm",
        startup_seconds=1.5,
        total_seconds=6.25,
        notes=notes,
    )


@dataclass
class FakeStudy:
    """Stands in for ``run_study``: records what it was given, plays ``script``, then returns or raises."""

    verdict: str | None = "recommended"
    summary: str = "verdict: recommended"
    raises: BaseException | None = None
    script: Callable[[StudyObserver, Interruption], None] = lambda observer, interruption: None
    seen: list[StudyOptions] = field(default_factory=list)

    def __call__(
        self,
        options: StudyOptions,
        *,
        observer: StudyObserver,
        interruption: Interruption,
        begin: Callable[[], None] = nothing,
    ) -> StudyResult:
        if not options.dry_run:
            begin()
        self.seen.append(options)
        self.script(observer, interruption)
        if self.raises is not None:
            raise self.raises
        folder = options.output or options.cwd
        folder.mkdir(parents=True, exist_ok=True)
        if self.verdict is not None:
            text = json.dumps({"verdict": self.verdict})
            (folder / "recommendation.json").write_text(text, encoding="utf-8")
        return StudyResult(verdict=self.verdict, output_directory=folder, summary=self.summary)


HOSTILE = "[bold red]big[/] \x1b[31m\x1b]0;title\x07 \u202egnp.exe\n second line"


def play_long_study(observer: StudyObserver, pause: Callable[[float], None] = time.sleep) -> None:
    """A study of every kind of outcome, with long values and hostile names, to look at in a terminal."""
    observer.study_started("deepseek-v3-tiny", Path("/tmp/flyball_results/deepseek-v3-tiny"), 600.0)
    observer.note("forecast: 24 trials of about 6 s, verification 90 s, within the budget of 10m00s")
    changes: list[Mapping[str, Value]] = [
        {},
        {"micro_batch": 8, "zero_stage": 1},
        {"micro_batch": 64, "zero_stage": 0, "fused_optimizer": True},
        {"micro_batch": 16, "zero_stage": 2, "reduce_bucket_size": 50_000_000, "overlap_communication": True},
        {"name": HOSTILE, HOSTILE: 3.0e-7},
        {"a_knob_with_a_very_long_name_that_nobody_would_write": "x" * 300},
    ]
    kinds = [OutcomeKind.COMPLETED, *OutcomeKind]
    for number in range(14):
        phase = Phase.BASELINE if number == 0 else Phase.SEARCH if number < 11 else Phase.VERIFICATION
        kind = kinds[number % len(kinds)] if number not in (0, 1, 11, 12, 13) else OutcomeKind.COMPLETED
        change = changes[number % len(changes)]
        observer.time_left(400.0 - 25 * number)
        observer.trial_started(number, phase, change)
        for step in range(0, 50, 10):
            pause(0.1)
            observer.trial_progress(number, step, 120.0 + step if step else None)
        rate = 127.8 + 7 * number if kind is OutcomeKind.COMPLETED else None
        reason = HOSTILE if number == 5 else f"{kind.value} on rank 1: last words of the trial"
        notes = (f"cold launch: {HOSTILE}",) if number in (3, 4) else ()
        report = trial_report(
            number, rate=rate, phase=phase, kind=kind, reason=reason, assignment=change, notes=notes
        )
        observer.trial_finished(report, best=rate is not None)
