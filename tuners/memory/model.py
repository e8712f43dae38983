"""How much of a device's memory a configuration needs: at least, and most likely.

What lies there beside the activations is counted (``memory_moments``). Activations are learned from the peaks
of runs that were made, from the first one on: they grow with the micro batch, and how checkpointing and the
number format change them follows from the model's layers until a run has shown it. What remains between
prediction and peak is corrected for each family, the combinations of structure that DeepSpeed handles alike.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from flyball.tuners.base import Configuration, Measurement
from flyball.tuners.config.shape import MAX_STAGE
from flyball.tuners.legality.context import Context
from flyball.tuners.memory.activations import Activations, Kind, Seen, fit, transferred
from flyball.tuners.memory.moments import moments
from flyball.tuners.memory.subject import Family, Peak, Subject

RESERVED_RATIO = 1.06
"""Reserved over allocated, before a run has shown it: what lies unused between tensors."""
SURE_SHARE = 0.9
"""The share of a measured growth that is taken for certain: batches are not all of one length."""
CONSTANT_BYTES = 256 * 2**20
"""Of what a forward pass leaves, this may depend on no batch: masks, tables of positions."""


class Correction(NamedTuple):
    """Of a family: logarithms of measured over predicted, and of reserved over allocated."""

    allocated: float
    reserved: float


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
    """What follows from the peaks, until there is another one; so are the next two."""
    _corrections: dict[Family, Correction] = field(default_factory=dict)
    _surplus: float = 0.0

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
        if held is None:
            return
        self.peaks.append(
            Peak(
                subject=subject,
                held=held,
                allocated_bytes=allocated_bytes,
                reserved_bytes=reserved_bytes,
                family=subject.family,
                resting_bytes=resting_bytes,
                kept_bytes=kept_bytes,
            )
        )
        self._known.clear()
        self._corrections.clear()
        # What lies there all the time and was not counted, by the runs that showed it.
        self._surplus = median([peak.surplus_bytes for peak in self.peaks if peak.resting_bytes] or [0])

    # ---- the bound ------------------------------------------------------------------------------

    def least_bytes(self, subject: Subject) -> int | None:
        """Return what a configuration certainly needs; None where the model's size is not known.

        What a forward pass of the same kind left for its backward pass counts in proportion for a larger
        micro batch. A peak does not: it may be an evaluation's, or the loading's, which grow with nothing.
        """
        held = moments(subject.config, self.context, certain=True)
        if held is None:
            return None
        grown = max((self._sure_activations(peak, subject) for peak in self.peaks), default=0.0)
        return max(held.most, int(held.loss + grown))

    def _sure_activations(self, peak: Peak, subject: Subject) -> float:
        seen = peak.subject
        if seen.kind != subject.kind or seen.micro_batch > subject.micro_batch or not peak.kept_bytes:
            return 0.0
        if peak.family.stage == MAX_STAGE:
            # Gathered parameters may be among it.
            return 0.0
        kept = SURE_SHARE * (peak.kept_bytes - CONSTANT_BYTES)
        return max(0.0, kept * subject.micro_batch / seen.micro_batch)

    # ---- the prediction -------------------------------------------------------------------------

    def predict(self, subject: Subject) -> Prediction | None:
        """Return what a configuration most likely needs; None before a run has shown the activations."""
        allocated = self._uncorrected(subject)
        if allocated is None:
            return None
        correction, least = self._correction(subject.family), self.least_bytes(subject) or 0
        allocated *= math.exp(correction.allocated)
        reserved = allocated * math.exp(correction.reserved)
        return Prediction(
            allocated_bytes=max(least, int(allocated)), reserved_bytes=max(least, int(reserved))
        )

    def _uncorrected(self, subject: Subject) -> float | None:
        held = moments(subject.config, self.context, certain=False)
        if held is None or not self.peaks:
            return None
        return self._activations(subject.kind).peak(held, subject.micro_batch) + self._surplus

    def _activations(self, kind: Kind) -> Activations:
        """Those of a kind: as measured, else as they follow from the kind that is known best."""
        if kind not in self._known:
            seen: dict[Kind, list[Seen]] = {}
            for peak in self.peaks:
                told = Seen(
                    held=peak.held,
                    micro_batch=peak.subject.micro_batch,
                    peak=peak.allocated_bytes - self._surplus,
                    kept=peak.kept_bytes,
                )
                seen.setdefault(peak.subject.kind, []).append(told)
            nearest = max(seen, key=lambda each: (each.alike(kind), len(seen[each])))
            found = fit(seen[nearest], nearest, self.context, self.tokens_a_sample)
            self._known[kind] = transferred(found, nearest, kind, self.context, self.tokens_a_sample)
        return self._known[kind]

    def _correction(self, family: Family) -> Correction:
        """What a family's own runs say, drawn to what is usual where they are few."""
        if family not in self._corrections:
            mine = [peak for peak in self.peaks if peak.family == family]
            usual = _shrunk((peak.reserved_ratio for peak in self.peaks), toward=math.log(RESERVED_RATIO))
            self._corrections[family] = Correction(
                allocated=_shrunk(map(self._error, mine), toward=0.0),
                reserved=_shrunk((peak.reserved_ratio for peak in mine), toward=usual),
            )
        return self._corrections[family]

    def _error(self, peak: Peak) -> float:
        """Logarithm of measured over predicted."""
        activations = self._activations(peak.subject.kind)
        predicted = activations.peak(peak.held, peak.subject.micro_batch) + self._surplus
        return math.log(peak.allocated_bytes / predicted)


def _shrunk(values: Iterable[float], *, toward: float) -> float:
    """The mean of values and of one more that is assumed."""
    found = list(values)
    return (sum(found) + toward) / (len(found) + 1)
