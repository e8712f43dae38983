"""What a verification is going to do, on disk before its first run: a resumed study must not plan anew.

A plan made after a look at the first pairs would be no plan: it would spend the error rate twice.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from flyball.tuners.results.output import write_whole
from flyball.tuners.verification.plan import Look, Rules

FILE = "verification_plan.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Declared:
    """The candidates and the rule."""

    candidates: Mapping[str, str]
    """Key to the digest of its configuration, the most promising first."""
    rules: Rules
    series: int = 0
    """How many fields of candidates were given up before this one, because their runs were too long."""
    planned: tuple[Look, ...] | None = None
    """The tests as the file tells them, where they are not the rule's own."""

    def write(self, folder: Path) -> None:
        """Write the plan into the study's folder.

        Raises:
            StorageFailed: the disk is full or the folder cannot be written.
        """
        plan = {
            "candidates": dict(self.candidates),
            "series": self.series,
            "rules": asdict(self.rules),
            "looks": self.looks(),
        }
        write_whole(folder / FILE, (json.dumps(plan, indent=2) + "\n").encode())

    def looks(self) -> list[dict[str, float]]:
        """Return the planned tests, for whoever reads the file."""
        of_rule = self.rules.looks(len(self.candidates)) if self.candidates else ()
        planned = of_rule if self.planned is None else self.planned
        return [{"pairs": look.pairs, "level": look.level} for look in planned]


def read_declared(folder: Path) -> Declared | None:
    """Return the plan that an earlier part of the study declared, or None."""
    try:
        plan = json.loads((folder / FILE).read_text())
        return Declared(
            candidates=plan["candidates"], rules=Rules(**plan["rules"]), series=plan.get("series", 0)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
