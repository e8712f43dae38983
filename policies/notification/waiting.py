"""How the chain waits and calls the database: both are given to it, so that tests wait for nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Run(Protocol):
    """Runs a blocking job, such as a call of the database, beside the event loop."""

    def __call__(self, job: Callable[[], T], /) -> Awaitable[T]:
        """Return what the job returns, or raise what it raises."""
        ...


class Pause(Protocol):
    """Waits until an event is set, or for so many seconds."""

    async def __call__(self, event: asyncio.Event, seconds: float, /) -> None:
        """Return when either has come; the event stays as it is."""
        ...


async def pause(event: asyncio.Event, seconds: float) -> None:
    """Wait by the event loop's own clock, which is never set back."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
