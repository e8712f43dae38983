"""The receiver ``apprise``: Slack, mail and the rest, by https://github.com/caronc/apprise.

It needs the extra ``flyball[apprise]``. Apprise makes its connections itself: what ``pinned.py`` refuses it
does not, so that its URL is a file of its own and never anybody's but the operator's.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from flyball.errors import OptionError
from flyball.history.alert_records import Alert, AlertStatus, Notification
from flyball.policies.notification.base import Answer, Delivered, Refused, Retry
from flyball.policies.notification.receivers.body import filled, generator_url
from flyball.policies.notification.receivers.posting import Heard, unreadable
from flyball.policies.notification.receivers.registry import ReceiverType, Surroundings
from flyball.policies.notification.receivers.secret_files import SecretUnreadable, one_word
from flyball.policies.notification.receivers.settings import FileWithSecret, ReceiverSettings
from flyball.policies.notification.receivers.side_thread import in_side_thread
from flyball.policies.rule import Severity

if TYPE_CHECKING:
    from apprise import NotifyType

_SILENT = logging.CRITICAL + 1
SEE = "https://github.com/caronc/apprise/wiki"


class AppriseSettings(ReceiverSettings):
    """Of a receiver of type ``apprise``."""

    type: Literal["apprise"] = Field(description="The kind of receiver.")
    url_file: FileWithSecret = Field(description="File that holds the service's URL, as Apprise writes it.")
    timeout_seconds: float = Field(default=30.0, ge=0.1, le=60, description="How long one try may take.")


class AppriseReceiver:
    """Sends a title and a text through one service.

    Raises:
        OptionError: Apprise is not installed, or the file holds no URL that it knows.
    """

    heard: Heard | None = None
    """Apprise does not hand on what a service said."""

    def __init__(self, name: str, settings: AppriseSettings, surroundings: Surroundings) -> None:
        self.name = name
        self._timeout_seconds, self._external_url = settings.timeout_seconds, surroundings.external_url
        where = surroundings.where(name, "url_file")
        try:
            import apprise  # noqa: F401
        except ImportError as error:
            mend = "install it with: pip install 'flyball[apprise]'"
            raise OptionError("Apprise is not installed", where=where, mend=mend) from error
        for library in ("apprise", "urllib3"):  # they log URLs, and what services answer
            logging.getLogger(library).setLevel(_SILENT)
        self._url = surroundings.secret(settings.url_file, service_url, name, "url_file")

    async def send(self, notification: Notification) -> Answer:
        """Try once. Raises nothing but ``asyncio.CancelledError``."""
        try:
            url = await self._url.read()
        except SecretUnreadable as error:
            return unreadable(error)
        service, alert = url.partition("://")[0], notification.alert
        mend = f"see why with the command apprise, and {SEE}"
        try:
            async with asyncio.timeout(self._timeout_seconds):
                sent = await in_side_thread(lambda: notify(url, alert, self._external_url))
        except TimeoutError:
            return Retry(reason="timeout", detail=f"{service}: not done within {self._timeout_seconds:g} s")
        except Exception as error:  # a plugin can raise anything; its words may hold the URL
            return Refused(reason="apprise_failed", detail=f"{service}: {type(error).__name__}; {mend}")
        if sent:
            return Delivered(detail=service)
        return Retry(reason="apprise_failed", detail=f"{service}: Apprise could not send; {mend}")

    async def close(self) -> None:
        """Hold nothing."""

    def __repr__(self) -> str:
        return f"AppriseReceiver({self.name!r}, {self._url})"


def service_url(text: str) -> str | None:
    """Check a URL of Apprise's; it connects to nothing."""
    from apprise import Apprise

    fault = one_word(text)
    if fault is None and not Apprise().add(text):
        return f"holds no URL that Apprise knows; see {SEE}"
    return fault


def notify(url: str, alert: Alert, external_url: str) -> bool:
    """Send, and return whether it was taken."""
    from apprise import Apprise

    service = Apprise()
    service.add(url)
    return bool(service.notify(title=title(alert), body=text(alert, external_url), notify_type=kind(alert)))


def title(alert: Alert) -> str:
    """Return one line, as in ``[FIRING] GpuLost (critical)``."""
    return f"[{alert.status.upper()}] {alert.rule} ({alert.severity or 'no severity'})"


def text(alert: Alert, external_url: str) -> str:
    """Return the annotations, the labels, and where to read on."""
    shown = {"alertname", "severity"}
    said = [value for name, value in alert.annotations.items() if value and name != "runbook_url"]
    labels = ", ".join(f"{name}={value}" for name, value in filled(alert.labels).items() if name not in shown)
    links = [alert.annotations.get("runbook_url", ""), generator_url(external_url, alert)]
    return "\n".join(line for line in (*said, labels, *links) if line)


def kind(alert: Alert) -> "NotifyType":
    """Return Apprise's colour."""
    from apprise import NotifyType

    if alert.status is AlertStatus.RESOLVED:
        return NotifyType.SUCCESS
    kinds = {Severity.CRITICAL: NotifyType.FAILURE, Severity.WARNING: NotifyType.WARNING}
    return next((found for severity, found in kinds.items() if severity == alert.severity), NotifyType.INFO)


def make(name: str, settings: AppriseSettings, surroundings: Surroundings) -> AppriseReceiver:
    """As the registry calls it."""
    return AppriseReceiver(name, settings, surroundings)


TYPE = ReceiverType(
    name="apprise", help="Slack, mail and the rest through Apprise", settings=AppriseSettings, make=make
)
