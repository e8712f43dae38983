"""A receiver's own headers that carry secrets, read from their files for each try."""

import base64
from collections.abc import AsyncIterator

from flyball.policies.notification.receivers.masking import Masking
from flyball.policies.notification.receivers.registry import Surroundings
from flyball.policies.notification.receivers.secret_files import one_word
from flyball.policies.notification.receivers.settings import HttpSettings


class Credentials:
    """Headers made of secrets.

    Raises:
        OptionError: a file cannot be used, with the key path of its setting and the mend.
    """

    def __init__(self, name: str, settings: HttpSettings, surroundings: Surroundings) -> None:
        token, password = settings.bearer_token_file, settings.basic_auth_password_file
        self._user = settings.basic_auth_user or ""
        self._token = token and surroundings.secret(token, one_word, name, "bearer_token_file")
        self._password = password and surroundings.secret(
            password, one_word, name, "basic_auth_password_file"
        )
        self._others = {
            header: surroundings.secret(path, one_word, name, "header_files", header)
            for header, path in settings.header_files.items()
        }

    async def headers(self, masking: Masking) -> dict[str, str]:
        """Return the headers, and let ``masking`` know their secrets. Raises SecretUnreadable."""
        return {name: value async for name, value in self._headers(masking)}

    async def _headers(self, masking: Masking) -> AsyncIterator[tuple[str, str]]:
        if self._token:
            token = await self._token.read()
            masking.add(token)
            yield "Authorization", f"Bearer {token}"
        if self._password:
            password = await self._password.read()
            both = base64.b64encode(f"{self._user}:{password}".encode()).decode("ascii")
            masking.add(password, both)
            yield "Authorization", f"Basic {both}"
        for header, secret in self._others.items():
            value = await secret.read()
            # Also without a scheme in front, as in "Bearer ...": the other side may say either.
            masking.add(value, value.rpartition(" ")[2])
            yield header, value
