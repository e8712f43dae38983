"""Compression of gradients on the wire."""

from flyball.tuners.base import Assignment, Value
from flyball.tuners.config.reading import known, read
from flyball.tuners.config.shape import precision
from flyball.tuners.knobs.knob import Applied, Draft, Knob, Situation, one_of, whole_numbers
from flyball.tuners.legality.context import pipelined, replicas_of

WIRE = "communication_data_type"
START_STEP = 2
LEAST_COMPRESSION = 2.0


def wire_type(situation: Situation) -> str:
    """Return the data type of reductions: the model's own where the config names none."""
    return str(known(situation.config, WIRE, precision(situation.config))).lower()


def wire_types(situation: Situation) -> tuple[str, ...]:
    """Return the types worth trying: 16 bits for a model in fp32, else the model's own."""
    own = precision(situation.config)
    # bf16 keeps the range of fp32; fp16 on the wire can overflow, so it is left to space files.
    return ("fp32", "bf16") if own == "fp32" else (own,)


def write_wire_type(draft: Draft, value: Value) -> None:
    """Write the data type of reductions."""
    draft.write(WIRE, value)


def write_powersgd(draft: Draft, value: Value) -> None:
    """Ask the probe for PowerSGD of this rank; start early, so that a short trial compresses at all."""
    if value:
        draft.probe["powersgd"] = {
            "rank": int(value),
            "start_step": START_STEP,
            "min_compression": LEAST_COMPRESSION,
        }


def _pointless(situation: Situation) -> str | None:
    if replicas_of(situation.config, situation.context) > 1:
        return None
    return "one replica has nothing to communicate"


def _powersgd_pointless(situation: Situation) -> str | None:
    if pipelined(situation.config, situation.context):
        return "a pipeline schedules its own reductions"
    accumulation = read(situation.config, "data_types.grad_accum_dtype")
    if accumulation not in (None, "auto", precision(situation.config)):
        return f"gradients accumulate in {accumulation}, which the hook never sees"
    return _pointless(situation)


def _without_zero(assignment: Assignment) -> bool:
    return assignment.get("zero_stage", 0) == 0


def _uncompressed(assignment: Assignment) -> bool:
    return not assignment.get("powersgd", 0)


KNOBS: tuple[Knob, ...] = (
    Knob(
        name="powersgd",
        applied=Applied.PROBE,
        path="powersgd",
        summary="rank of PowerSGD's gradient compression at stage 0 (torch's own hook); 0 is off",
        reason="low-rank gradients are a fraction of the bytes; pays where the network is slow",
        read=lambda situation: 0,
        values=lambda situation: (0, 1, 2, 4),
        apply=write_powersgd,
        accepts=whole_numbers(0, 1024),
        pointless=_powersgd_pointless,
        by_default=lambda situation: (situation.context.hosts or 1) > 1,
        active=_without_zero,
        depends_on=("zero_stage",),
        changes_numerics=True,
        structural=True,
        weight=2.0,
        witness="bytes counted at the collective, against the dense bytes",
    ),
    Knob(
        name="communication_data_type",
        applied=Applied.CONFIG,
        path=WIRE,
        summary="data type of gradients on the wire",
        reason="16 bits are half the bytes of 32",
        read=wire_type,
        values=wire_types,
        apply=write_wire_type,
        accepts=one_of("fp32", "bf16", "fp16"),
        pointless=_pointless,
        active=_uncompressed,
        depends_on=("powersgd",),
        changes_numerics=True,
        structural=True,
        ordered=False,
        witness="bytes counted at the collective",
    ),
)
