"""How a trial ended: a named value and a reason, never a guess from the word "error" in a log."""

from dataclasses import dataclass
from enum import StrEnum


class OutcomeKind(StrEnum):
    """Every way a trial can end."""

    COMPLETED = "completed"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    HUNG = "hung"
    DIVERGED = "diverged"
    CRASHED = "crashed"
    INVALID_CONFIG = "invalid_config"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a trial ended and why, in one line with the workload's last words where it failed."""

    kind: OutcomeKind
    reason: str
    rank: int | None = None
    """The rank that failed first, where one did."""
    from_outside: bool = False
    """Only SIGTERM, SIGINT, SIGHUP, a lost peer or a bare exit status tells of it: what a user, a scheduler
    or a service manager brings about by ending the whole job."""
    full_folder: str | None = None
    """Where a write failed for want of room, or of quota: no fault of the configuration."""
