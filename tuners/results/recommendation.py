"""The recommendation: what to use, what it gains, why, and what that rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from flyball.tuners.base import Configuration, Interval, Measurement
from flyball.tuners.explaining.explanation import Explanation
from flyball.tuners.objective import Objective
from flyball.tuners.search.drift_report import DriftReport
from flyball.tuners.search.suggestions import LeadingAlert
from flyball.tuners.verification.loss_guard import Guard, LossVerdict
from flyball.tuners.verification.plan import Rules
from flyball.tuners.verification.verification import Decision, VerificationResult

MEMORY_LIMIT_RATIO = 0.90

Known = TypeVar("Known")


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One key in which the recommended differs from the user's own."""

    place: str
    """``ds_config``, ``arguments``, ``environment`` or ``probe``."""
    path: str
    """Key path (``zero_optimization.stage``), option, variable or probe knob."""
    before: Any
    """None where the user's own has no such key."""
    after: Any
    """None where the recommended has no such key."""
    reason: str
    alert: str | None = None
    """The rule whose alert suggested it, where one did."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One of the two configurations with what fresh runs of it did."""

    configuration: Configuration
    measurement: Measurement | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirmation:
    """The winner run once more by the user's own cold command, beside the user's own configuration."""

    baseline: Interval
    """By what the study compares; more is better."""
    recommended: Interval

    @property
    def ratio(self) -> float:
        """Return recommended over baseline."""
        return self.recommended.point / self.baseline.point


@dataclass(frozen=True, kw_only=True, slots=True)
class Recommendation:
    """Everything that ``recommendation.json`` says."""

    experiment: str
    verdict: Decision
    reasons: tuple[str, ...]
    baseline: Side
    recommended: Side
    """The same as the baseline on ``keep``."""
    changes: tuple[Change, ...]
    speedup: Interval | None
    """Of the whole command: JSON, arguments, environment and probe knobs."""
    speedup_json: Interval | None
    """Of the DeepSpeed JSON alone."""
    verification: VerificationResult | None
    rules: Rules
    memory_limit_ratio: float = MEMORY_LIMIT_RATIO
    loss: LossVerdict | None = None
    """None where nothing changes numerics."""
    confirmation: Confirmation | None = None
    trials: Mapping[str, int] = field(default_factory=dict)
    """Runs by outcome."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Time spent by phase."""
    notes: tuple[str, ...] = ()
    objective: Objective = Objective.THROUGHPUT
    """What ``speedup`` is a ratio of; see ``tuners.objective``."""
    throughput_ratio: Interval | None = None
    """The recommended's samples a second over the baseline's, where something else was compared."""
    alerts: tuple[LeadingAlert, ...] = ()
    """That fired in the user's own run or asked for the study: they said where to look first."""
    explanation: Explanation | None = None
    """None for a study over production runs."""
    drift: DriftReport | None = None
    """Of the machine, over the search; None where nothing was searched."""


MISSING: Any = object()


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of a nested mapping by key path; an empty mapping is a leaf."""
    leaves: dict[str, Any] = {}
    for key, value in mapping.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            leaves.update(flatten(value, f"{path}."))
        else:
            leaves[path] = value
    return leaves


def changes(
    before: Configuration,
    after: Configuration,
    reasons: Mapping[str, str],
    alerts: Mapping[str, LeadingAlert] = MappingProxyType({}),
) -> tuple[Change, ...]:
    """Return every key in which two configurations differ, with its reason.

    Args:
        before: the user's own.
        after: the recommended.
        reasons: by key path, option, variable or probe knob; a reason for a path holds for all below it.
        alerts: that suggested a change, by the same.
    """
    found = []
    for place in ("ds_config", "arguments", "environment", "probe"):
        old, new = flatten(getattr(before, place)), flatten(getattr(after, place))
        for path in sorted(old.keys() | new.keys()):
            if old.get(path, MISSING) != new.get(path, MISSING):
                reason, alert = reason_of(path, reasons), nearest(path, alerts)
                found.append(
                    Change(
                        place=place,
                        path=path,
                        before=old.get(path),
                        after=new.get(path),
                        reason=f"{alert.told}: {reason}" if alert else reason,
                        alert=alert.alert.rule if alert else None,
                    )
                )
    return tuple(found)


def reason_of(path: str, reasons: Mapping[str, str]) -> str:
    """Return the reason given for a path or for the nearest path above it."""
    return nearest(path, reasons) or "follows from the other changes"


def nearest(path: str, known: Mapping[str, Known]) -> Known | None:
    """Return what is known of a path or of the nearest path above it."""
    parts = path.split(".")
    above = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((known[each] for each in above if each in known), None)


def objection(
    measurements: Sequence[Measurement],
    *,
    memory_limit_ratio: float = MEMORY_LIMIT_RATIO,
    idle_knobs: Sequence[str] = (),
    changes_numerics: bool = False,
    loss: LossVerdict | None = None,
    too_slow: str | None = None,
) -> str | None:
    """Return why a configuration must not be recommended however fast it is, or None.

    Args:
        measurements: its fresh runs.
        memory_limit_ratio: of the device's memory, which no run may have passed.
        idle_knobs: knobs whose witness showed no effect.
        changes_numerics: whether any of its knobs does.
        loss: the loss guard's verdict; needed where numerics change, heeded wherever it is clear.
        too_slow: what ``throughput_guard`` has against it.
    """
    for run in measurements:
        share = memory_share(run)
        if share is not None and share > memory_limit_ratio:
            return f"it reserved {share:.0%} of the device, more than the limit of {memory_limit_ratio:.0%}"
    if too_slow is not None:
        return too_slow
    if idle_knobs:
        return f"no effect of {', '.join(sorted(idle_knobs))} was seen"
    if changes_numerics and (loss is None or loss.guard is not Guard.PASSED):
        said = loss.reason if loss else "its loss was not judged"
        return f"it changes numerics and the loss guard did not pass: {said}"
    if loss is not None and loss.costs_loss:
        # A micro batch of another size is another thing to a batch norm or to in-batch negatives.
        return f"it costs loss, at least {loss.excess_least:+.2%}: {loss.reason}"
    return None


def memory_share(run: Measurement) -> float | None:
    """Return the peak reserved over the device's memory, or None where either is unknown."""
    if run.peak_reserved_bytes is None or not run.device_memory_bytes:
        return None
    return run.peak_reserved_bytes / run.device_memory_bytes
