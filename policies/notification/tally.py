"""What the chain counts, for metrics."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(kw_only=True, slots=True)
class Tally:
    """Counts since the process began, and how much waits now."""

    notifications: Counter[tuple[str, str]] = field(default_factory=Counter)
    """``(receiver, outcome)``: each try by its answer (``delivered``, ``retry``, ``refused``, ``gone``), and
    each notification that was not sent by the reason (``muted``, ``untold``, ``given_up``)."""
    superseded: int = 0
    """Taken out of the outbox to make room."""
    overflow: int = 0
    """That found no room in the outbox."""
    outbox_depth: int = 0
    """Notifications that wait, as of some seconds ago."""
    unrecorded: int = 0
    """Transitions in memory that the database has not taken yet."""
    lost: int = 0
    """Transitions that were given up, since there were too many in memory."""
    storage_failures: int = 0
    """Calls of the database that failed."""
    failing: set[str] = field(default_factory=set)
    """Who could not read or write the database at the last try: the recorder, or a receiver's loop."""
