"""An event loop whose clock passes only while the loop waits: a busy machine makes no try late."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Waiting(selectors.DefaultSelector):
    """Counts the seconds in which nothing came."""

    seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(timeout)
        if not found and timeout:
            self.seconds += timeout
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._waiting = _Waiting()
        super().__init__(self._waiting)

    def time(self) -> float:
        return self._waiting.seconds


def play(story: Coroutine[Any, Any, T]) -> T:
    """Run it as ``asyncio.run`` does."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(story)
