"""Text that every machine has: the source files of Python's standard library, as bytes, addressed by step."""

import math
import sysconfig
from pathlib import Path

LIMIT_BYTES = 2 * 1024 * 1024


def standard_library(limit_bytes: int = LIMIT_BYTES) -> bytes:
    """Read the library's top-level modules in alphabetical order, up to ``limit_bytes``."""
    text = bytearray()
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        if len(text) >= limit_bytes:
            break
        text += path.read_bytes()
    return bytes(text[:limit_bytes])


def sample_indices(
    *, step: int, micro_step: int, rank: int, ranks: int, micro_batch: int, global_batch: int
) -> range:
    """Which samples of the whole run one micro batch holds.

    A step always holds ``range(step * global_batch, (step + 1) * global_batch)``, each rank its own even part
    of it, however that is cut into micro batches: a resumed run or another cut sees the same text.
    """
    first = step * global_batch + rank * (global_batch // ranks) + micro_step * micro_batch
    return range(first, first + micro_batch)


class Corpus:
    """Fixed-length samples of a text, in a fixed order that visits each once an epoch."""

    def __init__(self, text: bytes, *, sequence_length: int, seed: int = 0) -> None:
        self._text = text
        self._sequence_length = sequence_length
        self._count = len(text) // sequence_length
        if self._count == 0:
            raise SystemExit(f"--sequence-length {sequence_length}: longer than the text ({len(text)} bytes)")
        self._offset = seed % self._count
        self._stride = _coprime_near(round(self._count * 0.618), self._count)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> bytes:
        """Return sample ``index`` of the run; it goes on past the end of the text with the next epoch."""
        place = (index * self._stride + self._offset) % self._count
        return self._text[place * self._sequence_length : (place + 1) * self._sequence_length]


def _coprime_near(value: int, count: int) -> int:
    """Smallest stride from ``value`` on that shares no factor with ``count``: it visits every sample."""
    stride = max(value, 1)
    while math.gcd(stride, count) != 1:
        stride += 1
    return stride
