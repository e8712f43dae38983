"""What a serving loop is advised, asked of the agent in the background: the loop itself never waits.

It runs in the workload's interpreter: standard library only, Python 3.9 or later (docs/elastic_batching.md).
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

DEFAULT_URL = "http://127.0.0.1:19753"
"""Of ``flyball agent``."""
PATH = "/api/v1/advice/batch_size"
ASK_SECONDS = 1.0
"""From one question to the next, and from one record of the queue to the next."""
FRESH_SECONDS = 10.0
"""How long an answer holds; after that the caller's default does."""
_TIMEOUT_SECONDS = 2.0
_MOST_BYTES = 1 << 20

Background = Callable[[Callable[[], None]], None]
"""Calls a function again and again, beside the caller."""


class BatchSize:
    """The batch size that a serving loop should use. No method waits, and none raises.

    Args:
        run: the run's name; None for the name that the active probe has for it.
        url: of the agent; None for this machine's, on its default port.
        token: the agent's bearer token; empty for none.
        clock: monotonic seconds.
        background: how the agent is asked; by default in a daemon thread, once a second.
    """

    def __init__(
        self,
        *,
        run: str | None = None,
        url: str | None = None,
        token: str = "",
        clock: Callable[[], float] = time.monotonic,
        background: Background | None = None,
    ) -> None:
        self._run, self._url, self._token = run, (url or DEFAULT_URL).rstrip("/") + PATH, token
        self._clock, self._background = clock, background or _in_thread
        self._pid = 0
        self._known: tuple[int, float] | None = None
        self._pending: tuple[int, int | None] | None = None
        self._written_at = float("-inf")

    def poll(self, *, default: int) -> int:
        """Return the last advice; ``default`` where there was none in the last ten seconds."""
        self._begin()
        known = self._known
        if known is None or self._clock() - known[1] > FRESH_SECONDS:
            return default
        return known[0]

    def report(self, *, queue_length: int, running: int | None = None) -> None:
        """Tell the agent, through the run's journal, how many requests wait and how many are being answered.

        The newest is written, at most once a second; without an active probe none is. A wrong one is dropped.
        """
        self._begin()
        if not _is_count(queue_length) or not (running is None or _is_count(running)):
            return
        self._pending = (queue_length, running)
        if self._clock() - self._written_at >= ASK_SECONDS:
            self._write()

    def refresh(self) -> None:
        """Write what is held back and ask the agent once; what the background calls, and waits for."""
        self._write()
        with contextlib.suppress(Exception):  # no agent, another agent, nonsense: the default holds
            size = self._asked()
            if size is not None:
                self._known = (size, self._clock())

    def _begin(self) -> None:
        # A thread does not live on in a forked child.
        if self._pid != os.getpid():
            self._pid = os.getpid()
            with contextlib.suppress(Exception):  # no more threads: the default holds
                self._background(self.refresh)

    def _write(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            self._written_at = self._clock()
            with contextlib.suppress(Exception):  # serving goes on, whatever is wrong with us
                from flyball.runner.probe.serving import report_queue

                report_queue(*pending)

    def _asked(self) -> int | None:
        request = urllib.request.Request(self._url, headers={"Accept": "application/json"})
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        # The agent is near by: no proxy of the environment stands between.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
            return _advised(json.loads(answer.read(_MOST_BYTES)), self._run or _probed_run())


def _advised(answer: Any, run: str) -> int | None:
    for one in answer:
        if one["run"] == run and _is_count(one["batch_size"]) and one["batch_size"]:
            return int(one["batch_size"])
    return None


def _probed_run() -> str:
    from flyball.runner.probe.watch import SLOT

    return SLOT.probe.settings.run if SLOT.probe is not None else ""


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2**53


def _in_thread(refresh: Callable[[], None]) -> None:
    def again() -> None:
        while True:
            refresh()
            time.sleep(ASK_SECONDS)

    threading.Thread(target=again, name="flyball-advice", daemon=True).start()
