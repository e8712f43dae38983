"""Who may work on an experiment, and whose trials nobody will finish any more."""

from collections.abc import Iterator

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from flyball.errors import DatabaseError
from flyball.history.models import ExperimentRow, TrialRow
from flyball.history.owner import LEASE_SECONDS, Life, Owner
from flyball.history.records import FINISHED, INTERRUPTED, RUNNING
from flyball.history.rows import owner_of


def is_gone(owner: Owner, lease_time: float, *, now: float, one_machine: bool) -> bool:
    """Whether an owner will not come back: dead, or out of sight and long unheard of."""
    life = owner.life(one_machine=one_machine)
    return life is Life.DEAD or (life is Life.UNKNOWN and now - lease_time > LEASE_SECONDS)


def is_held(row: ExperimentRow, *, now: float, one_machine: bool) -> bool:
    """Whether a process that still lives works on an experiment."""
    owner = owner_of(row)
    return owner is not None and not is_gone(owner, row.lease_time or 0.0, now=now, one_machine=one_machine)


def claim(row: ExperimentRow, owner: Owner, *, now: float, one_machine: bool) -> None:
    """Make a process the only one that works on an experiment.

    Raises:
        DatabaseError: another that still lives does.
    """
    holder = owner_of(row)
    if holder != owner and is_held(row, now=now, one_machine=one_machine):
        seen = f"; nothing heard for {LEASE_SECONDS / 60:.0f} minutes frees it" if _unseen(row) else ""
        raise DatabaseError(
            f"is being worked on by {holder}",
            where=f"experiment {row.name}",
            mend=f"wait for it or end it{seen}",
        )
    row.owner_host, row.owner_pid, row.owner_started = owner.host, owner.pid, owner.started
    row.lease_time, row.status, row.finished_time = now, RUNNING, None


def _unseen(row: ExperimentRow) -> bool:
    owner = owner_of(row)
    return owner is not None and owner.life(one_machine=False) is Life.UNKNOWN


def renew(session: Session, experiment_id: int, owner: Owner, *, now: float) -> None:
    """Say that an owner still lives, for those who cannot see its process."""
    for model, own in ((ExperimentRow, ExperimentRow.id), (TrialRow, TrialRow.experiment_id)):
        held = model.owner_started == owner.started, model.owner_pid == owner.pid
        active = model.status == RUNNING
        session.execute(update(model).where(own == experiment_id, active, *held).values(lease_time=now))


def release(row: ExperimentRow, status: str, *, now: float) -> None:
    """End the work on an experiment, for now or for good."""
    row.status, row.finished_time = status, now
    row.owner_host = row.owner_pid = row.owner_started = row.lease_time = None


def orphans(session: Session, experiment_id: int, *, now: float, one_machine: bool) -> Iterator[TrialRow]:
    """Yield the running trials of an experiment whose owners are gone."""
    running = select(TrialRow).where(TrialRow.experiment_id == experiment_id, TrialRow.status == RUNNING)
    for row in session.scalars(running.order_by(TrialRow.number)):
        owner = Owner(host=row.owner_host, pid=row.owner_pid, started=row.owner_started)
        if is_gone(owner, row.lease_time, now=now, one_machine=one_machine):
            yield row


def interrupt(row: TrialRow, *, now: float) -> None:
    """Mark a trial that nobody will finish."""
    row.status, row.outcome = FINISHED, INTERRUPTED
    row.reason = f"process {row.owner_pid} on {row.owner_host}, which ran it, is gone"
    # What it spent until the last sign of life is spent, and counts against the budget.
    row.finished_time, row.total_seconds = now, max(0.0, row.lease_time - row.started_time)
