"""Blocking calls beside the event loop."""

import asyncio
import threading

import pytest

from flyball.policies.notification.receivers.side_thread import in_side_thread


def test_what_it_returns_and_raises_arrives() -> None:
    def fail() -> None:
        raise OSError("gone")

    async def run() -> int:
        with pytest.raises(OSError, match="gone"):
            await in_side_thread(fail)
        return await in_side_thread(lambda: 7)

    assert asyncio.run(run()) == 7


def test_a_call_that_never_ends_holds_up_neither_the_loop_nor_its_end() -> None:
    release = threading.Event()

    async def run() -> None:
        async with asyncio.timeout(0.05):
            await in_side_thread(release.wait)

    with pytest.raises(TimeoutError):
        asyncio.run(run())
    # It ends after the loop that waited for it, and finds nobody to tell.
    release.set()
