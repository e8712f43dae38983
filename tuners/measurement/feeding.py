"""Whether what a trial fed followed its config, held against what the user's own run fed."""

import math
from dataclasses import dataclass

from flyball.collectors.journal import Record
from flyball.tuners.base import Measurement
from flyball.tuners.measurement.measurement import Fault, Invalid
from flyball.tuners.measurement.series import number, samples_a_forward
from flyball.tuners.objective import Objective, figure

TOLERANCE = 0.01
BATCH_TOLERANCE = 0.05
"""A last batch of an epoch may be smaller; a global batch that was changed is another by more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Feeding:
    """What entered the engine in one run, beside what its config says."""

    micro_batch: float
    accumulation: float
    forwards_a_step: float
    work: float | None
    """Tokens a sample (rows where tokens are not known), where samples are counted by the config."""
    global_batch: float | None = None
    """Samples a step, where steps are compared."""

    @classmethod
    def of(cls, header: Record, measured: Measurement) -> "Feeding":
        """Return it for a finished run."""
        told, work = samples_a_forward(header), None
        if told:
            tokens = (measured.tokens_per_second or 0.0) / measured.samples_per_second.point
            work = tokens or (measured.fed_batch or 0.0) / told
        return cls(
            micro_batch=number(header.get("micro_batch")),
            accumulation=number(header.get("accumulation")),
            forwards_a_step=measured.forwards_a_step or 0.0,
            work=work,
            global_batch=_samples_a_step(measured) if measured.objective is Objective.LATENCY else None,
        )

    def unlike(self, own: "Feeding") -> Invalid | None:
        """Say so when this run's batch did not follow its config as the user's ``own`` run did."""
        return self._other_accumulation(own) or self._other_sample(own) or self._other_batch(own)

    def _other_batch(self, own: "Feeding") -> Invalid | None:
        """Where seconds a step are compared, a step must be the same work."""
        if not self.global_batch or not own.global_batch:
            return None
        if math.isclose(self.global_batch, own.global_batch, rel_tol=BATCH_TOLERANCE):
            return None
        reason = (
            f"a step took {figure(self.global_batch)} samples where your own takes "
            f"{figure(own.global_batch)}: seconds a step compare only at one global batch"
        )
        return Invalid(fault=Fault.FED_BATCH, reason=reason)

    def _other_accumulation(self, own: "Feeding") -> Invalid | None:
        """Some scripts and trainers count the micro batches of a step themselves.

        Several forwards a micro batch are how a model is; that many times more of them is another batch.
        """
        if not all((self.accumulation, own.accumulation, self.forwards_a_step, own.forwards_a_step)):
            return None
        wanted = own.forwards_a_step / own.accumulation * self.accumulation
        if math.isclose(self.forwards_a_step, wanted, rel_tol=TOLERANCE):
            return None
        reason = (
            f"the script makes {self.forwards_a_step:g} forwards a step where gradient_accumulation_steps "
            f"{self.accumulation:g} asks for {wanted:g}: it counts them itself; name its option with "
            "--map gradient_accumulation_steps=--your-accumulation-option"
        )
        return Invalid(fault=Fault.FED_BATCH, reason=reason)

    def _other_sample(self, own: "Feeding") -> Invalid | None:
        """Padding makes the tokens of a sample vary; a batch that stayed as it was varies them too.

        It does so as much as the micro batch was changed, the other way round: the nearer one is believed.
        """
        if self.micro_batch == own.micro_batch or not self.work or not own.work:
            return None
        change = math.log(self.micro_batch / own.micro_batch)
        if abs(math.log(self.work / own.work)) <= abs(change) / 2:
            return None
        reason = (
            f"a sample became {self.work / own.work:.3g} times as large when train_micro_batch_size_per_gpu "
            f"went from {own.micro_batch:g} to {self.micro_batch:g}: the script's batch does not follow it; "
            "let it read its batch size from the config, or name its option with "
            "--map train_micro_batch_size_per_gpu=--your-batch-size-option"
        )
        return Invalid(fault=Fault.FED_BATCH, reason=reason)


def _samples_a_step(measured: Measurement) -> float | None:
    steps = measured.steps_per_second
    return measured.samples_per_second.point / steps.point if steps is not None else None
