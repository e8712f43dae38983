"""Alerts of the daemon: rules over the readings, recorded with what is told of them, and delivered."""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from flyball.agent.daemon.evaluation import Evaluation, Round
from flyball.agent.daemon.readings import Reading
from flyball.agent.daemon.state_log import Log
from flyball.agent.daemon.store import Store
from flyball.agent.daemon.worker import Worker
from flyball.clock import Clock
from flyball.collectors.base import Sample
from flyball.database import Database, open_database
from flyball.errors import StorageFailed
from flyball.history.alert_log import AlertLog
from flyball.history.alert_records import Alert, AlertStatus, Mute, Transition
from flyball.history.carrying_over import Carried
from flyball.history.lasting_database import LastingDatabase
from flyball.history.mute_log import MuteLog
from flyball.history.outbox import Outbox
from flyball.history.tuning_requests import TuningRequests
from flyball.policies.notification.base import RESOLVED_SECONDS, Delivered, Repeater
from flyball.policies.notification.deliverer import Deliverer, Target
from flyball.policies.notification.receivers.settings import ReceiverSettings
from flyball.policies.notification.recorder import Recorder
from flyball.policies.notification.tally import Tally
from flyball.policies.restart import ended
from flyball.policies.rule import Rule

T = TypeVar("T")

_GATHER_SECONDS = 0.05
"""From the first new reading of another thread to the round: collectors of one second are read at the same
moment."""
_LONGEST_SECONDS = 5.0
"""From one round to the next where no collector reads anything: ``for`` and what is absent go on."""
OWN_SECONDS = 5.0
"""From one reading of the agent's own metrics by the rules to the next."""
_MUTES_SECONDS = 5.0
_GO_ON = "the agent goes on by itself"
_MOST_RESOLVED = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """A receiver that the configuration names."""

    target: Target
    settings: ReceiverSettings


class Alerting:
    """Made and used in the event loop; ``start`` first.

    Args:
        rules: of the policies; none switch evaluation off.
        store: the readings.
        own: the agent's own metrics, as they are now.
        database: its URL.
        clock: wall and monotonic time.
        log: where it says what happens.
        rules_worker: where the rules are evaluated.
        storage_worker: where the database is called.
        tried: whether every source was asked once; before that nothing can be said to be absent.
        rounded: called after each round.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        *,
        store: Store,
        own: Callable[[], Sequence[Sample]],
        database: str,
        clock: Clock,
        log: Log,
        rules_worker: Worker,
        storage_worker: Worker,
        tried: Callable[[], bool] = lambda: True,
        rounded: Callable[[Round], None] = lambda _: None,
    ) -> None:
        self._store, self._own, self._url = store, own, database
        self._clock, self._log, self._rounded = clock, log, rounded
        self._tried = tried
        self._evaluation = Evaluation(rules, clock)
        self._rules, self._storage = rules_worker, storage_worker
        self._known: Mapping[str, Known] = {}
        self._mutes: Sequence[Mute] = ()
        self._resolved: deque[Alert] = deque(maxlen=_MOST_RESOLVED)
        self._keeping: list[asyncio.Task[None]] = []
        self._own_due = -math.inf
        self._next: asyncio.TimerHandle | None = None
        """When the next round begins; None while one is under way, before the start and after the end."""
        self._is_gathering = self._is_stopped = False
        self._following: asyncio.Handle | None = None
        self._follows = True
        """Whether all that begins now is read by the thread of the rules."""
        self._evaluated: Mapping[str, Reading] = {}
        """What the last round has seen."""
        self.tally = Tally()
        self.last_round: Round | None = None
        self._stood: tuple[Alert, ...] = ()
        self._database: LastingDatabase | None = None
        self._reconciling: asyncio.Task[None] | None = None

    async def start(self, known: Mapping[str, Known]) -> None:
        """Open the database, go on with what stood there, and begin.

        Raises:
            DatabaseError: it cannot be used.
        """
        loop = self._loop = asyncio.get_running_loop()

        def begun(carried: Carried | None) -> None:
            loop.call_soon_threadsafe(self._go_on, carried)

        database = self._database = await self._storage.submit(
            lambda: LastingDatabase(self._open, begun=begun, clock=self._clock)
        )
        self.alerts = AlertLog(database, clock=self._clock)
        self.outbox = Outbox(database, clock=self._clock)
        self.mutes = MuteLog(database, clock=self._clock)
        self.requests = TuningRequests(database, clock=self._clock)
        stood = await self.ask(self.alerts.open_alerts)
        last = await self.ask(self.alerts.last_heartbeat)
        self._stood = await self._rules.submit(lambda: self._evaluation.restore(stood, last))
        self._deliverer = Deliverer(
            self.alerts,
            self.outbox,
            self.mutes,
            run=self._storage.submit,
            log=self._log,
            tally=self.tally,
            clock=self._clock,
        )
        self._recorder = Recorder(
            self.alerts,
            receivers=lambda: self._deliverer.receivers,
            added=self._deliverer.wake,
            run=self._storage.submit,
            log=self._log,
            tally=self.tally,
            clock=self._clock,
        )
        await self.tell(known)
        self._recorder.start()
        self._schedule()

    def _open(self) -> Database:
        return open_database(self._url, migrate_apart=True, private=True, go_on=_GO_ON)

    def _go_on(self, carried: Carried | None) -> None:
        """Another database stands where the last one was: see that it holds what stands here."""
        self.tally.storage_failures += 1
        what = "the database of alerts was removed; another one goes on with "
        if carried is None:
            self._log.warning(
                f"{what}what fires, which is told once more", lost="mutes, history, what waited"
            )
        else:
            kept = {"alerts": carried.alerts, "waiting": carried.notifications, "mutes": carried.mutes}
            self._log.warning(f"{what}what is not over", lost="history of what is over", **kept)
        self._reconciling = self._loop.create_task(self._reconcile())

    async def _reconcile(self) -> None:
        """Record what stands; end what the database has of another time. Nothing is told twice."""
        found: Sequence[Alert] = ()
        with contextlib.suppress(StorageFailed):  # the recorder says it
            found = await self.ask(self.alerts.open_alerts)
        now, active = self._clock.time(), self.active()
        stands = {(alert.fingerprint, alert.active_time) for alert in active}
        over = [ended(alert, now) for alert in found if (alert.fingerprint, alert.active_time) not in stands]
        changes = [Transition(alert=alert, time=now) for alert in (*active, *over)]
        evaluated = now if self.last_round is None else self.last_round.time
        self._recorder.submit(changes, evaluated_time=evaluated, is_pending=_is_pending(active))
        self._deliverer.wake()

    def ask(self, job: Callable[[], T]) -> "asyncio.Future[T]":
        """Ask the database, in its thread. Raises StorageFailed."""
        return self._storage.submit(job)

    async def tell(self, known: Mapping[str, Known]) -> None:
        """Send to these receivers and to no others from now on."""
        self._known = known
        for task in self._keeping:
            task.cancel()
        if not known:
            mend = "name receivers in flyball.yaml, see docs/webhooks.md"
            self._log.warning("no receiver: alerts are recorded and sent to nobody", mend=mend)
        await self._deliverer.apply([one.target for one in known.values()])
        loop = asyncio.get_running_loop()
        self._keeping = [
            loop.create_task(receiver.keep(self._told_of(one.settings), heard=self._hear(name)))
            for name, one in known.items()
            if isinstance(receiver := one.target.receiver, Repeater)
        ]
        if self._keeping:  # other receivers' loops look at the mutes themselves
            self._keeping.append(loop.create_task(self._watch_mutes()))

    async def change(self, rules: Sequence[Rule]) -> None:
        """Take other rules; alerts of those that are gone end."""
        self._take(await self._rules.submit(lambda: self._evaluation.change(rules)))

    async def stop(self) -> None:
        """End within 4 s, with everything recorded that the database takes."""
        self._is_stopped = True
        if self._next is not None:
            self._next.cancel()
        tasks = [*self._keeping, *([self._reconciling] if self._reconciling else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._database is not None:
            await self._recorder.stop()
            await self._deliverer.stop()
            closing = self._storage.submit(self._database.close)
            await asyncio.wait({closing}, timeout=1.0)
        self._rules.stop()
        self._storage.stop()

    def wake(self) -> None:
        """There may be a new reading."""
        if self._next is not None and not self._is_gathering and self._has_news():
            self._next.cancel()
            self._schedule()

    def expect(self, *, in_rules_thread: bool) -> None:
        """A collection begins; where all that begin now are the rules' thread's, a round follows."""
        if self._next is None:
            return
        if self._following is None:
            self._following, self._follows = self._loop.call_soon(self._follow), True
        self._follows = self._follows and in_rules_thread

    def _follow(self) -> None:
        self._following = None
        if self._follows and self._next is not None:
            self._next.cancel()
            self._begin()

    def active(self) -> tuple[Alert, ...]:
        """Pending and firing, as of the last round; before the first one, those of the agent's last life."""
        return self.last_round.active if self.last_round is not None else self._stood

    # Callbacks and one timer instead of a task, as for the collectors: at rest there is a round each second.

    def _schedule(self) -> None:
        self._is_gathering = self._has_news()
        wait = _GATHER_SECONDS if self._is_gathering else _LONGEST_SECONDS
        self._next = self._loop.call_later(wait, self._begin)

    def _has_news(self) -> bool:
        now, seen = self._store.readings(), self._evaluated
        return now.keys() != seen.keys() or any(reading is not seen[name] for name, reading in now.items())

    def _begin(self) -> None:
        self._next = None
        if self.last_round is None and not self._tried():
            self._schedule()
            return
        self._rules.submit(partial(self._round, self._own_if_due())).add_done_callback(self._end)

    def _round(self, own: Sequence[Sample] | None) -> Round:
        """In the rules' thread, so that what was read there just now is seen."""
        self._evaluated = self._store.readings()
        return self._evaluation.round(self._evaluated, own)

    def _own_if_due(self) -> Sequence[Sample] | None:
        now = self._clock.monotonic()
        if now < self._own_due:
            return None
        self._own_due = now + OWN_SECONDS
        return self._own()

    def _end(self, answer: "asyncio.Future[Round]") -> None:
        if self._is_stopped or answer.cancelled():
            return
        self._schedule()
        try:
            self._take(answer.result())
        except Exception as error:  # a fault of ours in one round must not end all others
            self._log.warning("policies not evaluated", error=f"{type(error).__name__}: {error}")

    def _take(self, found: Round) -> None:
        self.last_round = found
        self._recorder.submit(
            found.transitions, evaluated_time=found.time, is_pending=_is_pending(found.active)
        )
        for transition in found.transitions:
            if transition.alert.status is AlertStatus.RESOLVED:
                self._resolved.append(transition.alert)
        self._rounded(found)

    async def _watch_mutes(self) -> None:
        while True:
            with contextlib.suppress(StorageFailed):  # the deliverer says it
                self._mutes = await self.ask(self.mutes.active)
            await asyncio.sleep(_MUTES_SECONDS)

    def _told_of(self, settings: ReceiverSettings) -> Callable[[], Sequence[Alert]]:
        def told() -> Sequence[Alert]:
            begin = self._clock.time() - RESOLVED_SECONDS
            firing = [alert for alert in self.active() if alert.status is AlertStatus.FIRING]
            over = [alert for alert in self._resolved if (alert.resolved_time or 0.0) >= begin]
            again = {alert.fingerprint for alert in firing}
            alerts = [*firing, *(alert for alert in over if alert.fingerprint not in again)]
            return [alert for alert in alerts if settings.wants(alert) and not self._is_muted(alert)]

        return told

    def _is_muted(self, alert: Alert) -> bool:
        return any(mute.matches(alert.labels) for mute in self._mutes)

    def _hear(self, name: str) -> Callable[[object], None]:
        def heard(answer: object) -> None:
            self.tally.notifications[name, "resent" if isinstance(answer, Delivered) else "not_resent"] += 1

        return heard


def _is_pending(active: Sequence[Alert]) -> bool:
    return any(alert.status is AlertStatus.PENDING for alert in active)
