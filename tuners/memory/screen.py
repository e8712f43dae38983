"""Which points a study leaves out or puts off for want of memory, and how well memory was predicted."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from flyball.tuners.base import Configuration, TrialReport
from flyball.tuners.legality.context import Context
from flyball.tuners.memory.model import MemoryModel, Prediction
from flyball.tuners.memory.subject import Subject

GIB = 2**30
DOUBT_RATIO = 1.15
"""A point is put off where its prediction passes the limit by this: predictions are off by as much."""


@dataclass(kw_only=True)
class MemoryScreen:
    """Holds every point against one device's memory.

    Args:
        model: what the study knows.
        limit_ratio: nothing that reserves more of the device than this is recommended.
    """

    model: MemoryModel
    limit_ratio: float = 0.90
    rejected: dict[str, str] = field(default_factory=dict)
    """What was left out, in words, to the reason."""

    @classmethod
    def of(
        cls, context: Context, reports: Iterable[TrialReport] = (), limit_ratio: float = 0.90
    ) -> "MemoryScreen":
        """Return the screen of a study that has made some runs."""
        screen = cls(model=MemoryModel(context=context), limit_ratio=limit_ratio)
        for report in reports:
            screen.learn(report)
        return screen

    @property
    def device_bytes(self) -> int | None:
        """The memory of one accelerator; None where there is none or it is not known."""
        context = self.model.context
        return None if context.device == "cpu" else context.device_memory_bytes

    def learn(self, report: TrialReport) -> None:
        """Take in what a run needed."""
        self.model.learn(report.configuration, report.measurement)

    def cannot_fit(self, configuration: Configuration, *, called: str = "") -> str | None:
        """Return why a configuration certainly runs out of device memory, or None where it may fit.

        Args:
            called: what the point is called in ``rejected``.
        """
        have = self.device_bytes
        subject = Subject.of(configuration, self.model.context) if have else None
        need = self.model.least_bytes(subject) if subject else None
        if have is None or need is None or need <= have:
            return None
        reason = f"needs at least {need / GIB:.1f} GiB of {have / GIB:.1f} GiB a device"
        if called:
            self.rejected[called] = reason
        return reason

    def is_doubtful(self, configuration: Configuration) -> bool:
        """Whether a configuration most likely passes the limit by so much that others go first."""
        have, predicted = self.device_bytes, self.predict(configuration)
        if have is None or predicted is None:
            return False
        return predicted.reserved_bytes > DOUBT_RATIO * self.limit_ratio * have

    def predict(self, configuration: Configuration) -> Prediction | None:
        """Return what a configuration most likely needs, as far as the runs so far tell."""
        subject = Subject.of(configuration, self.model.context)
        return self.model.predict(subject) if subject else None

    def notes(self) -> tuple[str, ...]:
        """What was left out and why, in one line; nothing where nothing was."""
        if not self.rejected:
            return ()
        name, reason = next(iter(self.rejected.items()))
        count = len(self.rejected)
        said = f"{count} points were" if count > 1 else "1 point was"
        return (f"{said} not tried, as they cannot fit: {name} {reason}",)


def prediction_errors(context: Context, reports: Iterable[TrialReport]) -> list[float]:
    """Return the relative error of each configuration's reserved peak, as predicted before its first run.

    Args:
        context: the job, with what its first run showed.
        reports: in the order they were made.
    """
    screen = MemoryScreen.of(context)
    errors: dict[str, float] = {}
    for report in reports:
        run, digest = report.measurement, report.configuration.digest
        predicted = screen.predict(report.configuration)
        if run and run.peak_reserved_bytes and run.peak_allocated_bytes and predicted:
            errors.setdefault(digest, predicted.reserved_bytes / run.peak_reserved_bytes - 1)
        screen.learn(report)
    return list(errors.values())


def error_note(context: Context, reports: Iterable[TrialReport]) -> tuple[str, ...]:
    """Say how well the peaks of a study's runs were predicted; nothing where none was."""
    errors = prediction_errors(context, reports)
    if not errors:
        return ()
    typical, worst = median(map(abs, errors)), max(errors, key=abs)
    over = (
        f"median of {len(errors)} configurations, worst {worst:+.0%}"
        if len(errors) > 1
        else "1 configuration"
    )
    return (f"reserved memory was predicted from earlier runs within {typical:.0%} ({over})",)
