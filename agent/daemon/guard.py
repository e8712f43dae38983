"""What every request passes before it is answered: the number of requests, credentials, the body's size."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Protocol

from flyball.agent.daemon.authentication import Authentication, Verdict

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Application(Protocol):
    """An ASGI application."""

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        ...


class Guard:
    """An ASGI application around another."""

    def __init__(
        self,
        application: Application,
        authentication: Authentication,
        *,
        max_requests: int,
        max_body_bytes: int,
        max_header_bytes: int,
        headers: Mapping[str, str],
    ) -> None:
        self._application, self._authentication = application, authentication
        self._max_requests, self._max_body_bytes = max_requests, max_body_bytes
        self._max_header_bytes = max_header_bytes
        self.headers = headers
        """Added to every answer, as the web configuration has them."""
        self._running = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        answer = self._with_headers(send)
        if self._running >= self._max_requests:
            await _refuse(answer, 503, "too many requests at one time")
            return
        # uvicorn looks only at what is incomplete when it arrives.
        if _header_bytes(scope) > self._max_header_bytes:
            await _refuse(answer, 431, f"request line and headers may have {self._max_header_bytes} bytes")
            return
        self._running += 1
        try:
            await self._guarded(scope, receive, answer)
        finally:
            self._running -= 1

    async def _guarded(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        given = dict(scope["headers"])
        if self._authentication.required:
            verdict = await self._authentication.verdict(given.get(b"authorization", b"").decode("latin-1"))
            if verdict is Verdict.BUSY:
                await _refuse(send, 503, "too many credentials wait to be verified")
                return
            if verdict is Verdict.REFUSED:
                challenge = [(b"www-authenticate", b'Basic realm="flyball", charset="UTF-8", Bearer')]
                await _refuse(send, 401, "credentials are needed", challenge)
                return
        body = await self._body(given, receive)
        if body is None:
            await _refuse(send, 413, f"a body may have {self._max_body_bytes} bytes")
            return
        await self._application(scope, _Replay(body, receive), send)

    async def _body(self, given: Mapping[bytes, bytes], receive: Receive) -> bytes | None:
        announced = given.get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > self._max_body_bytes:
            return None
        body: bytes = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > self._max_body_bytes:
                return None
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                return body

    def _with_headers(self, send: Send) -> Send:
        more = [(name.lower().encode(), value.encode("latin-1")) for name, value in self.headers.items()]

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *more]
            await send(message)

        return answer


class _Replay:
    """Hands the body on that was read already."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _header_bytes(scope: Mapping[str, Any]) -> int:
    target = len(scope.get("raw_path") or b"") + len(scope.get("query_string", b""))
    return target + sum(len(name) + len(value) for name, value in scope["headers"])


async def _refuse(
    send: Send, status: int, text: str, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    body = f"{text}\n".encode()
    start = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    # What is left of a refused body is not read.
    start += [(b"connection", b"close"), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
