"""One thread, one job at a time: where something that may hang is called."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

T = TypeVar("T")


class Worker(Protocol):
    """Runs jobs one after the other, in the order in which they were handed in."""

    def submit(self, job: Callable[[], T]) -> "asyncio.Future[T]":
        """Hand in a job from the event loop; the future gets what it returns or raises."""
        ...

    def stop(self) -> None:
        """End after the jobs that were handed in; never waits."""
        ...


class ThreadWorker:
    """A daemon thread: one that hangs delays neither the others nor the exit of the process."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._loop = asyncio.get_running_loop()
        # A kernel thread's name has at most 15 characters.
        threading.Thread(target=self._run, name=name[:15], daemon=True).start()

    def submit(self, job: Callable[[], T]) -> "asyncio.Future[T]":
        """Hand in a job; see :class:`Worker`."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((job, future))
        return future

    def stop(self) -> None:
        """End after the jobs that were handed in."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (entry := self._jobs.get()) is not None:
            call_soon(self._loop, answer_to(*entry).settle)
            # What a job returned must not live until the next one comes.
            del entry


class Answer(NamedTuple):
    """What came of a job."""

    future: "asyncio.Future[Any]"
    result: Any
    fault: BaseException | None

    def settle(self) -> None:
        """Tell the future; in the loop's thread."""
        if self.future.done():  # whoever waited was cancelled
            return
        if self.fault is None:
            self.future.set_result(self.result)
        elif isinstance(self.fault, Exception) and not isinstance(self.fault, StopIteration):
            self.future.set_exception(self.fault)
        else:  # a future does not take these
            self.future.set_exception(RuntimeError(f"{type(self.fault).__name__}: {self.fault}"))


def answer_to(job: Callable[[], Any], future: "asyncio.Future[Any]") -> Answer:
    """Run a job in this thread."""
    try:
        return Answer(future, job(), None)
    except BaseException as error:  # also SystemExit: it must not end the thread unheard
        return Answer(future, None, error)


def call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Have the loop call something, from another thread; nothing where it is closed."""
    with contextlib.suppress(RuntimeError):  # nobody waits any more
        loop.call_soon_threadsafe(call)
