"""Raises and resolves alerts until all have come and gone and everybody was told.

python alert_storm.py DATABASE_URL RECEIVER_URL ALERTS CHANGES_PER_SECOND SEED

A stand-in for the daemon: a driver in the engine's place, before the real recorder, outbox and deliverer.
What there is to do it reads from the database alone, as the engine does after a restart: what was never
recorded is raised again.
"""

import asyncio
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeVar

import httpx2

from flyball.agent.daemon.logs import Lines
from flyball.database import open_database
from flyball.history.alert_log import AlertLog
from flyball.history.alert_records import Alert, AlertStatus, Notification, Transition
from flyball.history.mute_log import MuteLog
from flyball.history.outbox import Outbox
from flyball.policies.notification.backoff import Backoff
from flyball.policies.notification.base import Answer, Delivered, Retry
from flyball.policies.notification.deliverer import Deliverer, Target
from flyball.policies.notification.recorder import Recorder
from flyball.policies.notification.tally import Tally

T = TypeVar("T")
AGENT = "storm"
TICK_SECONDS = 0.02


class Http:
    """The least of a webhook: what is sent, and what the answer means."""

    name = "storm"

    def __init__(self, url: str) -> None:
        self._client, self._url = httpx2.AsyncClient(timeout=0.5), url

    async def send(self, notification: Notification) -> Answer:
        alert = notification.alert
        body = {
            "fingerprint": alert.fingerprint,
            "active_time": alert.active_time,
            "status": str(alert.status),
        }
        headers = {"webhook-id": notification.webhook_id}
        try:
            answer = await self._client.post(self._url, json=body, headers=headers)
        except httpx2.HTTPError as error:
            return Retry(reason="unreachable", detail=type(error).__name__)
        if answer.is_success:
            return Delivered(status=answer.status_code)
        return Retry(reason="status", detail="", status=answer.status_code)

    async def close(self) -> None:
        await self._client.aclose()


def recorded(log: AlertLog, count: int) -> dict[str, Alert | None]:
    """Where every alert stands, by what the database says."""
    known: dict[str, Alert | None] = dict.fromkeys(f"{number:016x}" for number in range(count))
    known.update({each.alert.fingerprint: each.alert for each in reversed(log.alerts())})
    return known


def changed(fingerprint: str, alert: Alert | None, now: float) -> Iterator[Alert]:
    """What an alert does next: it comes, or it goes."""
    if alert is None or alert.status is AlertStatus.PENDING:
        labels = {"alertname": "Storm", "severity": "warning", "gpu": fingerprint}
        began = alert or Alert(
            rule="Storm",
            labels=labels,
            fingerprint=fingerprint,
            annotations={},
            status=AlertStatus.PENDING,
            value=1.0,
            active_time=now,
        )
        yield began
        yield replace(began, status=AlertStatus.FIRING, fired_time=now)
    elif alert.status is AlertStatus.FIRING:
        yield replace(alert, status=AlertStatus.RESOLVED, resolved_time=now)


def is_over(alert: Alert | None) -> bool:
    return alert is not None and alert.status is AlertStatus.RESOLVED


async def drive(
    recorder: Recorder, known: Mapping[str, Alert | None], per_second: float, draw: random.Random
) -> None:
    """Evaluate many times a second, each time with some alerts changed."""
    alerts = dict(known)
    while left := [name for name, alert in alerts.items() if not is_over(alert)]:
        transitions = []
        for name in draw.sample(left, min(len(left), draw.randint(0, round(2 * per_second * TICK_SECONDS)))):
            for alert in changed(name, alerts[name], time.time()):
                alerts[name] = alert
                transitions.append(Transition(alert=alert, time=time.time()))
        recorder.submit(transitions, evaluated_time=time.time())
        await asyncio.sleep(TICK_SECONDS)


async def run(job: Callable[[], T], /) -> T:
    return await asyncio.to_thread(job)


async def main(database_url: str, receiver_url: str, count: int, per_second: float, seed: int) -> None:
    with open_database(database_url) as database:
        log, outbox, tally = AlertLog(database, agent=AGENT), Outbox(database, agent=AGENT), Tally()
        words = Lines()
        deliverer = Deliverer(
            log,
            outbox,
            MuteLog(database),
            run=run,
            log=words,
            tally=tally,
            # Lives of half a second leave no time for waits of minutes.
            backoff=Backoff(first_seconds=0.1, longest_seconds=1.0),
        )
        await deliverer.apply([Target(receiver=Http(receiver_url))])
        recorder = Recorder(
            log,
            receivers=lambda: deliverer.receivers,
            added=deliverer.wake,
            run=run,
            log=words,
            tally=tally,
        )
        recorder.start()
        await drive(recorder, recorded(log, count), per_second, random.Random(seed))
        while tally.unrecorded or await run(partial(outbox.depth)):
            await asyncio.sleep(TICK_SECONDS)
        await recorder.stop()
        await deliverer.stop()


if __name__ == "__main__":
    print("ready", flush=True)  # noqa: T201
    url, receiver, *numbers = sys.argv[1:]
    asyncio.run(main(url, receiver, int(numbers[0]), float(numbers[1]), int(numbers[2])))
