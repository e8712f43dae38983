"""Delivers what is in the outbox to all receivers, and keeps the outbox and the alerts in order."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flyball.clock import Clock, SystemClock
from flyball.errors import StorageFailed
from flyball.history.alert_log import AlertLog
from flyball.history.alert_records import AlertStatus, Notification, Transition
from flyball.history.mute_log import MuteLog
from flyball.history.outbox import Outbox
from flyball.policies.notification.backoff import Backoff
from flyball.policies.notification.base import Receiver
from flyball.policies.notification.dedup import Wants, everything, notifications
from flyball.policies.notification.limit import GiveUp, Rate
from flyball.policies.notification.log import Log, reason
from flyball.policies.notification.receiver_loop import POLL_SECONDS, Chain, ReceiverLoop
from flyball.policies.notification.stage import Stage
from flyball.policies.notification.tally import Tally
from flyball.policies.notification.waiting import Pause, Run, pause

PRUNE_SECONDS = 60.0
"""From one deletion of old alerts to the next."""
NOTHING_OLD_SECONDS = 600.0
"""The same after one that found nothing."""
EMPTY_SECONDS = 15.0
"""From one look at an empty outbox to the next, for the metric: about as often as it is scraped."""
_CLOSE_SECONDS = 0.3
_APPLYING_SECONDS = 60.0
"""What ends while a receiver is taken out, before the database knows, is told to it as well."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A receiver and how it is to be treated."""

    receiver: Receiver
    most_at_once: int = 8
    """Notifications of different alerts that are sent at the same time."""
    most_per_minute: float | None = None
    give_up_after_seconds: float | None = None
    """Of age; None never gives up."""
    wants: Wants = everything
    """What it is told of."""


class Deliverer:
    """Runs a loop for each receiver. All methods are the event loop's."""

    def __init__(
        self,
        alerts: AlertLog,
        outbox: Outbox,
        mutes: MuteLog,
        *,
        run: Run,
        log: Log,
        tally: Tally,
        clock: Clock | None = None,
        backoff: Backoff | None = None,
        pause: Pause = pause,
    ) -> None:
        """Take the stores, which ``run`` calls, and where to say and count what happens."""
        self._alerts = alerts
        self._chain = Chain(
            outbox=outbox,
            mutes=mutes,
            run=run,
            clock=clock or SystemClock(),
            tally=tally,
            log=log,
            pause=pause,
            backoff=backoff or Backoff(),
        )
        self._wants: Mapping[str, Wants] = {}
        self._running: dict[str, tuple[Receiver, ReceiverLoop]] = {}
        self._keeping: asyncio.Task[None] | None = None
        self._filling = asyncio.Event()
        """An outbox that was empty is so no longer."""

    @property
    def receivers(self) -> Mapping[str, Wants]:
        """The names of the receivers and what each wants, for whoever makes notifications."""
        return self._wants

    def wake(self) -> None:
        """Look at the outbox now: something was added."""
        if not self._chain.tally.outbox_depth:
            self._filling.set()
        for _, loop in self._running.values():
            loop.wake()

    async def apply(self, targets: Sequence[Target]) -> None:
        """Deliver to these and to no others, at the start and after a reload.

        One that was disabled (410) is tried again, and one that is new is told what fires. What waits for a
        receiver that is not among them is kept as ``disabled`` until it is; then it is told, too, which
        of the alerts that it knows have ended meanwhile.
        """
        # At once: what is recorded while the loops stop is for these.
        wants = self._wants = {each.receiver.name: each.wants for each in targets}
        await self._stop_loops()
        try:
            await self._chain.run(lambda: self._admit(wants))
        except StorageFailed as error:
            self._chain.log.warning("the receivers' outbox cannot be prepared", reason=reason(error))
        for target in targets:
            self._running[target.receiver.name] = target.receiver, self._started(target)
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """End within 2 s; what is not delivered stays in the outbox."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            self._keeping = None
        await self._stop_loops()

    def _admit(self, wants: Mapping[str, Wants]) -> None:
        for name in self._chain.outbox.receivers():
            if name not in wants:
                self._chain.outbox.disable(name, "it is not in the configuration any more")
        told = [each for name in wants for each in self._missed(name, wants[name])]
        firing = [each for each in self._alerts.open_alerts() if each.status is AlertStatus.FIRING]
        now = self._chain.clock.time()
        # Those who were told before are not told again: the database has their notifications.
        told += notifications((Transition(alert=each, time=now) for each in firing), wants)
        self._alerts.record((), told)

    def _missed(self, name: str, wants: Wants) -> Sequence[Notification]:
        """Let a receiver be sent to; return what ended while it was away, if it was."""
        since = self._chain.outbox.enable(name)
        if since is None:
            return ()
        ended = self._chain.outbox.ends_unheard(name, since - _APPLYING_SECONDS)
        now = self._chain.clock.time()
        return list(notifications((Transition(alert=each, time=now) for each in ended), {name: wants}))

    def _started(self, target: Target) -> ReceiverLoop:
        loop = ReceiverLoop(
            target.receiver, self._chain, stages=self._stages(target), most_at_once=target.most_at_once
        )
        loop.start()
        return loop

    def _stages(self, target: Target) -> list[Stage]:
        stages: list[Stage] = []
        if target.give_up_after_seconds is not None:
            stages.append(GiveUp(after_seconds=target.give_up_after_seconds, clock=self._chain.clock))
        if target.most_per_minute is not None:
            stages.append(Rate(target.most_per_minute, self._chain.clock))
        return stages

    async def _stop_loops(self) -> None:
        stopped, self._running = list(self._running.values()), {}
        await asyncio.gather(*(_stop(receiver, loop) for receiver, loop in stopped))

    async def _keep(self) -> None:
        """Count what waits, and delete what is old."""
        prune_at, depth = self._chain.clock.monotonic() + PRUNE_SECONDS, 0
        while True:
            self._filling.clear()
            with contextlib.suppress(StorageFailed):  # the loops say it
                depth = self._chain.tally.outbox_depth = await self._chain.run(self._chain.outbox.depth)
                if (now := self._chain.clock.monotonic()) >= prune_at:
                    prune_at = now + PRUNE_SECONDS
                    if not await self._chain.run(self._alerts.prune):
                        prune_at = now + NOTHING_OLD_SECONDS
            await self._chain.pause(self._filling, POLL_SECONDS if depth else EMPTY_SECONDS)


async def _stop(receiver: Receiver, loop: ReceiverLoop) -> None:
    await loop.stop()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await receiver.close()
