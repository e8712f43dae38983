"""The daemon's alerts as one: what it is configured with, what it answers, and what it asks to be tuned."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from flyball.agent.daemon.alert_answers import alert_answers, history_answer, tuning_request_answer
from flyball.agent.daemon.alerting import Alerting, Known
from flyball.agent.daemon.api_models import AlertAnswer, AlertHistoryAnswer, TuningRequestAnswer
from flyball.agent.daemon.config_file import Effective
from flyball.agent.daemon.evaluation import Round
from flyball.agent.daemon.own_metrics import alert_samples
from flyball.agent.daemon.receivers_config import external_url, make_receivers
from flyball.agent.daemon.state_log import Log
from flyball.agent.daemon.store import Store
from flyball.agent.daemon.tuning_asks import Ask, TuningAsks, asks
from flyball.agent.daemon.worker import Worker
from flyball.clock import Clock
from flyball.collectors.base import Sample
from flyball.collectors.run_state import RankState
from flyball.errors import StorageFailed
from flyball.history.alert_records import Alert
from flyball.policies.notification.deliverer import Target

_MOST_REQUESTS = 100

Ranks = Callable[[], Awaitable[Sequence[RankState] | None]]
"""The ranks of this host; None where the journals do not answer."""


class AlertService:
    """Made and used in the event loop.

    Args:
        effective: the configuration to begin with.
        store: the readings.
        own: the agent's own metrics but those of its alerts.
        ranks: of this host.
        host: its name.
        clock: wall and monotonic time.
        log: where it says what happens.
        rules_worker: where the rules are evaluated.
        storage_worker: where the database is called.
        tried: whether every collector was asked once.
    """

    def __init__(
        self,
        effective: Effective,
        *,
        store: Store,
        own: Callable[[], Sequence[Sample]],
        ranks: Ranks,
        host: str,
        clock: Clock,
        log: Log,
        rules_worker: Worker,
        storage_worker: Worker,
        tried: Callable[[], bool],
    ) -> None:
        self._store, self._own, self._ranks = store, own, ranks
        self._host, self._clock, self._log = host, clock, log
        self._asks = TuningAsks(effective.config.tuning_request_seconds)
        self._asking: asyncio.Task[None] | None = None
        config = effective.config
        self._alerting = Alerting(
            effective.rules,
            store=store,
            own=lambda: (*self._own(), *self.samples()),
            database=config.database_url,
            clock=clock,
            log=log,
            rules_worker=rules_worker,
            storage_worker=storage_worker,
            tried=tried,
            rounded=self._rounded,
        )

    async def start(self, effective: Effective, *, port: int) -> None:
        """Begin. Raises DatabaseError, and OptionError for a receiver's file that cannot be used."""
        self._port = port
        await self._alerting.start(self.known(effective))

    def known(self, effective: Effective) -> dict[str, Known]:
        """The receivers of a configuration. Raises OptionError for a file that cannot be used."""
        tls = effective.web.tls_server_config is not None
        made = make_receivers(
            effective.receivers,
            clock=self._clock,
            external_url=external_url(effective.config, tls=tls, port=self._port),
            folder=effective.folder,
            warn=self._log.warning,
        )
        return {
            name: Known(
                target=Target(
                    receiver=receiver,
                    wants=settings.wants,
                    most_per_minute=None if settings.max_per_second is None else settings.max_per_second * 60,
                    give_up_after_seconds=settings.give_up_after_seconds,
                ),
                settings=settings,
            )
            for name, receiver in made.items()
            for settings in [effective.receivers[name]]
        }

    async def change(self, effective: Effective, known: dict[str, Known]) -> None:
        """Take over other rules and receivers."""
        await self._alerting.change(effective.rules)
        await self._alerting.tell(known)

    async def stop(self) -> None:
        """End within 4 s."""
        if self._asking is not None:
            self._asking.cancel()
        await self._alerting.stop()

    def wake(self) -> None:
        """There is something new to evaluate."""
        self._alerting.wake()

    def expect(self, *, in_rules_thread: bool) -> None:
        """A collection begins, in the thread where the rules are evaluated or in another one."""
        self._alerting.expect(in_rules_thread=in_rules_thread)

    def samples(self) -> list[Sample]:
        """What the agent says of its alerts."""
        alerting = self._alerting
        return list(alert_samples(alerting.tally, alerting.last_round, self._clock.time()))

    def alerts(self) -> tuple[AlertAnswer, ...]:
        """Pending and firing alerts."""
        return alert_answers(self._alerting.active())

    async def alert(self, key: str) -> AlertHistoryAnswer | None:
        """One alert with its deliveries. Raises StorageFailed."""
        found = await self._alerting.ask(lambda: self._alerting.alerts.show(key))
        return None if found is None else history_answer(found)

    async def tuning_requests(self) -> tuple[TuningRequestAnswer, ...]:
        """The newest requests. Raises StorageFailed."""
        found = await self._alerting.ask(lambda: self._alerting.requests.all(limit=_MOST_REQUESTS))
        return tuple(map(tuning_request_answer, found))

    async def tuning_request(self, number: int, *, take: bool) -> TuningRequestAnswer | None:
        """One request; with ``take`` an open one, which is open no more. Raises StorageFailed."""
        requests = self._alerting.requests
        found = await self._alerting.ask(lambda: requests.take(number) if take else requests.get(number))
        return None if found is None else tuning_request_answer(found)

    def _rounded(self, found: Round) -> None:
        if self._asking is None or self._asking.done():
            due = self._asks.due(found.active, found.time)
            if due:
                self._asking = asyncio.get_running_loop().create_task(self._hold(due))

    async def _hold(self, due: Sequence[Alert]) -> None:
        ranks = await self._ranks()
        if ranks is None:
            return  # the next round asks again
        made = asks(due, ranks, self._store, host=self._host)
        try:
            for ask in made:
                await self._alerting.ask(partial(self._add, ask))
        except StorageFailed:
            return
        for alert in due:
            self._asks.asked(alert)

    def _add(self, ask: Ask) -> None:
        request = self._alerting.requests.add(ask.alert, ask.run, ask.document)
        if request is not None:
            mend = f"autotune --from-alert http://.../api/v1/tuning_requests/{request.id}"
            self._log.info("tuning request held", alert=ask.alert.rule, run=ask.run, mend=mend)
