"""Extremely randomized regression trees for a few dozen rows (Geurts, Ernst and Wehenkel, 2006)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """One tree, a row of each array a node; the first is the root. A leaf leads to itself."""

    feature: Places
    threshold: Array
    below: Places
    above: Places
    value: Array
    depth: int

    def predict(self, rows: Array) -> Array:
        """Return one value a row of ``rows``, shape (rows, features)."""
        node = np.zeros(len(rows), dtype=np.intp)
        every = np.arange(len(rows))
        for _ in range(self.depth):
            low = rows[every, self.feature[node]] <= self.threshold[node]
            node = np.where(low, self.below[node], self.above[node])
        found: Array = self.value[node]
        return found


def grow(rows: Array, targets: Array, random: np.random.Generator) -> Tree:
    """Return a tree for ``rows``, shape (rows, features), and their targets.

    At each node every feature that varies gets one random threshold, and the best of these splits is taken.
    """
    feature, threshold, below, above, value = [0], [np.inf], [0], [0], [0.0]
    waiting = [(0, np.arange(len(rows)), 0)]
    deepest = 0
    while waiting:
        node, own, depth = waiting.pop()
        value[node], deepest = float(targets[own].mean()), max(deepest, depth)
        split = _split(rows[own], targets[own], random)
        if split is None:
            continue
        feature[node], threshold[node] = split
        low = rows[own, split[0]] <= split[1]
        for side, part in ((below, own[low]), (above, own[~low])):
            child = side[node] = len(value)
            feature.append(0)
            threshold.append(np.inf)
            below.append(child)
            above.append(child)
            value.append(0.0)
            waiting.append((child, part, depth + 1))
    return Tree(
        feature=_places(feature),
        threshold=np.array(threshold),
        below=_places(below),
        above=_places(above),
        value=np.array(value),
        depth=deepest,
    )


def _places(values: Sequence[int]) -> Places:
    return np.array(values, dtype=np.intp)


def _split(rows: Array, targets: Array, random: np.random.Generator) -> tuple[int, float] | None:
    """Return feature and threshold, or None where the rows or their targets are all alike."""
    if np.ptp(targets) == 0:
        return None
    low, high = rows.min(axis=0), rows.max(axis=0)
    varying = np.flatnonzero(high > low)
    if not len(varying):
        return None
    # Strictly below the largest, so that neither side is empty.
    at = low[varying] + random.random(len(varying)) * (high - low)[varying]
    sides = rows[:, varying] <= at
    count = sides.sum(axis=0)
    total = targets - targets.mean()
    # Of two groups around their common mean, the between-group sum of squares alone differs.
    moved = (total @ sides) ** 2 / (count * (1 - count / len(rows)))
    best = int(np.argmax(moved))
    return int(varying[best]), float(at[best])
