"""How long a later start takes, told by what the seconds of a study's first one went into."""

from collections.abc import Mapping
from dataclasses import dataclass

LATER_SHARE = 0.25
"""Of a start whose parts are not known, which may have built operators: what a later one is expected to take.

Of one whose operators are left out, what a start from a warm server takes."""
OP_BUILDS = "op_builds"
IMPORTS = "imports"
"""Parts of the journal's ``startup`` record."""


@dataclass(kw_only=True, slots=True)
class FirstStart:
    """The start of the first run, which is cold; all in seconds.

    Args:
        seconds: from the spawn to the first step.
        parts: of the journal's ``startup`` record; empty where there was none.
        ended: when the run was over, on the study's clock.
    """

    seconds: float
    parts: Mapping[str, float]
    ended: float
    _imported: float | None = None

    @property
    def built(self) -> float:
        """What DeepSpeed's operators took to build: they are there from now on."""
        return min(self.seconds, self.parts.get(OP_BUILDS, 0.0))

    def imported_again(self, *, began: float, waited: float) -> None:
        """Take in that a warm server imported the same modules, from the first run's end on.

        They came from the page cache this time, as in every cold start to come.

        Args:
            began: when the run that needed the server was asked for, on the study's clock.
            waited: how long it waited for the imports.
        """
        if self._imported is None:
            self._imported = max(0.0, began - self.ended) + waited

    def later_cold(self) -> float:
        """Return what a later cold start is expected to take, at most, where the parts are known."""
        if not self.parts:
            return LATER_SHARE * self.seconds
        imports = self.parts.get(IMPORTS, 0.0)
        spared = max(0.0, imports - self._imported) if self._imported is not None else 0.0
        return max(0.0, self.seconds - self.built - spared)

    def later_warm(self) -> float:
        """Return what a start from a warm server is expected to take before one was seen."""
        return LATER_SHARE * (self.seconds - self.built)
