"""Reads a rank's journal while it is being written. The schema stands in ``docs/journal.md``."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = 1

_MOST_DIGITS = 6
_decode = json.JSONDecoder().raw_decode

Record = Mapping[str, Any]


def parse_line(line: bytes) -> Record | None:
    """The record that a line holds; None for a line that is not a JSON object with a ``kind``."""
    try:
        text = line.decode()
        # What json.loads does besides costs a fifth of a step's line.
        record, end = _decode(text, 0 if text[:1] == "{" else len(text) - len(text.lstrip()))
    except (ValueError, RecursionError):
        # A line of opening brackets is deeper than the interpreter's stack.
        return None
    if end < len(text) and text[end:].strip():
        return None
    return record if isinstance(record, dict) and isinstance(record.get("kind"), str) else None


def rank_of(name: str) -> int | None:
    """The rank whose journal has this file name; None for any other file."""
    number = name.removeprefix("rank-").removesuffix(".jsonl")
    is_journal = name == f"rank-{number}.jsonl" and number.isascii() and number.isdigit()
    return int(number) if is_journal and len(number) <= _MOST_DIGITS else None


@dataclass(kw_only=True, slots=True)
class RankJournal:
    """What one rank has written so far; ``refresh`` reads on from where it stopped."""

    path: Path
    records: list[Record] = field(default_factory=list)
    torn_lines: int = 0
    _offset: int = 0

    def refresh(self, most_bytes: int = -1) -> int:
        """Read the complete lines appended since the last call; return how many records came.

        Args:
            most_bytes: that are read at once; -1 is no limit.

        A last line without its newline is left for the next call; a line that is not a JSON object with a
        ``kind`` is skipped and counted in ``torn_lines``.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(most_bytes)
        except FileNotFoundError:
            return 0
        complete = data.rfind(b"\n") + 1
        self._offset += complete
        before = len(self.records)
        self.records.extend(self._parse(data[:complete]))
        return len(self.records) - before

    def _parse(self, data: bytes) -> Iterator[Record]:
        for line in data.splitlines():
            record = parse_line(line)
            if record is None:
                self.torn_lines += 1
            else:
                yield record

    def of_kind(self, kind: str) -> list[Record]:
        """All records of one kind, in the order written."""
        return [record for record in self.records if record["kind"] == kind]

    def last(self, kind: str) -> Record | None:
        """The newest record of one kind, or None."""
        return next((record for record in reversed(self.records) if record["kind"] == kind), None)

    @property
    def header(self) -> Record | None:
        """The first engine's header, or None before there is an engine."""
        return next((record for record in self.records if record["kind"] == "header"), None)

    def steps(self, engine: int = 0) -> list[Record]:
        """The step records of one engine."""
        return [record for record in self.of_kind("step") if record.get("engine", 0) == engine]


def read_folder(folder: Path, *, most_bytes: int = -1) -> dict[int, RankJournal]:
    """Read every ``rank-<n>.jsonl`` of a run's folder, by rank; of each ``most_bytes`` from its beginning."""
    journals = {}
    for path in sorted(folder.glob("rank-*.jsonl")):
        rank = rank_of(path.name)
        if rank is not None:
            journal = RankJournal(path=path)
            journal.refresh(most_bytes)
            journals[rank] = journal
    return journals
