"""One thread for several workers whose jobs are short; a job that is not short keeps the thread for itself.

Waking a thread costs more than most collections: readers of the journals share one, and what came of jobs
that waited together is told together. When a job has run for longer than a quarter of a second, its thread
becomes its worker's own, and what waited goes on in a new one, so that nothing is held up by what hangs. A
worker comes back after a minute's worth of short jobs: NVML is slow to start and quick from then on.
"""

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from flyball.agent.daemon.worker import Answer, answer_to, call_soon

T = TypeVar("T")

SLOW_SECONDS = 0.25
SHORT_JOBS = 60
"""So many in a row bring a worker back to the shared thread."""


class _Entry(NamedTuple):
    owner: "SharingWorker"
    job: Callable[[], Any]
    future: "asyncio.Future[Any]"
    over: Callable[[], object]
    """Called when its answer is told."""


class _Lane:
    """A daemon thread and what waits for it."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._lock = loop, threading.Lock()
        self._ready: queue.SimpleQueue[None] = queue.SimpleQueue()
        """Something for each time that it is to look at what waits; a semaphore is slower."""
        self._waiting: deque[_Entry] = deque()
        self._answers: deque[tuple[_Entry, Answer]] = deque()
        self._ended = self._tells_each = False
        self._current: _Entry | None = None
        self._since = 0.0
        # A kernel thread's name has at most 15 characters.
        threading.Thread(target=self._run, name=name[:15], daemon=True).start()

    def put(self, entry: _Entry) -> None:
        """Hand a job in; it is begun after :meth:`wake`, or with what is under way."""
        with self._lock:
            self._waiting.append(entry)

    def wake(self) -> None:
        """Begin with what waits."""
        self._ready.put(None)

    def tell_each(self) -> None:
        """From now on tell of each job at once: nobody looks whether the next one hangs."""
        self._tells_each = True
        self.tell()

    def end(self) -> None:
        """End after the jobs that were handed in."""
        self.tell_each()
        self._ended = True
        self.wake()

    def slow(self) -> "SharingWorker | None":
        """Whose job has been running for too long."""
        with self._lock:
            late = self._current is not None and time.monotonic() - self._since > SLOW_SECONDS
            return self._current.owner if late and self._current is not None else None

    def others(self, owner: "SharingWorker") -> list[_Entry]:
        """Take out what waits and is not ``owner``'s."""
        with self._lock:
            moved = [entry for entry in self._waiting if entry.owner is not owner]
            self._waiting = deque(entry for entry in self._waiting if entry.owner is owner)
        return moved

    def tell(self) -> None:
        """Tell what came of jobs so far; in the loop's thread."""
        while self._answers:
            entry, answer = self._answers.popleft()
            entry.over()
            answer.settle()

    def _run(self) -> None:
        while True:
            self._ready.get()
            while self._has_next():
                self._do_next()
            if self._ended:
                return

    def _has_next(self) -> bool:
        with self._lock:
            self._current = self._waiting.popleft() if self._waiting else None
            self._since = time.monotonic()
            return self._current is not None

    def _do_next(self) -> None:
        entry = self._current
        assert entry is not None
        self._answers.append((entry, answer_to(entry.job, entry.future)))
        with self._lock:
            self._current = None
            is_last = not self._waiting
        if is_last or self._tells_each:
            call_soon(self._loop, self.tell)


class SharedThread:
    """Makes the workers that share a thread; all calls come from the event loop that it was made in.

    Args:
        name: of the thread.
        slow_seconds: from one look for a job that hangs to the next.
    """

    def __init__(self, name: str, *, slow_seconds: float = SLOW_SECONDS) -> None:
        self._name, self._slow_seconds = name, slow_seconds
        self._loop = asyncio.get_running_loop()
        self._lane: _Lane | None = None
        self._open = 0
        self._look: asyncio.TimerHandle | None = None
        self._waking: asyncio.Handle | None = None

    def worker(self, name: str) -> "SharingWorker":
        """A worker that shares the thread for as long as its jobs are short."""
        return SharingWorker(name, self)

    def stop(self) -> None:
        """End the thread after the jobs that were handed in."""
        if self._lane is not None:
            self._lane.end()
            self._lane = None

    def put(self, owner: "SharingWorker", job: Callable[[], Any], future: "asyncio.Future[Any]") -> None:
        """Hand a job in; it begins with all that the loop has to do now."""
        if self._lane is None:
            self._lane = _Lane(self._name, self._loop)
        self._open += 1
        self._lane.put(_Entry(owner, job, future, self._over))
        if self._waking is None:
            # Not at once: the thread would wait for the interpreter until the others are handed in, too.
            self._waking = self._loop.call_soon(self._wake)
        if self._look is None:
            self._look = self._loop.call_later(self._slow_seconds, self._look_again)

    def _wake(self) -> None:
        self._waking = None
        if self._lane is not None:
            self._lane.wake()

    def _over(self) -> None:
        self._open -= 1
        if not self._open and self._look is not None:
            self._look.cancel()
            self._look = None

    def _look_again(self) -> None:
        if self._lane is None:
            self._look = None
            return
        self._lane.tell()
        slow = self._lane.slow()
        if slow is not None:
            self._lane.tell_each()
            moved = self._lane.others(slow)
            slow.keep(self._lane)
            self._lane = _Lane(self._name, self._loop)
            for entry in moved:
                self._lane.put(entry)
            self._lane.wake()
        if self._open:
            self._look = self._loop.call_later(self._slow_seconds, self._look_again)


class SharingWorker:
    """See :class:`flyball.agent.daemon.worker.Worker`.

    Sharing -> alone, once a job of its own was slow. Alone -> sharing, after ``SHORT_JOBS`` that were not.
    """

    def __init__(self, name: str, shared: SharedThread) -> None:
        self.name, self._shared = name, shared
        self.own: _Lane | None = None
        """Its own thread, while it is alone."""
        self._short = self._alone = 0
        """Jobs in a row, alone, that were short; and those that are not over."""
        self._stopped = False

    @property
    def is_alone(self) -> bool:
        """Whether it has a thread of its own now."""
        return self.own is not None

    def submit(self, job: Callable[[], T]) -> "asyncio.Future[T]":
        """Hand in a job."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self.own is not None:
            self._put_alone(self.own, job, future)
        else:
            self._shared.put(self, job, future)
        return future

    def _put_alone(self, lane: _Lane, job: Callable[[], Any], future: "asyncio.Future[Any]") -> None:
        began = time.monotonic()
        self._alone += 1

        def came_back() -> None:
            self._alone -= 1
            self._short = self._short + 1 if time.monotonic() - began <= SLOW_SECONDS else 0
            is_short = self._short >= SHORT_JOBS and not self._stopped
            # With another of its jobs still in that thread, the next would run beside it in the shared one.
            if is_short and not self._alone and self.own is lane:
                lane.end()
                self.own, self._short = None, 0

        lane.put(_Entry(self, job, future, came_back))
        lane.wake()

    def keep(self, lane: _Lane) -> None:
        """The shared thread is this worker's from now on."""
        self.own = lane
        if self._stopped:
            lane.end()

    def stop(self) -> None:
        """End after the jobs that were handed in."""
        self._stopped = True
        if self.own is not None:
            self.own.end()
