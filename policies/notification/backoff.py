"""How long to wait before the next try."""

import random
from collections.abc import Callable
from dataclasses import dataclass

MOST_ASKED_SECONDS = 3600.0
"""A receiver that asks for more (Retry-After) gets no more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """Exponential with full jitter: any time up to a bound that doubles with every try.

    So receivers of many agents are not asked by all at once when they come back:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
    """

    first_seconds: float = 1.0
    longest_seconds: float = 300.0
    draw: Callable[[float, float], float] = random.uniform

    def seconds(self, attempts: int, asked_seconds: float | None = None) -> float:
        """Return the wait after so many failed tries, 1 or more; not less than the receiver asked for."""
        # 2**64 is past any bound, and a larger power is no float.
        bound = min(self.longest_seconds, self.first_seconds * 2.0 ** min(attempts - 1, 64))
        asked = min(asked_seconds or 0.0, MOST_ASKED_SECONDS)
        return max(self.draw(0.0, bound), asked)

    def seldom(self) -> float:
        """Return the wait of one that was refused: about the longest."""
        return self.draw(self.longest_seconds / 2, self.longest_seconds)
