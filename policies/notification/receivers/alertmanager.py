"""The receiver ``alertmanager``: posts to Alertmanagers what Prometheus would, and keeps doing so.

An Alertmanager forgets what it is not told again, and all of it when it is killed. Prometheus therefore
repeats every firing alert, and a resolved one for a quarter of an hour
(https://github.com/prometheus/prometheus/blob/main/rules/alerting.go, ``needsSending``, ``sendAlerts``).
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from flyball.history.alert_records import Alert, AlertStatus, Notification
from flyball.policies.notification.base import RESOLVED_SECONDS, Answer, Delivered, Gone, Refused, Retry
from flyball.policies.notification.receivers.body import filled, generator_url, rfc3339, starts_at
from flyball.policies.notification.receivers.posting import Heard, Poster
from flyball.policies.notification.receivers.registry import ReceiverType, Surroundings
from flyball.policies.notification.receivers.settings import HttpSettings
from flyball.policies.notification.receivers.web_address import WebAddress

PATH = "/api/v2/alerts"
_MOST_AT_ONCE = 64
"""Alerts in one post, as Prometheus' notifier has it."""
_MISSED = 4
"""Repeats that may fail before the Alertmanager takes a firing alert for resolved."""


class AlertmanagerSettings(HttpSettings):
    """Of a receiver of type ``alertmanager``."""

    type: Literal["alertmanager"] = Field(description="The kind of receiver.")
    urls: tuple[WebAddress, ...] = Field(
        min_length=1, max_length=16, description="Of the Alertmanagers of one cluster; each gets all alerts."
    )
    resend_seconds: float = Field(
        default=60.0, ge=1, le=3600, description="From one repeat of all firing alerts to the next."
    )
    private_network: bool = Field(
        default=True, description="Whether its address may be loopback or of a private network."
    )


class AlertmanagerReceiver:
    """Tells every Alertmanager of one cluster.

    Raises:
        OptionError: a file that the settings name cannot be used, with the key path and the mend.
    """

    def __init__(self, name: str, settings: AlertmanagerSettings, surroundings: Surroundings) -> None:
        self.name = name
        self._settings, self._surroundings = settings, surroundings
        self._posters = {url.below(PATH): Poster(name, settings, surroundings) for url in settings.urls}

    @property
    def heard(self) -> Heard | None:
        """What one of them said to the last try; None where none said anything."""
        return next((poster.heard for poster in self._posters.values() if poster.heard), None)

    async def send(self, notification: Notification) -> Answer:
        """Tell of one transition; the alert has arrived when one of them took it, the others get the repeat.

        Raises nothing but ``asyncio.CancelledError``.
        """
        return await self._tell((notification.alert,))

    async def resend(self, alerts: Iterable[Alert]) -> Answer:
        """Post the firing ones of ``alerts`` and those that resolved in the last quarter of an hour.

        Raises nothing but ``asyncio.CancelledError``.
        """
        now = self._surroundings.clock.time()
        known = [alert for alert in alerts if _counts(alert, now)]
        return await self._tell(known) if known else Delivered()

    async def keep(
        self,
        active: Callable[[], Sequence[Alert]],
        *,
        heard: Callable[[Answer], None] = lambda answer: None,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Repeat what is active, at once and every ``resend_seconds``, until cancelled.

        ``active`` and ``heard`` are those of :class:`~flyball.policies.notification.base.Repeater`; ``wait``
        waits for so many seconds.
        """
        while True:
            heard(await self.resend(active()))
            await wait(self._settings.resend_seconds)

    async def _tell(self, alerts: Sequence[Alert]) -> Answer:
        now = self._surroundings.clock.time()
        posted = [self._posted(alert, now) for alert in alerts]
        told = await asyncio.gather(
            *(self._post(url, poster, posted) for url, poster in self._posters.items())
        )
        return _together(list(self._posters), told)

    async def _post(self, url: WebAddress, poster: Poster, alerts: Sequence[dict[str, Any]]) -> Answer:
        answer: Answer = Delivered()
        for batch in _batches(alerts):
            answer = await poster.post(url, json.dumps(batch).encode("ascii"), {})
            if not isinstance(answer, Delivered):  # so the rest would fare, each after a timeout of its own
                break
        return answer

    def _posted(self, alert: Alert, now: float) -> dict[str, Any]:
        """Return ``postableAlert`` of the API's own description, api/v2/openapi.yaml."""
        longest = max(self._settings.resend_seconds, self._surroundings.evaluation_seconds)
        is_over = alert.status is AlertStatus.RESOLVED and alert.resolved_time is not None
        ends = alert.resolved_time if is_over else now + _MISSED * longest
        assert ends is not None
        return {
            "labels": filled(alert.labels),
            "annotations": dict(alert.annotations),
            "startsAt": rfc3339(starts_at(alert)),
            "endsAt": rfc3339(ends),
            "generatorURL": generator_url(self._surroundings.external_url, alert),
        }

    async def close(self) -> None:
        """Give back connections."""
        for poster in self._posters.values():
            await poster.close()

    def __repr__(self) -> str:
        return f"AlertmanagerReceiver({self.name!r}, {', '.join(map(str, self._settings.urls))})"


def _counts(alert: Alert, now: float) -> bool:
    if alert.status is AlertStatus.RESOLVED:
        return alert.resolved_time is not None and now - alert.resolved_time <= RESOLVED_SECONDS
    return alert.status is AlertStatus.FIRING


def _batches(alerts: Sequence[dict[str, Any]]) -> Iterator[Sequence[dict[str, Any]]]:
    for start in range(0, len(alerts), _MOST_AT_ONCE):
        yield alerts[start : start + _MOST_AT_ONCE]


def _together(urls: Sequence[WebAddress], answers: Sequence[Answer]) -> Answer:
    """Return one answer for all: taken where one took it, gone where all are."""
    said = "; ".join(
        f"{url}: {answer.detail}" for url, answer in zip(urls, answers, strict=True) if answer.detail
    )
    for kind in (Delivered, Retry, Refused, Gone):
        found = next((answer for answer in answers if isinstance(answer, kind)), None)
        if found is not None:
            return found if len(urls) == 1 else replace(found, detail=said)
    raise AssertionError("there is an answer for each URL, and at least one URL")


def make(name: str, settings: AlertmanagerSettings, surroundings: Surroundings) -> AlertmanagerReceiver:
    """As the registry calls it."""
    return AlertmanagerReceiver(name, settings, surroundings)


TYPE = ReceiverType(
    name="alertmanager",
    help="Alertmanagers of one cluster, told again and again as by Prometheus",
    settings=AlertmanagerSettings,
    make=make,
)
