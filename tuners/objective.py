"""What a study makes better: the one place that knows an objective's unit, direction and words.

Every part of a study compares runs by their *merit*, of which more is always better, and by ratios of it: a
speed-up of 1.10 is ten percent more of it. What a user reads is the objective's *value*, in its own unit,
which for two of the three is one over the merit.

| objective | value | merit |
|---|---|---|
| throughput | samples a second | the same |
| latency | seconds an optimizer step, at the user's global batch | optimizer steps a second |
| energy | joules a sample, of all the job's GPUs | samples a joule |
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from flyball.errors import BaselineFailed, OptionError

if TYPE_CHECKING:
    from flyball.tuners.base import Interval, Measurement

LEAST_THROUGHPUT_RATIO = 0.80
"""Of the user's own throughput: what trains slower is not recommended for the energy that it saves."""
ENERGY_MEND = "give the job GPUs of its own whose energy NVML lets you read, or choose another --objective"


class Objective(StrEnum):
    """What a study makes better, each under the memory limit."""

    THROUGHPUT = "throughput"
    LATENCY = "latency"
    ENERGY = "energy"

    @property
    def terms(self) -> "Terms":
        """Unit, direction and words."""
        return _TERMS[self]

    def merit(self, run: "Measurement") -> "Interval | None":
        """Return what is compared, with its interval in this one run; more is better. None: not measured."""
        found: Interval | None = getattr(run, self.terms.merit_field)
        return found

    def of_merit(self, merit: "Interval") -> "Interval":
        """Return a merit in the objective's own unit."""
        return merit if self.terms.larger_is_better else merit.inverse()

    def document(self) -> dict[str, Any]:
        """Return what ``recommendation.json`` says of it."""
        terms = self.terms
        return {
            "name": str(self),
            "unit": terms.unit,
            "larger_is_better": terms.larger_is_better,
            "compared": terms.merit_unit,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """How an objective is spoken of."""

    unit: str
    """Of its value."""
    merit_unit: str
    """Of what is compared."""
    larger_is_better: bool
    """Of its value; of a merit, always."""
    better: str
    """What a configuration is that does better."""
    worse: str
    """What one is that does worse."""
    quantity: str
    """What of a run it is about."""
    merit_field: str
    """Of a ``Measurement``, which holds the merit."""
    least_seconds: float = 0.0
    """Of stepping that a run needs for it, whatever precision says."""


_TERMS = {
    Objective.THROUGHPUT: Terms(
        unit="samples/s",
        merit_unit="samples/s",
        larger_is_better=True,
        better="faster",
        worse="slower",
        quantity="speed",
        merit_field="samples_per_second",
    ),
    Objective.LATENCY: Terms(
        unit="s/step",
        merit_unit="steps/s",
        larger_is_better=False,
        better="faster",
        worse="slower",
        quantity="speed",
        merit_field="steps_per_second",
    ),
    # The recorder reads the counter twice a second: over so long, where it reads matters little.
    Objective.ENERGY: Terms(
        unit="J/sample",
        merit_unit="samples/J",
        larger_is_better=False,
        better="more energy-efficient",
        worse="less energy-efficient",
        quantity="energy efficiency",
        merit_field="samples_per_joule",
        least_seconds=5.0,
    ),
}


def refuse_unmeasurable(objective: Objective, *, device: str, allow_global_batch: bool) -> None:
    """Refuse an objective that the job cannot be tuned for, before anything runs.

    Args:
        objective: that was asked for.
        device: ``cpu`` or ``cuda``.
        allow_global_batch: whether the global batch may change.

    Raises:
        OptionError: energy on the CPU, or latency with a global batch that is not fixed.
    """
    if objective is Objective.ENERGY and device != "cuda":
        raise OptionError(
            "energy cannot be measured: the job has no NVIDIA GPU here",
            where="--objective",
            mend="choose throughput or latency, or run it where there is one",
        )
    if objective is Objective.LATENCY and allow_global_batch:
        raise OptionError(
            "seconds a step compare only at one global batch",
            where="--objective",
            mend="leave out --allow-global-batch, or choose throughput",
        )


def no_energy(reason: str, *, where: str) -> BaselineFailed:
    """Return the error of a study whose first run told no joules."""
    return BaselineFailed(
        f"the energy of your own command was not measured: {reason}", where=where, mend=ENERGY_MEND
    )


def figure(value: float) -> str:
    """Return a value for people: four significant digits, from a thousand on all before the point."""
    return f"{value:,.0f}" if abs(value) >= 999.95 else f"{value:.4g}"
