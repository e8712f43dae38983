"""Delivers to one receiver: takes what is due, tries it and writes down what came of it."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from flyball.clock import Clock
from flyball.errors import StorageFailed
from flyball.history.alert_records import Finished, Mute, Notification
from flyball.history.mute_log import MuteLog
from flyball.history.outbox import Outbox
from flyball.policies.notification.backoff import MOST_ASKED_SECONDS, Backoff
from flyball.policies.notification.base import Gone, Receiver, Retry
from flyball.policies.notification.dedup import Dedup
from flyball.policies.notification.health import Health
from flyball.policies.notification.log import Log, reason
from flyball.policies.notification.mute import Muting
from flyball.policies.notification.record import finished
from flyball.policies.notification.send import Attempt, attempt, name_of
from flyball.policies.notification.stage import End, Hold, Stage, judge
from flyball.policies.notification.tally import Tally
from flyball.policies.notification.waiting import Pause, Run

POLL_SECONDS = 5.0
"""Another process may have replayed an alert or ended a mute, and a clock may have been set."""
STORAGE_SECONDS = 1.0
"""Between two calls of a database that fails."""
GRACE_SECONDS = 1.0
"""What is under way at a stop may take so long to end by itself; the rest of the stop takes less."""
_LAST_WRITE_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """What the loops of all receivers share."""

    outbox: Outbox
    mutes: MuteLog
    run: Run
    """Calls the database."""
    clock: Clock
    tally: Tally
    log: Log
    pause: Pause
    backoff: Backoff


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """What the database knew at one time."""

    due: Sequence[Notification]
    next_due: float | None
    mutes: Sequence[Mute]


class ReceiverLoop:
    """One receiver's deliveries. Everything but the database's part happens in the event loop."""

    def __init__(
        self, receiver: Receiver, chain: Chain, *, stages: Sequence[Stage] = (), most_at_once: int = 8
    ) -> None:
        """Take what it works with; ``stages`` come after dedup and mute, which every receiver has."""
        self._receiver, self._chain, self._most_at_once = receiver, chain, most_at_once
        self._muting = Muting()
        self._stages: tuple[Stage, ...] = (Dedup(), self._muting, *stages)
        self._mute_ids: set[int] | None = None
        self._part = f"receiver {receiver.name}"
        self._health = Health(receiver.name, chain.log)
        self._sending: set[asyncio.Task[None]] = set()
        self._busy: set[str] = set()
        """Under way, or not written down yet: the database would give them once more."""
        self._unwritten: list[Finished] = []
        self._gone: str | None = None
        self._is_back = False
        self._failed = False
        self._held_until = 0.0
        self._stirred = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Look at the outbox now."""
        self._stirred.set()

    def start(self) -> None:
        """Begin to deliver."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End within 2 s: wait a moment for what is under way, cancel the rest, write down what came.

        What was cancelled is sent again by the next process, with the same ``webhook-id``.
        """
        self._stopping = True
        self._stirred.set()
        tasks = {*self._sending, *([self._task] if self._task else [])}
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(StorageFailed, TimeoutError):
            async with asyncio.timeout(_LAST_WRITE_SECONDS):
                await self._write()
        self._works()  # what does not run fails at nothing

    async def _run(self) -> None:
        while not self._stopping:
            self._stirred.clear()
            try:
                seconds = await self._turn()
            except Exception as error:  # also a fault of ours: it must not end the deliveries unheard
                self._note_failure(error)
                seconds = STORAGE_SECONDS
            else:
                self._works()
            await self._chain.pause(self._stirred, seconds)

    async def _turn(self) -> float:
        """Write down what came, start what is due; return the seconds until there may be more."""
        await self._write()
        held = self._held_until - self._chain.clock.monotonic()
        free = (1 if self._health.failing else self._most_at_once) - len(self._busy)
        if held > 0 or free <= 0:
            return min(held, POLL_SECONDS) if held > 0 else POLL_SECONDS
        now = self._chain.clock.time()
        seen = await self._chain.run(lambda: self._look(now, free + len(self._busy)))
        if await self._mutes_ended(seen.mutes):
            return 0.0
        self._start([each for each in seen.due if each.webhook_id not in self._busy], free)
        until_next = POLL_SECONDS if seen.next_due is None else seen.next_due - now
        return min(POLL_SECONDS, max(0.0, until_next))

    def _look(self, now: float, limit: int) -> _Seen:
        outbox, name = self._chain.outbox, self._receiver.name
        return _Seen(
            due=outbox.due(name, now, limit),
            next_due=outbox.next_due(name, now),
            mutes=self._chain.mutes.active(),
        )

    async def _mutes_ended(self, mutes: Sequence[Mute]) -> bool:
        """Take over the mutes in force; True where one has ended and alerts are to be told after all."""
        before, self._mute_ids = self._mute_ids, {mute.id for mute in mutes}
        self._muting.mutes = mutes
        if before is not None and before <= self._mute_ids:
            return False
        return await self._chain.run(lambda: self._chain.outbox.unmute(mutes)) > 0

    def _start(self, due: Sequence[Notification], free: int) -> None:
        for notification in due:
            if free == 0 or self._stopping:
                return
            verdict = judge(self._stages, notification)
            if isinstance(verdict, Hold):
                self._hold(verdict.seconds)
                return
            self._busy.add(notification.webhook_id)
            if isinstance(verdict, End):
                self._ended(Finished(webhook_id=notification.webhook_id, outcome=verdict.outcome))
                self._count(verdict.outcome)
            else:
                free -= 1
                task = asyncio.create_task(self._send(notification))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)

    async def _send(self, notification: Notification) -> None:
        tried = await attempt(self._receiver, notification, self._chain.clock)
        self._count(name_of(tried.answer))
        self._is_back |= self._health.note(tried)
        self._obey(tried)
        self._ended(finished(tried, self._chain.backoff, now=self._chain.clock.time()))

    def _obey(self, tried: Attempt) -> None:
        """Do what the receiver asked for beyond this one notification."""
        answer = tried.answer
        if isinstance(answer, Gone):
            self._gone = tried.delivery.detail or "410 Gone"
        elif isinstance(answer, Retry) and answer.after_seconds:
            self._hold(min(answer.after_seconds, MOST_ASKED_SECONDS))

    def _hold(self, seconds: float) -> None:
        self._held_until = max(self._held_until, self._chain.clock.monotonic() + seconds)
        self._stirred.set()

    def _ended(self, one: Finished) -> None:
        self._unwritten.append(one)
        self._stirred.set()

    async def _write(self) -> None:
        """Write down what came; what the database does not take is kept for the next time."""
        if not (self._unwritten or self._gone or self._is_back):
            return
        batch, gone, is_back = list(self._unwritten), self._gone, self._is_back
        await self._chain.run(lambda: self._write_down(batch, gone, is_back))
        del self._unwritten[: len(batch)]
        self._busy.difference_update(each.webhook_id for each in batch)
        self._is_back = False
        if gone is not None:
            self._gone = None
            self._chain.log.warning(
                "receiver is gone (410) and gets no more notifications; they are kept until it is enabled",
                receiver=self._receiver.name,
                detail=gone,
            )

    def _write_down(self, batch: Sequence[Finished], gone: str | None, is_back: bool) -> None:
        outbox, name = self._chain.outbox, self._receiver.name
        outbox.finish(batch)
        if gone is not None:
            outbox.disable(name, gone)
        elif is_back:
            outbox.hasten(name)

    def _count(self, outcome: str) -> None:
        self._chain.tally.notifications[self._receiver.name, str(outcome)] += 1

    def _works(self) -> None:
        self._failed = False
        self._chain.tally.failing.discard(self._part)

    def _note_failure(self, error: Exception) -> None:
        self._chain.tally.storage_failures += 1
        if not self._failed:
            self._failed = True
            self._chain.tally.failing.add(self._part)
            self._chain.log.warning(
                "notifications wait for the database", receiver=self._receiver.name, reason=reason(error)
            )
