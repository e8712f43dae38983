"""Takes what the engine found into the database, in order; while that cannot be, memory holds it."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from flyball.clock import Clock, SystemClock
from flyball.history.alert_log import AlertLog
from flyball.history.alert_records import Transition
from flyball.policies.notification.dedup import Wants, notifications
from flyball.policies.notification.log import Log, reason
from flyball.policies.notification.tally import Tally
from flyball.policies.notification.waiting import Pause, Run, pause

MOST_UNRECORDED = 100_000
MOST_AT_ONCE = 2000
"""Transitions in one transaction, so that no other writer waits for long."""
HEARTBEAT_SECONDS = 10.0
"""How often an evaluation that changed nothing is written down."""
PENDING_SECONDS = 2.0
"""The same while one is pending: a process that is killed loses what is not written down of its ``for``."""
AGAIN_SECONDS = 1.0
_LAST_SECONDS = 1.0
_PART = "recorder"


class Recorder:
    """Between the engine and the database. All methods are the event loop's.

    Transitions that are not recorded when the process dies are found again by the next one: the engine goes
    on from what is recorded.
    """

    def __init__(
        self,
        alerts: AlertLog,
        *,
        receivers: Callable[[], Mapping[str, Wants]],
        added: Callable[[], None],
        run: Run,
        log: Log,
        tally: Tally,
        clock: Clock | None = None,
        pause: Pause = pause,
        most_unrecorded: int = MOST_UNRECORDED,
    ) -> None:
        """Take where things go.

        Args:
            alerts: the database's part, which ``run`` calls.
            receivers: the names of those to tell, as they are now, and what each wants to hear.
            added: called when there is something new in the outbox.
            run: calls the database.
            log: for people.
            tally: for metrics.
            clock: monotonic seconds.
            pause: how to wait.
            most_unrecorded: the most transitions in memory.
        """
        self._alerts, self._receivers, self._added, self._run = alerts, receivers, added, run
        self._log, self._tally, self._clock, self._pause = log, tally, clock or SystemClock(), pause
        self._most = most_unrecorded
        self._unrecorded: deque[Transition] = deque()
        self._evaluated: float | None = None
        self._beat, self._beat_seconds = -HEARTBEAT_SECONDS, HEARTBEAT_SECONDS
        self._failed = False
        self._full = False
        self._stirred, self._stopping = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def submit(
        self, transitions: Sequence[Transition], *, evaluated_time: float, is_pending: bool = False
    ) -> None:
        """Take what one evaluation changed, be it nothing, and whether one is pending; returns at once."""
        self._beat_seconds = PENDING_SECONDS if is_pending else HEARTBEAT_SECONDS
        is_first, self._evaluated = self._evaluated is None, evaluated_time
        if transitions:
            self._unrecorded.extend(transitions)
            self._make_room()
            self._tally.unrecorded = len(self._unrecorded)
        if transitions or is_first:
            self._stirred.set()  # all else is written down by the heartbeat

    def start(self) -> None:
        """Begin to record."""
        self._task = asyncio.create_task(self._loop())

    async def stop(self) -> None:
        """End within 2 s, with all recorded if the database takes it."""
        self._stopping.set()
        self._stirred.set()
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_SECONDS):
                    await self._task

    async def _loop(self) -> None:
        while True:
            stopping = self._stopping.is_set()
            self._stirred.clear()
            try:
                await self._record()
            except Exception as error:  # also a fault of ours: it must not end the recording unheard
                self._note(error)
            if stopping:
                return
            if self._failed:
                # Not woken by the engine's next round: the database is given its time.
                await self._pause(self._stopping, AGAIN_SECONDS)
            else:
                await self._pause(self._stirred, self._beat_seconds)

    async def _record(self) -> None:
        while self._unrecorded or self._must_beat():
            batch = list(islice(self._unrecorded, MOST_AT_ONCE))
            evaluated = self._evaluated if len(batch) == len(self._unrecorded) else None
            await self._write(batch, evaluated)
            self._taken(len(batch))
        if self._failed:
            self._failed = False
            self._tally.failing.discard(_PART)
            self._log.info("alerts are recorded again")

    async def _write(self, batch: Sequence[Transition], evaluated: float | None) -> None:
        told = list(notifications(batch, self._receivers()))
        done = await self._run(lambda: self._alerts.record(batch, told, evaluated_time=evaluated))
        if evaluated is not None:
            self._beat = self._clock.monotonic()
        self._tally.overflow += done.overflow
        self._tally.superseded += done.superseded
        self._note_full(done.overflow)
        if done.added:
            self._added()

    def _taken(self, count: int) -> None:
        for _ in range(count):
            self._unrecorded.popleft()
        self._tally.unrecorded = len(self._unrecorded)

    def _must_beat(self) -> bool:
        return self._evaluated is not None and self._clock.monotonic() - self._beat >= self._beat_seconds

    def _make_room(self) -> None:
        # What is being written stands at the front: it is the newest that finds no room.
        while len(self._unrecorded) > self._most:
            self._unrecorded.pop()
            self._tally.lost += 1

    def _note(self, error: Exception) -> None:
        self._tally.storage_failures += 1
        if not self._failed:
            self._failed = True
            self._tally.failing.add(_PART)
            self._log.warning("alerts cannot be recorded; they are kept in memory", reason=reason(error))

    def _note_full(self, overflow: int) -> None:
        if overflow and not self._full:
            self._log.warning(
                "the outbox is full: new alerts are recorded and not sent", notifications=overflow
            )
        self._full = bool(overflow)
