"""Names the outcome of a trial from its exit status, its journals and typed signatures."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from signal import SIGABRT, SIGBUS, SIGHUP, SIGINT, SIGKILL, SIGSEGV, SIGTERM

from flyball.collectors.journal import RankJournal, Record
from flyball.runner.faults import fault
from flyball.runner.full_disk import LEAST_ROOM_BYTES, full_folder
from flyball.runner.limits import Overrun, Passed
from flyball.runner.outcome import Outcome, OutcomeKind
from flyball.runner.signatures import (
    is_killed_worker,
    is_memory,
    is_peer_loss,
    is_signal,
    last_exception,
    reported_exit,
    signal_name,
    signal_of,
)

_FROM_OUTSIDE = (SIGTERM, SIGINT, SIGHUP)
_BY_A_FULL_DISK = (OutcomeKind.CRASHED, OutcomeKind.HUNG, OutcomeKind.TIMED_OUT)


class Ended(StrEnum):
    """Who ended a trial."""

    STOPPED = "stopped"
    """The stop rule was content."""
    FAULTY = "faulty"
    """The journals showed a fault."""
    OVERRUN = "overrun"
    KILLED = "killed"
    """``Handle.kill``."""
    ITSELF = "itself"


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """All that is known of a trial whose processes are gone."""

    ended: Ended
    text: str = ""
    """Why it was stopped or killed."""
    overrun: Overrun | None = None
    status: int | None = None
    """Of the command (minus the signal that ended it); None where we ended it."""
    rank_statuses: Mapping[int, int] = field(default_factory=dict)
    """Of single ranks, in the order they ended, before anything was ended by us."""
    journals: Mapping[int, RankJournal] = field(default_factory=dict)
    output: str = ""
    """The end of what was printed to stdout and stderr."""
    kernel_kills: int = 0
    """Processes that the kernel's out-of-memory killer ended meanwhile."""
    directory: Path = field(default_factory=Path)
    """The trial's folder."""
    room_bytes: int | None = None
    """What may still be written there."""

    @property
    def steps(self) -> int:
        """Steps made by the slowest rank that made any."""
        made = [int(step["step"]) for journal in self.journals.values() if (step := journal.last("step"))]
        return min(made, default=0)


def classify(evidence: Evidence) -> Outcome:
    """Return the outcome; see docs/architecture.md for the order in which the evidence is weighed."""
    outcome = _weighed(evidence)
    full = evidence.room_bytes is not None and evidence.room_bytes < LEAST_ROOM_BYTES
    if full and outcome.kind in _BY_A_FULL_DISK and outcome.full_folder is None:
        # a journal that cannot be written on looks like a hang, and a script fails in ways of its own
        return replace(outcome, full_folder=str(evidence.directory))
    return outcome


def _weighed(evidence: Evidence) -> Outcome:
    if evidence.ended is Ended.KILLED:
        return Outcome(kind=OutcomeKind.INTERRUPTED, reason=evidence.text)
    shown = fault(evidence.journals, final=True)
    if shown is not None and not (evidence.ended is Ended.ITSELF and _refusal(evidence)):
        return shown
    if evidence.ended is Ended.STOPPED:
        return Outcome(kind=OutcomeKind.COMPLETED, reason=evidence.text)
    if evidence.ended is Ended.OVERRUN and evidence.overrun is not None:
        return _overrun(evidence, evidence.overrun)
    if evidence.status == 0 and not any(evidence.rank_statuses.values()):
        return _clean_exit(evidence)
    return _failure(evidence)


def _overrun(evidence: Evidence, overrun: Overrun) -> Outcome:
    if overrun.limit is Passed.EXIT and evidence.steps:
        return Outcome(kind=OutcomeKind.COMPLETED, reason=f"after {evidence.steps} steps; {overrun.text}")
    exception = _first_exception(evidence)
    if exception is not None and overrun.limit is not Passed.TOTAL:
        # a rank that raised while the others wait for it is its exception, not a hang
        return _raised(evidence, *exception)
    kinds = {Passed.HANG: OutcomeKind.HUNG, Passed.PAUSE: OutcomeKind.HUNG, Passed.EXIT: OutcomeKind.HUNG}
    kind = kinds.get(overrun.limit, OutcomeKind.TIMED_OUT)
    return Outcome(kind=kind, reason=overrun.text, rank=overrun.rank)


def _clean_exit(evidence: Evidence) -> Outcome:
    if evidence.steps:
        return Outcome(
            kind=OutcomeKind.COMPLETED, reason=f"the script ended by itself after {evidence.steps} steps"
        )
    if any(journal.header for journal in evidence.journals.values()):
        reason = "the script ended without one training step; let it train for at least a few steps"
    else:
        reason = (
            "the script ended without calling DeepSpeed; build the engine with deepspeed.initialize "
            "(or a Trainer with its config), and do not run Python isolated (-I, -S)"
        )
    return Outcome(kind=OutcomeKind.CRASHED, reason=reason, from_outside=True)


def _failure(evidence: Evidence) -> Outcome:
    exception = _first_exception(evidence)
    fatal = _fatal_signal(evidence)
    if exception is not None and not (fatal and is_peer_loss(str(exception[1].get("message", "")))):
        return _raised(evidence, *exception)
    if fatal is not None:
        return _ended_before(evidence, *fatal) or _signalled(evidence, *fatal)
    printed = last_exception(evidence.output)
    if printed is not None:
        kind, message, where = printed
        return _raised(evidence, None, {"type": kind, "message": message, "where": where})
    rank, status = _first_failure(evidence)
    when = f"after {evidence.steps} steps" if evidence.steps else "before the first step"
    return Outcome(
        kind=OutcomeKind.CRASHED, reason=f"exit status {status} {when}", rank=rank, from_outside=True
    )


def _refusal(evidence: Evidence) -> bool:
    exception = _first_exception(evidence)
    return exception is not None and bool(exception[1].get("in_deepspeed_config"))


def _first_exception(evidence: Evidence) -> tuple[int | None, Record] | None:
    """The exception that came first, those that only tell of a lost peer last."""
    found = [
        (rank, record)
        for rank, journal in evidence.journals.items()
        for record in (*journal.of_kind("exception"), *_memory_records(journal))
    ]
    found.sort(key=lambda pair: (is_peer_loss(str(pair[1].get("message", ""))), pair[1].get("clock", 0.0)))
    return found[0] if found else None


def _memory_records(journal: RankJournal) -> list[Record]:
    """Failed allocations that no exception record followed; one that the script survived is none."""
    record = journal.last("out_of_memory")
    if record is None or journal.last("exception") is not None or journal.last("end") is not None:
        return []
    return [{**record, "type": "OutOfMemoryError"}]


def _raised(evidence: Evidence, rank: int | None, record: Record) -> Outcome:
    kind, message = str(record.get("type", "Exception")), " ".join(str(record.get("message", "")).split())
    where = f" ({record['where']})" if record.get("where") else ""
    reason = f"{kind}: {message[:500]}{where}"
    starved = evidence.kernel_kills > 0 and is_killed_worker(message)
    if is_memory(kind, message) or starved:
        return Outcome(kind=OutcomeKind.OUT_OF_MEMORY, reason=reason, rank=rank)
    refused = bool(record.get("in_deepspeed_config"))
    return Outcome(
        kind=OutcomeKind.INVALID_CONFIG if refused else OutcomeKind.CRASHED,
        reason=reason,
        rank=rank,
        from_outside=is_signal(kind) or is_peer_loss(message),
        full_folder=full_folder(record, evidence.output, evidence.directory),
    )


def _fatal_signal(evidence: Evidence) -> tuple[int | None, int] | None:
    """The rank and the signal that ended it, from its own status, the launcher's words or its status."""
    for rank, status in evidence.rank_statuses.items():
        if status < 0:
            return rank, -status
    for said in (reported_exit(evidence.output), evidence.status):
        number = signal_of(said) if said is not None else None
        if number is not None:
            return None, number
    return None


def _ended_before(evidence: Evidence, rank: int | None, number: int) -> Outcome | None:
    """A script that was done when a process aborted: some threads die badly in a closing interpreter."""
    own = None if rank is None else evidence.journals.get(rank)
    concerned = [own] if own else list(evidence.journals.values())
    done = concerned and all(
        journal.last("end") and journal.last("exception") is None for journal in concerned
    )
    if not done or not evidence.steps or number not in (SIGABRT, SIGSEGV):
        return None
    reason = (
        f"the script ended after {evidence.steps} steps; a process {signal_name(number)} while Python closed"
    )
    return Outcome(kind=OutcomeKind.COMPLETED, reason=reason)


def _signalled(evidence: Evidence, rank: int | None, number: int) -> Outcome:
    who = f"rank {rank}" if rank is not None else "a process"
    when = f"after {evidence.steps} steps" if evidence.steps else "before the first step"
    if number == SIGKILL and evidence.kernel_kills:
        reason = f"the kernel ended {who} for want of memory {when}"
        return Outcome(kind=OutcomeKind.OUT_OF_MEMORY, reason=reason, rank=rank)
    more = "; /dev/shm may be full" if number == SIGBUS else ""
    reason = f"{who} ended by {signal_name(number)} {when}{more}"
    outside = number in _FROM_OUTSIDE
    return Outcome(kind=OutcomeKind.CRASHED, reason=reason, rank=rank, from_outside=outside)


def _first_failure(evidence: Evidence) -> tuple[int | None, int | None]:
    for rank, status in evidence.rank_statuses.items():
        if status:
            return rank, status
    reported = reported_exit(evidence.output)
    return None, reported if reported and evidence.status in (1, None) else evidence.status
