"""One collector on its own clock and thread."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from flyball.agent.daemon.readings import Reading, Shape, known_reason, short, take
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
    """Calls one collector again and again; its state says how that goes.

    ``begins`` is called before each collection, with the worker that it is handed to.
    """

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
        begins: Callable[[Worker], object] = lambda _: None,
    ) -> None:
        self.name, self.settings, self.limits = kind.name, settings, limits
        self.interval_seconds = settings.interval_seconds
        self.failures: Counter[str] = Counter()
        self._kind, self._surroundings, self._store = kind, surroundings, store
        self._worker, self._log, self._clock = worker, log, surroundings.clock
        self._begins = begins
        self._collector: Collector | None = None
        self._shape = Shape()
        self._failed_in_a_row = 0
        self.state: State = Starting(since=self._clock.time())
        self._timer: asyncio.Handle | None = None
        self._began: float | None = None
        """When the collection that is under way began, on the loop's clock."""
        self._stall_look: asyncio.TimerHandle | None = None
        self._stopped = False

    def start(self) -> None:
        """Begin; the first collection is due now."""
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()
        self._timer = self._loop.call_soon(self._begin)

    def stop(self) -> "asyncio.Future[None]":
        """End, and close the collector after what it is doing; the future says when it is closed."""
        self._stopped = True
        self._cancel_timer()
        if self._stall_look is not None:
            self._stall_look.cancel()
        self._store.drop(self.name)
        closing = self._worker.submit(self._close)
        self._worker.stop()
        return closing

    # Callbacks and one timer instead of a task: what waits for the answer costs more than most collectors.

    def _begin(self) -> None:
        self._timer, self._began = None, self._loop.time()
        self._begins(self._worker)
        self._worker.submit(self._read).add_done_callback(self._end)
        limit = self.limits.stall_after(self.interval_seconds)
        # Kept from one collection to the next: a timer for each costs more than a look now and then.
        if self._stall_look is None or self._stall_look.when() > self._began + limit:
            self._look_for_stall_in(limit)

    def _look_for_stall_in(self, seconds: float) -> None:
        if self._stall_look is not None:
            self._stall_look.cancel()
        self._stall_look = self._loop.call_later(seconds, self._look_for_stall)

    def _look_for_stall(self) -> None:
        self._stall_look = None
        if self._began is None:
            return
        limit = self.limits.stall_after(self.interval_seconds)
        left = self._began + limit - self._loop.time()
        if left > 0:
            self._look_for_stall_in(left)
        else:
            self._stall(limit)

    def _stall(self, limit: float) -> None:
        self._enter(Stalled(since=self._clock.time(), detail=f"no answer within {limit:g} s"))
        self.failures[self.state.reason] += 1
        left = max(0.0, self.limits.stale_after_seconds - limit)
        self._timer = self._loop.call_later(left, self._store.drop, self.name)

    def _end(self, answer: "asyncio.Future[Reading]") -> None:
        self._began = None
        self._cancel_timer()
        if self._stopped or answer.cancelled():
            if not answer.cancelled() and answer.exception() is None:
                self._store.take_back(self.name, answer.result())
            return
        try:
            self._take(answer.result())
        except Exception as error:  # a collector can raise anything
            self._fail(error)
        self._due = self._next_due(self._due, self._loop.time())
        self._timer = self._loop.call_at(self._due, self._begin)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next_due(self, due: float, now: float) -> float:
        # On the grid of the first collection, whatever was missed left out: no drift and no burst.
        pause = self.state.back_off_seconds if isinstance(self.state, Failing) else self.interval_seconds
        earliest = max(now, due + pause - self.interval_seconds)
        return due + self.interval_seconds * (math.floor((earliest - due) / self.interval_seconds + 1e-9) + 1)

    def _read(self) -> Reading:
        """In the worker's thread: everything that can hang or raise."""
        began = self._clock.monotonic()
        if self._collector is None:
            self._collector = self._kind.make(self.settings, self._surroundings)
            wanted = self._collector.interval_seconds
            if wanted >= _LEAST_INTERVAL_SECONDS and math.isfinite(wanted):
                self.interval_seconds = wanted
        reading = take(
            self._collector.collect(),
            max_series=self.limits.max_series,
            elapsed=lambda: self._clock.monotonic() - began,
            shape=self._shape,
        )
        if not self._stopped:
            self._store.hand_in(self.name, reading)
        return reading

    def _close(self) -> None:
        collector, self._collector = self._collector, None
        if collector is not None:
            collector.close()

    def _take(self, reading: Reading) -> None:
        self._failed_in_a_row = 0
        self._store.put(self.name, reading)
        if isinstance(self.state, Up) and self.state.unavailable == reading.unavailable:
            return  # as nearly always
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
