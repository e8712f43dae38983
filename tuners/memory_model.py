"""How much of a device's memory a configuration needs: at least, and most likely.

What lies there beside the activations is counted (``memory_moments``). Activations are learned from the peaks
of runs that were made, from the first one on: they grow with the micro batch, and how checkpointing and the
number format change them follows from the model's layers until a run has shown it. What remains between
prediction and peak is corrected for each family, the combinations of structure that DeepSpeed handles alike.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

from flyball.tuners.base import Configuration, Measurement
from flyball.tuners.context import Context, resolve_batch
from flyball.tuners.memory_activations import Activations, Kind, Seen, fit, transferred
from flyball.tuners.memory_moments import Moments, moments
from flyball.tuners.shape import MAX_STAGE, accumulates_in_fp32, offloads, precision, stage_of

RESERVED_RATIO = 1.06
"""Reserved over allocated, before a run has shown it: what lies unused between tensors."""
SURE_SHARE = 0.9
"""The share of a measured growth that is taken for certain: batches are not all of one length."""
SURPLUS_RATIO, SURPLUS_BYTES = 1.1, 256 * 2**20
"""What may lie on a device within a step beside the activations, and was not counted."""


class Family(NamedTuple):
    """The structure of a configuration: what DeepSpeed and torch handle alike."""

    stage: int
    precision: str
    fp32_accumulation: bool
    offloads: tuple[bool, bool]
    """Of the optimizer, of the parameters."""
    kind: Kind


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A configuration as far as memory is concerned."""

    config: Mapping[str, Any]
    micro_batch: int
    kind: Kind

    @classmethod
    def of(cls, configuration: Configuration, context: Context) -> "Subject | None":
        """What a configuration means in a job; None where its micro batch is not known."""
        config = configuration.ds_config
        batch = resolve_batch(config, context)
        if batch is None:
            return None
        checkpointing = configuration.probe.get("activation_checkpointing", context.activation_checkpointing)
        kind = Kind(
            element=4 if precision(config) == "fp32" else 2,
            checkpointing=bool(checkpointing),
            compiled=bool(configuration.probe.get("compile")),
        )
        return cls(config=config, micro_batch=batch.micro, kind=kind)

    @property
    def family(self) -> Family:
        """The family that the configuration belongs to."""
        return Family(
            stage=stage_of(self.config),
            precision=precision(self.config),
            fp32_accumulation=accumulates_in_fp32(self.config),
            offloads=(offloads(self.config, "optimizer"), offloads(self.config, "param")),
            kind=self.kind,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Peak:
    """What one run needed."""

    subject: Subject
    held: Moments
    """What lay there beside the activations."""
    allocated_bytes: int
    reserved_bytes: int
    resting_bytes: int | None
    """What was allocated between two steps, where that was seen."""
    kept_bytes: int | None
    """What a forward pass left for its backward pass, where that was seen."""

    @property
    def surplus_bytes(self) -> int:
        """What lay there between two steps and was not counted: workspaces, a teacher model."""
        return max(0, self.resting_bytes - self.held.resting) if self.resting_bytes else 0

    @property
    def reserved_ratio(self) -> float:
        """Logarithm of reserved over allocated."""
        return math.log(max(1.0, self.reserved_bytes / self.allocated_bytes))


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What a configuration most likely needs, in bytes."""

    allocated_bytes: int
    reserved_bytes: int


@dataclass(kw_only=True)
class MemoryModel:
    """Bounds and predicts; every measured run makes it better.

    Args:
        context: the job, with what a first run showed of its model.
    """

    context: Context
    peaks: list[Peak] = field(default_factory=list)
    tokens_a_sample: float | None = None
    """As last seen; the size of what a language model's last layer gives out depends on it."""
    _known: dict[Kind, Activations] = field(default_factory=dict)

    def learn(self, configuration: Configuration, measured: Measurement | None) -> None:
        """Take in one run; one without figures of an allocator teaches nothing."""
        subject = Subject.of(configuration, self.context)
        if measured is None or subject is None:
            return
        if not measured.peak_allocated_bytes or not measured.peak_reserved_bytes:
            return
        if measured.tokens_per_second:
            self.tokens_a_sample = measured.tokens_per_second / measured.samples_per_second.point
        self.add(
            subject,
            measured.peak_allocated_bytes,
            measured.peak_reserved_bytes,
            resting_bytes=measured.resting_allocated_bytes,
            kept_bytes=measured.kept_activation_bytes,
        )

    def add(
        self,
        subject: Subject,
        allocated_bytes: int,
        reserved_bytes: int,
        *,
        resting_bytes: int | None = None,
        kept_bytes: int | None = None,
    ) -> None:
        """Take in the peaks of one run."""
        held = moments(subject.config, self.context, certain=False)
        if held is not None:
            self._known.clear()
            self.peaks.append(
                Peak(
                    subject=subject,
                    held=held,
                    allocated_bytes=allocated_bytes,
                    reserved_bytes=reserved_bytes,
                    resting_bytes=resting_bytes,
                    kept_bytes=kept_bytes,
                )
            )

    # ---- the bound ------------------------------------------------------------------------------

    def least_bytes(self, subject: Subject) -> int | None:
        """Return what a configuration certainly needs; None where the model's size is not known.

        The activations of a smaller micro batch of the same kind count in proportion: at every moment what is
        allocated is a line over the batch, so the peak is convex in it, and grows at least as it did from
        none. What can lie there without a batch is what was seen between two steps, and what is counted
        within one.
        """
        held = moments(subject.config, self.context, certain=True)
        if held is None:
            return None
        grown = max((self._sure_activations(peak, subject) for peak in self.peaks), default=0.0)
        return max(held.most, int(held.loss + grown))

    def _sure_activations(self, peak: Peak, subject: Subject) -> float:
        seen, activations = peak.subject, 0.0
        if seen.kind != subject.kind or seen.micro_batch > subject.micro_batch:
            return 0.0
        if peak.resting_bytes:
            without = (peak.held.most + peak.surplus_bytes) * SURPLUS_RATIO + SURPLUS_BYTES
            activations = peak.allocated_bytes - without
        if peak.kept_bytes and seen.family.stage < MAX_STAGE:
            # At stage 3 gathered parameters may be among it.
            activations = max(activations, peak.kept_bytes - SURPLUS_BYTES)
        return max(0.0, SURE_SHARE * activations * subject.micro_batch / seen.micro_batch)

    # ---- the prediction -------------------------------------------------------------------------

    def predict(self, subject: Subject) -> Prediction | None:
        """Return what a configuration most likely needs; None before a run has shown the activations."""
        allocated = self._uncorrected(subject)
        if allocated is None:
            return None
        mine = [peak for peak in self.peaks if peak.subject.family == subject.family]
        allocated *= math.exp(self._correction(mine))
        ratio = math.exp(_shrunk((peak.reserved_ratio for peak in mine), toward=self._usual_ratio()))
        least = self.least_bytes(subject) or 0
        return Prediction(
            allocated_bytes=max(least, int(allocated)), reserved_bytes=max(least, int(allocated * ratio))
        )

    def _uncorrected(self, subject: Subject) -> float | None:
        held = moments(subject.config, self.context, certain=False)
        if held is None or not self.peaks:
            return None
        return self._activations(subject.kind).peak(held, subject.micro_batch) + self._surplus()

    def _activations(self, kind: Kind) -> Activations:
        """Those of a kind: as measured, else as they follow from the kind that is known best."""
        if kind not in self._known:
            seen: dict[Kind, list[Seen]] = {}
            for peak in self.peaks:
                told = Seen(
                    held=peak.held,
                    micro_batch=peak.subject.micro_batch,
                    peak=peak.allocated_bytes - self._surplus(),
                    kept=peak.kept_bytes,
                )
                seen.setdefault(peak.subject.kind, []).append(told)
            nearest = max(seen, key=lambda each: (each.alike(kind), len(seen[each])))
            found = fit(seen[nearest], nearest, self.context, self.tokens_a_sample)
            self._known[kind] = transferred(found, nearest, kind, self.context, self.tokens_a_sample)
        return self._known[kind]

    def _correction(self, mine: Sequence[Peak]) -> float:
        """Logarithm of measured over predicted of a family's runs, drawn to 0 where they are few."""
        predicted = [
            self._activations(peak.subject.kind).peak(peak.held, peak.subject.micro_batch) + self._surplus()
            for peak in mine
        ]
        found = [math.log(peak.allocated_bytes / each) for peak, each in zip(mine, predicted, strict=True)]
        return _shrunk(found, toward=0.0)

    def _surplus(self) -> float:
        """What lies there all the time and was not counted, by the runs that showed it."""
        return median([peak.surplus_bytes for peak in self.peaks if peak.resting_bytes] or [0])

    def _usual_ratio(self) -> float:
        return _shrunk((peak.reserved_ratio for peak in self.peaks), toward=math.log(RESERVED_RATIO))


def _shrunk(values: Iterable[float], *, toward: float) -> float:
    """The mean of values and of one more that is assumed."""
    found = list(values)
    return (sum(found) + toward) / (len(found) + 1)
