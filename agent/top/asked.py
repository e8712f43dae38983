"""A thread that is asked one thing again and again, and may hang without anybody waiting for it."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from flyball.collectors.base import CollectorFailed, Unavailable

T = TypeVar("T")

READING = "being_read"
NO_ANSWER = "no_answer"
PATIENCE_SECONDS = 3.0
"""For so long after a question the answer to the one before it still counts."""


class Asked(Generic[T]):
    """Calls ``job`` in a daemon thread, one call at a time.

    Args:
        name: of the thread.
        job: may hang, and may raise anything.
        answered: called by the thread after each answer.
    """

    def __init__(self, name: str, job: Callable[[], T], answered: Callable[[], None] = lambda: None) -> None:
        self._job, self._answered = job, answered
        self._wanted: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._last: Future[T] | None = None
        self._now: Future[T] | None = None
        self._asked_at = 0.0
        threading.Thread(target=self._run, name=name[:15], daemon=True).start()

    def ask(self, now: float) -> None:
        """Ask anew, unless it has not answered yet. ``now``: monotonic clock, in seconds."""
        if self._now is not None and not self._now.done():
            return
        self._last, self._now, self._asked_at = self._now, Future(), now
        self._wanted.put((self._job, self._now))

    def answer(self, now: float) -> T | Unavailable:
        """What the last call returned, or why there is nothing. ``now``: monotonic clock, in seconds."""
        waited = now - self._asked_at
        known = self._now
        if known is not None and not known.done() and waited < PATIENCE_SECONDS:
            known = self._last
        if known is None:
            return Unavailable(reason=READING)
        if not known.done():
            return Unavailable(reason=NO_ANSWER, detail=f"for {waited:.0f} s")
        error = known.exception()
        if error is None:
            return known.result()
        if isinstance(error, CollectorFailed):
            return Unavailable(reason=error.reason, detail=error.detail)
        return Unavailable(reason="failed", detail=f"{type(error).__name__}: {error}")

    @property
    def waiting(self) -> Future[T] | None:
        """What is being waited for; None where nothing was asked yet."""
        return self._now

    def stop(self, last: Callable[[], None]) -> Future[None]:
        """End after ``last``, which is called when the thread is free."""
        closed: Future[None] = Future()
        self._wanted.put((last, closed))
        self._wanted.put(None)
        return closed

    def _run(self) -> None:
        while (entry := self._wanted.get()) is not None:
            job, future = entry
            try:
                future.set_result(job())
            except BaseException as error:  # also SystemExit: it must not end the thread unheard
                future.set_exception(error)
            self._answered()
