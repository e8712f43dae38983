"""Workers that share a thread: in order, one at a time, and nobody waits for one that hangs."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flyball.agent.daemon.shared_thread import SHORT_JOBS, SharedThread


def play(story: Callable[[SharedThread], Awaitable[Any]]) -> None:
    async def run() -> None:
        shared = SharedThread("shared", slow_seconds=0.01)
        try:
            await story(shared)
        finally:
            shared.stop()

    asyncio.run(asyncio.wait_for(run(), 30))


class Hang:
    """A job that hangs until it is let go, and returns its thread."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def __call__(self) -> threading.Thread:
        self.over.wait()
        return threading.current_thread()


def test_short_jobs_of_all_workers_run_in_one_thread_and_in_order() -> None:
    async def story(shared: SharedThread) -> None:
        said: list[int] = []
        workers = [shared.worker("a"), shared.worker("b")]

        def job(number: int) -> int:
            said.append(number)
            return threading.get_ident()

        threads = await asyncio.gather(
            *(workers[number % 2].submit(lambda number=number: job(number)) for number in range(8))
        )
        assert said == list(range(8))
        assert len(set(threads)) == 1
        assert threads[0] != threading.get_ident()

    play(story)


def test_a_job_that_hangs_keeps_its_thread_and_the_others_go_on_in_another() -> None:
    async def story(shared: SharedThread) -> None:
        slow, quick = shared.worker("slow"), shared.worker("quick")
        hang = Hang()
        hanging = slow.submit(hang)
        queued = [slow.submit(threading.current_thread), quick.submit(threading.current_thread)]
        other = await queued[1]
        assert not hanging.done()
        assert not queued[0].done()
        hang.over.set()
        assert await hanging == await queued[0] != other
        assert await slow.submit(threading.current_thread) == await hanging
        assert await quick.submit(threading.current_thread) == other
        slow.stop()

    play(story)


def test_a_worker_that_was_stopped_while_it_hung_ends_its_thread() -> None:
    async def story(shared: SharedThread) -> None:
        slow, quick = shared.worker("slow"), shared.worker("quick")
        hang = Hang()
        hanging = slow.submit(hang)
        await quick.submit(int)
        closing = slow.submit(int)
        slow.stop()
        hang.over.set()
        await closing
        await asyncio.get_running_loop().run_in_executor(None, (await hanging).join)

    play(story)


def test_what_a_job_raises_reaches_whoever_asked() -> None:
    async def story(shared: SharedThread) -> None:
        worker = shared.worker("a")

        def wrong() -> None:
            raise LookupError("nothing there")

        with pytest.raises(LookupError, match="nothing there"):
            await worker.submit(wrong)
        assert await worker.submit(lambda: 3) == 3

    play(story)


def test_a_job_that_hangs_does_not_keep_back_what_came_of_those_before_it() -> None:
    async def story(shared: SharedThread) -> None:
        quick, slow = shared.worker("quick"), shared.worker("slow")
        begun, released = threading.Event(), threading.Event()
        # The first job holds the thread until both others wait behind it: they are told of together.
        first = quick.submit(begun.wait)
        before, hanging = quick.submit(lambda: 7), slow.submit(released.wait)
        begun.set()
        assert await first
        assert await before == 7
        assert not hanging.done()
        released.set()
        assert await hanging
        slow.stop()

    play(story)


def test_a_worker_that_was_slow_once_comes_back_after_a_number_of_short_jobs() -> None:
    async def story(shared: SharedThread) -> None:
        slow, quick = shared.worker("slow"), shared.worker("quick")
        hang = Hang()
        hanging = slow.submit(hang)
        other = await quick.submit(threading.current_thread)
        hang.over.set()
        own = await hanging
        seen = [await slow.submit(threading.current_thread) for _ in range(SHORT_JOBS + 1)]
        assert set(seen[:SHORT_JOBS]) == {own}
        assert seen[SHORT_JOBS] == other != own

    play(story)


def test_a_worker_does_not_come_back_while_another_of_its_jobs_is_in_its_own_thread() -> None:
    async def story(shared: SharedThread) -> None:
        slow, quick = shared.worker("slow"), shared.worker("quick")
        hang, again = Hang(), Hang()
        hanging = slow.submit(hang)
        await quick.submit(int)
        hang.over.set()
        own = await hanging
        short = [slow.submit(int) for _ in range(SHORT_JOBS)]
        held = slow.submit(again)
        await asyncio.gather(*short)
        behind = slow.submit(threading.current_thread)
        again.over.set()
        assert await held is await behind is own
        slow.stop()

    play(story)
