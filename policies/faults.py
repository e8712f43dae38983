"""Gathers what is wrong with one policy file, so that all of it is said at once."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from flyball.errors import FlyballError, OptionError
from flyball.yaml_file import YamlFile

SEE = "docs/policies.md"

Path = Sequence[str | int]
"""Keys and places in lists, from the document down."""


@dataclass(kw_only=True, slots=True)
class Faults:
    """The faults of one file so far."""

    file: YamlFile
    found: list[FlyballError] = field(default_factory=list)

    def add(self, at: Path, what: str, *, mend: str) -> None:
        """Take in one fault of what stands at ``at``."""
        self.found.append(OptionError(what, where=self.file.place(at), mend=mend))

    def add_refusal(self, at: Path, refusal: ValueError) -> None:
        """Take in what a parser of values refused, in the form ``what; mend``."""
        what, _, mend = str(refusal).partition("; ")
        self.add(at, what, mend=mend or f"see {SEE}")


def did_you_mean(word: str, known: Iterable[str], *, otherwise: str) -> str:
    """The mend for a name that is none of ``known``."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]}?" if close else otherwise
