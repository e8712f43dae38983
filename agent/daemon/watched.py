"""One collector on its own clock and thread."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from flyball.agent.daemon.readings import Reading, known_reason, short, take
from flyball.agent.daemon.state_log import StateLog
from flyball.agent.daemon.states import Failing, Stalled, Starting, State, Up
from flyball.agent.daemon.store import Store
from flyball.agent.daemon.worker import Worker
from flyball.collectors.base import Collector, CollectorFailed
from flyball.collectors.registry import CollectorSettings, CollectorType, Surroundings

LONGEST_BACK_OFF_SECONDS = 60.0
_LEAST_INTERVAL_SECONDS = 0.05
_MOST_REASONS = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a collector may take."""

    max_series: int = 20_000
    stall_seconds: float | None = None
    """None stands for the larger of 10 seconds and three intervals."""
    stale_after_seconds: float = 30.0
    """From the start of a collection that does not answer until the last reading is dropped."""

    def stall_after(self, interval_seconds: float) -> float:
        """How long a collection may take, in seconds."""
        return max(10.0, 3 * interval_seconds) if self.stall_seconds is None else self.stall_seconds


class Watched:
    """Calls one collector again and again; its state says how that goes."""

    def __init__(
        self,
        kind: CollectorType,
        settings: CollectorSettings,
        surroundings: Surroundings,
        *,
        store: Store,
        limits: Limits,
        worker: Worker,
        log: StateLog,
    ) -> None:
        self.name, self.settings, self.limits = kind.name, settings, limits
        self.interval_seconds = settings.interval_seconds
        self.failures: Counter[str] = Counter()
        self._kind, self._surroundings, self._store = kind, surroundings, store
        self._worker, self._log, self._clock = worker, log, surroundings.clock
        self._collector: Collector | None = None
        self._failed_in_a_row = 0
        self.state: State = Starting(since=self._clock.time())
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the first collection is due now."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"collector {self.name}")

    def stop(self) -> "asyncio.Future[None]":
        """End, and close the collector after what it is doing; the future says when it is closed."""
        if self._task is not None:
            self._task.cancel()
        self._store.drop(self.name)
        closing = self._worker.submit(self._close)
        self._worker.stop()
        return closing

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self._collect_once()
            due = self._next_due(due, loop.time())
            await asyncio.sleep(due - loop.time())

    def _next_due(self, due: float, now: float) -> float:
        # On the grid of the first collection, whatever was missed left out: no drift and no burst.
        pause = self.state.back_off_seconds if isinstance(self.state, Failing) else self.interval_seconds
        earliest = max(now, due + pause - self.interval_seconds)
        return due + self.interval_seconds * (math.floor((earliest - due) / self.interval_seconds + 1e-9) + 1)

    async def _collect_once(self) -> None:
        answer = self._worker.submit(self._read)
        limit = self.limits.stall_after(self.interval_seconds)
        if not await _within(answer, limit):
            self._enter(Stalled(since=self._clock.time(), detail=f"no answer within {limit:g} s"))
            self.failures[self.state.reason] += 1
            if not await _within(answer, max(0.0, self.limits.stale_after_seconds - limit)):
                self._store.drop(self.name)
                await asyncio.wait({answer})
        try:
            self._take(answer.result())
        except Exception as error:  # a collector can raise anything
            self._fail(error)

    def _read(self) -> Reading:
        """In the worker's thread: everything that can hang or raise."""
        began = self._clock.monotonic()
        if self._collector is None:
            self._collector = self._kind.make(self.settings, self._surroundings)
            wanted = self._collector.interval_seconds
            if wanted >= _LEAST_INTERVAL_SECONDS and math.isfinite(wanted):
                self.interval_seconds = wanted
        return take(
            self._collector.collect(),
            max_series=self.limits.max_series,
            elapsed=lambda: self._clock.monotonic() - began,
        )

    def _close(self) -> None:
        collector, self._collector = self._collector, None
        if collector is not None:
            collector.close()

    def _take(self, reading: Reading) -> None:
        self._failed_in_a_row = 0
        self._store.put(self.name, reading)
        self._enter(Up(since=self._clock.time(), unavailable=reading.unavailable))

    def _fail(self, error: Exception) -> None:
        reason, detail = "exception", f"{type(error).__name__}: {error}"
        if isinstance(error, CollectorFailed):
            reason, detail = known_reason(error.reason), error.detail
        if reason not in self.failures and len(self.failures) >= _MOST_REASONS:
            reason = "failed"
        self._failed_in_a_row += 1
        self.failures[reason] += 1
        self._store.drop(self.name)
        back_off = self._back_off_seconds()
        self._enter(
            Failing(since=self._clock.time(), reason=reason, detail=short(detail), back_off_seconds=back_off)
        )

    def _back_off_seconds(self) -> float:
        longest = max(LONGEST_BACK_OFF_SECONDS, self.interval_seconds)
        # 2 ** 20 intervals are past any limit; a larger power would only overflow.
        return min(longest, self.interval_seconds * 2.0 ** min(self._failed_in_a_row, 20))

    def _enter(self, state: State) -> None:
        before = self.state
        if type(before) is type(state) and before.reason == state.reason:
            state = replace(state, since=before.since)
        self.state = state
        self._log.note(self.name, before, state)


async def _within(answer: "asyncio.Future[Reading]", seconds: float) -> bool:
    done, _ = await asyncio.wait({answer}, timeout=seconds)
    return bool(done)


MakeWorker = Callable[[str], Worker]
