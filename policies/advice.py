"""Elastic batching: the batch size that fits a serving run's queue, held so that it does not flap."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flyball.collectors import catalog
from flyball.collectors.base import Sample


class BatchSizeSettings(BaseModel):
    """``advice: batch_size:`` in flyball.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    minimum: int = Field(default=32, ge=1, description="The least that is advised.")
    maximum: int = Field(default=256, ge=1, description="The most that is advised.")
    factor: float = Field(
        default=8.0, gt=0, allow_inf_nan=False, description="Batch size for each request that waits."
    )
    hold_seconds: float = Field(
        default=5.0,
        ge=0,
        allow_inf_nan=False,
        description="How long less must be enough before less is advised.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is above maximum {self.maximum}")
        return self


class AdviceSettings(BaseModel):
    """``advice:`` in flyball.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_size: BatchSizeSettings = Field(
        default_factory=BatchSizeSettings, description="Elastic batching of serving runs."
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """What one run is advised."""

    run: str
    batch_size: int
    queue_length: int
    """Requests that waited when it was last observed."""
    time: float
    """Of that observation, seconds since the epoch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """The batch size is what was asked for last. A smaller wish makes it a :class:`Holding`."""

    batch_size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """Less has been enough since then.

    A wish for as much or more makes it a :class:`Level` at once; after ``hold_seconds`` it falls to the
    greatest wish since then, and holds that anew if the last one was smaller.
    """

    batch_size: int
    since: float
    greatest: int
    """Of the smaller wishes since then."""


State = Level | Holding


def wanted_batch_size(queue_length: int, running: int | None, settings: BatchSizeSettings) -> int:
    """Return the rule's batch size for one moment: ``min(maximum, max(minimum, queue_length * factor))``.

    No less than what is running, where that is known: a cap below it would keep the last requests waiting
    until others end. ``maximum`` holds even then.
    """
    # Compared before it is made whole: the product may be larger than any integer type of a reader.
    asked = min(float(settings.maximum), queue_length * settings.factor)
    return min(settings.maximum, max(settings.minimum, int(asked), running or 0))


def follow(state: State | None, wanted: int, time: float, hold_seconds: float) -> State:
    """Return the state after a wish at ``time``."""
    if state is None or wanted >= state.batch_size:
        return Level(batch_size=wanted)
    if isinstance(state, Level) or time < state.since:
        # A clock that was set back begins the hold anew.
        state = Holding(batch_size=state.batch_size, since=time, greatest=wanted)
    greatest = max(state.greatest, wanted)
    if time - state.since < hold_seconds:
        return Holding(batch_size=state.batch_size, since=state.since, greatest=greatest)
    if wanted == greatest:
        return Level(batch_size=greatest)
    return Holding(batch_size=greatest, since=time, greatest=wanted)


class BatchSizeAdvisor:
    """Advises every serving run of this host. Not for several threads at once."""

    def __init__(self, settings: BatchSizeSettings) -> None:
        self._settings = settings
        self._states: dict[str, State] = {}
        self._observed: dict[str, tuple[int, float]] = {}

    def observe(self, time: float, run: str, queue_length: int, running: int | None = None) -> int:
        """Take in how long a run's queue is and return the batch size to use from now on.

        Args:
            time: seconds since the epoch.
            run: its name.
            queue_length: requests that wait.
            running: requests being answered; None where that is not known.
        """
        wanted = wanted_batch_size(queue_length, running, self._settings)
        state = follow(self._states.get(run), wanted, time, self._settings.hold_seconds)
        self._states[run], self._observed[run] = state, (queue_length, time)
        return state.batch_size

    def update(self, samples: Iterable[Sample], time: float) -> None:
        """Observe every run that has a ``queue_length`` among the samples, and forget all others.

        Of a run with several ranks the longest queue counts: each rank forms batches of its own.
        """
        queues: dict[str, int] = {}
        running: dict[str, int] = {}
        found = {catalog.QUEUE_LENGTH: queues, catalog.RUNNING_REQUESTS: running}
        for sample in samples:
            longest = found.get(sample.metric)
            if longest is not None and isinstance(sample.value, float):
                run = sample.label("run")
                longest[run] = max(longest.get(run, 0), int(sample.value))
        self.keep(queues)
        for run, queue_length in queues.items():
            self.observe(time, run, queue_length, running.get(run))

    def keep(self, runs: Collection[str]) -> None:
        """Forget every other run."""
        for run in self._states.keys() - set(runs):
            del self._states[run], self._observed[run]

    def advice(self) -> Mapping[str, int]:
        """Return the batch size by run."""
        return {run: state.batch_size for run, state in self._states.items()}

    def answers(self) -> tuple[Advice, ...]:
        """Return all of it, by the runs' names: what ``/api/v1/advice/batch_size`` answers."""
        return tuple(
            Advice(run=run, batch_size=state.batch_size, queue_length=length, time=time)
            for run, state in sorted(self._states.items())
            for length, time in [self._observed[run]]
        )

    def samples(self, time: float) -> list[Sample]:
        """Return it as the metric ``batch_size_advice``."""
        return [
            Sample(metric=catalog.BATCH_SIZE_ADVICE, labels=(run,), value=float(size), time=time)
            for run, size in sorted(self.advice().items())
        ]
