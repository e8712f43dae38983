"""Ranks agree through the job's key-value store on what they do together; nobody waits for ever.

The store is torch's (TCPStore and its kin): ``add`` and ``compare_set`` are atomic there, so that whoever
gives up and whoever arrives at that moment see the same outcome.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

YES, NO = "yes", "no"
GIVEN_UP = 1 << 20
POLL_SECONDS = 0.0002


class Agreement:
    """Decisions of all ranks, or of two, under one prefix of the store."""

    def __init__(
        self,
        store: Any,
        rank: int,
        world_size: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store, self._rank, self._world_size = store, rank, world_size
        self._clock, self._sleep = clock, sleep

    def all_say(self, what: str, seconds: float) -> bool:
        """Whether every rank says the same within some seconds; all of them get the same answer.

        Rank 0 alone says yes. A rank that hears nothing says no in its stead, unless it has just spoken.
        """
        self._store.set(f"said/{self._rank}", what)
        if self._rank == 0:
            keys = [f"said/{rank}" for rank in range(self._world_size)]
            came = self._await(keys, seconds)
            same = came and all(self._store.get(key).decode() == what for key in keys)
            return self._settle(YES if same else NO)
        self._await(["decision"], 2 * seconds)
        return self._settle(NO)

    def _settle(self, wish: str) -> bool:
        answer: bytes = self._store.compare_set("decision", "", wish)
        return answer.decode() == YES

    def meet(self, name: str, seconds: float) -> bool:
        """Whether two ranks that call this by one name do so within some seconds; both hear the same."""
        arrived = self._store.add(f"{name}/count", 1)
        if arrived > 1:
            if arrived > GIVEN_UP:
                return False
            self._store.set(f"{name}/here", "1")
            return True
        if self._await([f"{name}/here"], seconds, heeds_end=True):
            self._forget(name)
            return True
        # The other one may have come at this very moment, and counts on us.
        return bool(self._store.add(f"{name}/count", GIVEN_UP) != GIVEN_UP + 1)

    def _forget(self, name: str) -> None:
        # A file's store does not delete; its keys are few.
        for key in (f"{name}/count", f"{name}/here"):
            try:
                self._store.delete_key(key)
            except (NotImplementedError, RuntimeError):
                return

    def stop(self) -> None:
        """Tell everybody that it is over."""
        self._store.set("over", "1")

    @property
    def over(self) -> bool:
        """Whether somebody has said so."""
        return bool(self._store.check(["over"]))

    def _await(self, keys: list[str], seconds: float, *, heeds_end: bool = False) -> bool:
        # torch's own wait would hold the connection, which torch's threads use as well.
        deadline = self._clock() + seconds
        pause = POLL_SECONDS
        while not self._store.check(keys):
            if self._clock() >= deadline or (heeds_end and self.over):
                return False
            self._sleep(pause)
            pause = min(2 * pause, 0.01)
        return True
