"""The machines that experiments and runs were on: a row for each fingerprint."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from flyball.history.inserting import insert_new
from flyball.history.models import FingerprintRow
from flyball.history.records import MachineFingerprint


def fingerprint_id(session: Session, fingerprint: MachineFingerprint) -> int:
    """Return the id of a machine's fingerprint, which is added where it is new."""
    values = {"digest": fingerprint.digest, "document": fingerprint.document()}
    insert_new(session, FingerprintRow, values, unique=("digest",))
    found = select(FingerprintRow.id).where(FingerprintRow.digest == fingerprint.digest)
    return session.scalars(found).one()
