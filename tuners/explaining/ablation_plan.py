"""Which knobs the rest of the budget can put back, and how often: fixed and on disk before the first run."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from flyball.tuners.results.output import write_whole

FILE = "ablation_plan.json"
FEWEST_ROUNDS = 4
"""With fewer an interval says too little."""
MOST_ROUNDS = 8
FORECAST_MARGIN = 1.15
"""Runs take so much longer than forecast, at worst on average."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is going to be measured."""

    reference: str
    """Digest of the recommended configuration."""
    knobs: tuple[str, ...]
    """That are put back, each in every round beside the recommended, the most important first."""
    rounds: int

    def write(self, folder: Path) -> None:
        """Write the plan into the study's folder.

        Raises:
            StorageFailed: the disk is full or the folder cannot be written.
        """
        write_whole(folder / FILE, (json.dumps(asdict(self), indent=2) + "\n").encode())


def read_plan(folder: Path) -> Plan | None:
    """Return the plan of an earlier part of the study, or None."""
    try:
        plan = json.loads((folder / FILE).read_text())
        return Plan(reference=plan["reference"], knobs=tuple(plan["knobs"]), rounds=int(plan["rounds"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def plan_rounds(
    knobs: Sequence[str],
    *,
    reference: str,
    reference_seconds: float,
    reverted_seconds: float,
    limit_seconds: float,
) -> Plan:
    """Return the plan that fits: as many knobs as fewest rounds allow, then more rounds.

    Args:
        knobs: that can be put back, the most important first.
        reference: digest of the recommended configuration.
        reference_seconds: expected length of a run of it.
        reverted_seconds: expected length of a run with a knob put back.
        limit_seconds: that all of it may take; may be infinite.
    """
    for count in range(len(knobs), 0, -1):
        a_round = (reference_seconds + count * reverted_seconds) * FORECAST_MARGIN
        fitting = limit_seconds / a_round if a_round > 0 else math.inf
        if fitting >= FEWEST_ROUNDS:
            rounds = int(min(fitting, MOST_ROUNDS))
            return Plan(reference=reference, knobs=tuple(knobs[:count]), rounds=rounds)
    return Plan(reference=reference, knobs=(), rounds=0)


def least_seconds(reference_seconds: float, reverted_seconds: float) -> float:
    """Return what measuring one knob takes at least."""
    return FEWEST_ROUNDS * (reference_seconds + reverted_seconds) * FORECAST_MARGIN
