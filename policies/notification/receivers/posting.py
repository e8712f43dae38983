"""Posts with a receiver's own credentials, and makes an answer of whatever happens."""

from collections.abc import Mapping
from dataclasses import dataclass

from flyball import __version__
from flyball.policies.notification.base import Answer, Refused
from flyball.policies.notification.receivers.answers import judge, no_answer
from flyball.policies.notification.receivers.credentials import Credentials
from flyball.policies.notification.receivers.http import HttpAnswer, HttpClient, tls_context
from flyball.policies.notification.receivers.masking import Masking
from flyball.policies.notification.receivers.registry import Surroundings
from flyball.policies.notification.receivers.secret_files import SecretUnreadable
from flyball.policies.notification.receivers.settings import HttpSettings
from flyball.policies.notification.receivers.web_address import WebAddress

_HEADERS = {"Content-Type": "application/json", "User-Agent": f"flyball/{__version__}"}
_OF_INTEREST = ("content-type", "date", "location", "retry-after", "server")


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """What a server said, masked, for whoever tries a receiver out."""

    status: int
    headers: Mapping[str, str]
    """Those of interest, by name in small letters."""
    first_line: str
    """Of the body."""


class Poster:
    """Posts JSON to addresses with the headers and under the rules of ``settings``.

    Raises:
        OptionError: a file that the settings name cannot be used, with the key path and the mend.
    """

    def __init__(self, name: str, settings: HttpSettings, surroundings: Surroundings) -> None:
        self._clock, self._headers = surroundings.clock, {**_HEADERS, **settings.headers}
        self.masking = Masking()
        self.heard: Heard | None = None
        """What the server said to the last try; None where it said nothing."""
        self._credentials = Credentials(name, settings, surroundings)
        ca_file = settings.ca_file and surroundings.folder / settings.ca_file
        self._client = HttpClient(
            private_network=settings.private_network,
            timeout_seconds=settings.timeout_seconds,
            tls=tls_context(ca_file, where=surroundings.where(name, "ca_file")),
            resolve=surroundings.resolve,
        )

    async def post(self, address: WebAddress, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Try once. Raises nothing but ``asyncio.CancelledError``."""
        self.heard = None
        self.masking.add_url(str(address.url))
        try:
            own = await self._credentials.headers(self.masking)
            answer = await self._client.post(address, body, {**self._headers, **own, **headers})
        except SecretUnreadable as error:
            return unreadable(error)
        except Exception as error:  # whatever a network does, it is an answer
            return no_answer(error, masking=self.masking)
        self.heard = self._masked(answer)
        return judge(answer, now=self._clock.time(), masking=self.masking)

    def _masked(self, answer: HttpAnswer) -> Heard:
        said = {name: answer.headers[name] for name in _OF_INTEREST if name in answer.headers}
        return Heard(
            status=answer.status,
            headers={name: self.masking.first_line(value) for name, value in said.items()},
            first_line=self.masking.first_line(answer.body),
        )

    async def close(self) -> None:
        """Give back connections."""
        await self._client.close()


def unreadable(error: SecretUnreadable) -> Refused:
    """Return the answer where a secret cannot be read: somebody must mend the file."""
    return Refused(reason="secret_unreadable", detail=str(error))
