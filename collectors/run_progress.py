"""How far a rank has got since it last saved, since it was started again, and since its last step."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

RECOVERY_SHOWN_SECONDS = 600.0
"""How long a recovery that is over is still told of."""


@dataclass(kw_only=True, slots=True, eq=False)
class Progress:
    """Of one rank over all processes that wrote its journal; times are of the machine's monotonic clock."""

    steps_since_checkpoint: int = 0
    """Since a checkpoint was saved or loaded; else since the journal began."""
    boundary_clock: float = 0.0
    """Of the last step of any engine."""
    recovering_since: float | None = None
    """Of the last record of the process that this one goes on from; negative before the machine's start."""
    recovered_clock: float | None = None
    """Of the first step after it."""

    def stepped(self, clock: float) -> None:
        """An engine has stepped."""
        self.boundary_clock = clock
        if self.recovering_since is not None and self.recovered_clock is None:
            self.recovered_clock = clock

    def restarted(self, last_clock: float) -> None:
        """Another process goes on with the journal, whose last record was then.

        One that went before its first step recovered nothing: the time goes on from the process before it.
        """
        if self.recovering_since is None or self.recovered_clock is not None:
            self.recovering_since, self.recovered_clock = last_clock, None

    def forget_recovery(self) -> None:
        """Nothing recovers, or it cannot be told: the last process ended in good order, or is not watched."""
        if self.recovered_clock is None:
            self.recovering_since = None

    def recovery_seconds(self, now: float) -> float | None:
        """From the old process's last record to the first step, or to now while there is none.

        None where nothing recovers or recovered lately (:data:`RECOVERY_SHOWN_SECONDS`).
        """
        if self.recovering_since is None:
            return None
        if self.recovered_clock is None:
            return max(0.0, now - self.recovering_since)
        if now - self.recovered_clock > RECOVERY_SHOWN_SECONDS:
            return None
        return max(0.0, self.recovered_clock - self.recovering_since)

    def document(self) -> dict[str, Any]:
        """As JSON, for a restart of the agent."""
        return asdict(self)


def read_progress(document: Mapping[str, Any]) -> Progress:
    """Return what :meth:`Progress.document` wrote. Raises KeyError or TypeError for anything else."""
    for name, kinds in _KINDS.items():
        if not isinstance(document[name], kinds):
            raise TypeError(name)
    return Progress(**{each.name: document[each.name] for each in fields(Progress)})


_OPTIONAL_NUMBER = (int, float, type(None))
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "steps_since_checkpoint": int,
    "boundary_clock": (int, float),
    "recovering_since": _OPTIONAL_NUMBER,
    "recovered_clock": _OPTIONAL_NUMBER,
}
