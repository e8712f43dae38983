"""Progress where there is no terminal: one line an event, flushed, always the same shape."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from flyball.agent.durations import format_duration
from flyball.agent.text import clean, describe_changes, describe_rate
from flyball.clock import Clock, SystemClock
from flyball.tuners.base import Phase, TrialReport, Value
from flyball.tuners.objective import Objective, figure


class PlainDisplay:
    """A StudyObserver that writes ``flyball <elapsed> <event> ...`` lines.

    A stream that breaks (``| head``, a closed terminal) silences the display and never ends the study.
    """

    def __init__(self, stream: TextIO, *, clock: Clock | None = None, progress_seconds: float = 30.0) -> None:
        self._stream = stream
        self._clock = clock or SystemClock()
        self._progress_seconds = progress_seconds
        self._start = self._last_progress = self._clock.monotonic()
        self._last_left: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to put back: plain lines leave the terminal as it was."""

    def study_started(self, name: str, output_directory: Path, budget_seconds: float | None) -> None:
        """Say which experiment this is and where its results go."""
        budget = f" budget={format_duration(budget_seconds)}" if budget_seconds is not None else ""
        self._line("study", f"{clean(name)} output={clean(str(output_directory))}{budget}")

    def note(self, text: str) -> None:
        """Write the user's line."""
        self._line("note", clean(text))

    def trial_started(self, number: int, phase: Phase, changes: Mapping[str, Value]) -> None:
        """Write what is about to run."""
        self._last_progress = self._clock.monotonic()
        self._line("start", f"trial={number} phase={phase.value} {describe_changes(changes)}")

    def trial_progress(self, number: int, steps: int, samples_per_second: float | None) -> None:
        """Write a sign of life, at most one every ``progress_seconds``."""
        now = self._clock.monotonic()
        if now - self._last_progress >= self._progress_seconds:
            self._last_progress = now
            self._line("progress", f"trial={number} steps={steps} rate={describe_rate(samples_per_second)}")

    def trial_finished(self, report: TrialReport, *, best: bool) -> None:
        """Write how a run ended: its rate with the interval, or the reason."""
        head = f"trial={report.number} phase={report.phase.value} outcome={report.outcome.kind.value}"
        seconds = f"seconds={report.total_seconds:.1f}"
        self._line("finish", " ".join(filter(None, [head, seconds, *_ending(report), "best" * best])))
        for text in report.notes:
            self._line("note", f"trial={report.number} {clean(text)}")

    def time_left(self, seconds: float | None) -> None:
        """Write what is left, when it reads otherwise than the last time."""
        text = "unknown" if seconds is None else format_duration(round(seconds / 30) * 30)
        if text != self._last_left:
            self._last_left = text
            self._line("left", text)

    def _line(self, event: str, text: str) -> None:
        elapsed = format_duration(self._clock.monotonic() - self._start)
        with suppress(OSError, ValueError):
            self._stream.write(f"flyball {elapsed:>6} {event:<8} {text}\n")
            self._stream.flush()


def _ending(report: TrialReport) -> list[str]:
    if report.measurement is None:
        return [f"reason={clean(report.outcome.reason)}"]
    run, shown = report.measurement, report.measurement.value
    interval = f"low={figure(shown.low)} high={figure(shown.high)}"
    steps, rate = f"steps={run.steps}", f"rate={figure(run.samples_per_second.point)}"
    if run.objective is Objective.THROUGHPUT:
        return [rate, interval, steps]
    return [f"{run.objective}={figure(shown.point)}", interval, rate, steps]
