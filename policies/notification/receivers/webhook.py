"""The receiver ``webhook``: Alertmanager's body to any URL, signed by the Standard Webhooks convention."""

import base64
from typing import Literal

from pydantic import Field, model_validator

from flyball.history.alert_records import Notification
from flyball.policies.notification.base import Answer
from flyball.policies.notification.receivers.body import webhook_body
from flyball.policies.notification.receivers.posting import Heard, Poster, unreadable
from flyball.policies.notification.receivers.registry import ReceiverType, Surroundings
from flyball.policies.notification.receivers.secret_files import (
    SIGNING_PREFIX,
    SecretUnreadable,
    signing_secret,
)
from flyball.policies.notification.receivers.settings import FileWithSecret, HttpSettings
from flyball.policies.notification.receivers.signing import signed_headers
from flyball.policies.notification.receivers.web_address import WebAddress


class WebhookSettings(HttpSettings):
    """Of a receiver of type ``webhook``."""

    type: Literal["webhook"] = Field(description="The kind of receiver.")
    url: WebAddress | None = Field(
        default=None, description="Where to post; one that is a secret itself stands in url_file."
    )
    url_file: FileWithSecret | None = Field(default=None, description="File that holds the URL.")
    secret_files: tuple[FileWithSecret, ...] = Field(
        default=(), max_length=4, description="Files that hold a signing secret each; each signs."
    )
    unsigned: bool = Field(
        default=False, description="Whether nothing is signed, for a receiver that cannot verify."
    )

    @model_validator(mode="after")
    def _whole(self) -> "WebhookSettings":
        if (self.url is None) == (self.url_file is None):
            raise ValueError("has not exactly one address; name either url or url_file")
        if self.unsigned and self.secret_files:
            raise ValueError("is unsigned and has secret_files; take one of the two out")
        if not self.unsigned and not self.secret_files:
            raise ValueError("is not signed; name secret_files, or set unsigned: true if that is meant")
        return self


class WebhookReceiver:
    """Posts one notification at a time to one URL.

    Raises:
        OptionError: a file that the settings name cannot be used, with the key path and the mend.
    """

    def __init__(self, name: str, settings: WebhookSettings, surroundings: Surroundings) -> None:
        self.name = name
        self._url, self._surroundings = settings.url, surroundings
        self._url_file = settings.url_file and surroundings.secret(
            settings.url_file, web_address, name, "url_file"
        )
        self._secrets = tuple(
            surroundings.secret(path, signing_secret, name, "secret_files", str(index))
            for index, path in enumerate(settings.secret_files)
        )
        self._poster = Poster(name, settings, surroundings)

    @property
    def heard(self) -> Heard | None:
        """What the server said to the last try; None where it said nothing."""
        return self._poster.heard

    async def send(self, notification: Notification) -> Answer:
        """Try once. Raises nothing but ``asyncio.CancelledError``."""
        surroundings, alert = self._surroundings, notification.alert
        body = webhook_body(alert, receiver=self.name, external_url=surroundings.external_url)
        try:
            address = await self._address()
            secrets = [await secret.read() for secret in self._secrets]
        except SecretUnreadable as error:
            return unreadable(error)
        for secret in secrets:
            key = secret.removeprefix(SIGNING_PREFIX)
            self._poster.masking.add(secret, key, base64.b64decode(key))
        headers = signed_headers(
            webhook_id=notification.webhook_id, time=surroundings.clock.time(), body=body, secrets=secrets
        )
        return await self._poster.post(address, body, headers)

    async def _address(self) -> WebAddress:
        if self._url_file:
            return WebAddress.parse(await self._url_file.read())
        assert self._url is not None
        return self._url

    async def close(self) -> None:
        """Give back connections."""
        await self._poster.close()

    def __repr__(self) -> str:
        return f"WebhookReceiver({self.name!r}, {self._url or self._url_file})"


def web_address(text: str) -> str | None:
    """Check a URL in a file."""
    try:
        WebAddress.parse(text)
    except ValueError as error:
        return str(error)
    return None


def make(name: str, settings: WebhookSettings, surroundings: Surroundings) -> WebhookReceiver:
    """As the registry calls it."""
    return WebhookReceiver(name, settings, surroundings)


TYPE = ReceiverType(
    name="webhook", help="Alertmanager's body to a URL, signed", settings=WebhookSettings, make=make
)
