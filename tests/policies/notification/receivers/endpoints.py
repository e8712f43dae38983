"""Endpoints of every kind: each runs in the test's own event loop, on a port that the system gives."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


@dataclass
class Request:
    """What a client sent."""

    target: str
    headers: Mapping[str, str]
    body: bytes


Behaviour = Callable[[Writer, Request], Awaitable[None]]


@dataclass
class Endpoint:
    """A server on 127.0.0.1 that treats every request alike."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    connections: int = 0


@asynccontextmanager
async def endpoint(behaviour: Behaviour, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Endpoint]:
    """Serve until left; connections that are open then are cut."""
    here = Endpoint()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: Reader, writer: Writer) -> None:
        here.connections += 1
        try:
            while True:
                here.requests.append(await _read(reader))
                await behaviour(writer, here.requests[-1])
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the client has gone
        finally:
            writer.transport.abort()

    def accept(reader: Reader, writer: Writer) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    here.port = server.sockets[0].getsockname()[1]
    try:
        yield here
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def _read(reader: Reader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in head[1:] if line)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(target=head[0].split(" ")[1], headers=headers, body=body)


def answering(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    """Answer at once; ``_`` in the name of a header stands for a hyphen."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return sending(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body)


def sending(data: bytes) -> Behaviour:
    """Send these bytes and keep the connection open."""

    async def behave(writer: Writer, request: Request) -> None:
        writer.write(data)

    return behave


def echoing(status: int) -> Behaviour:
    """Send back, in body and headers, all that came but its body."""

    async def behave(writer: Writer, request: Request) -> None:
        heard = " ".join((request.target, *request.headers.values()))
        headers = {"Server": heard, "Location": f"https://other.example.org{request.target}/"}
        await answering(status, heard.encode("ascii"), **headers)(writer, request)

    return behave


async def garbling(writer: Writer, request: Request) -> None:
    """Send back what came where a status should be."""
    heard = " ".join((request.target, *request.headers.values()))
    writer.write(f"HTTP/1.1 {heard}\r\n\r\n".encode("ascii"))


def closing_after(data: bytes) -> Behaviour:
    """Send these bytes and close."""

    async def behave(writer: Writer, request: Request) -> None:
        writer.write(data)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        raise ConnectionResetError

    return behave


async def hanging(writer: Writer, request: Request) -> None:
    """Never answer."""
    await asyncio.Event().wait()


def dripping(head: bytes, seconds: float) -> Behaviour:
    """Send ``head``, and then one byte at a time for ever: no read takes longer than ``seconds``."""

    async def behave(writer: Writer, request: Request) -> None:
        writer.write(head)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(seconds)

    return behave


def pouring(counted: list[int], size: int) -> Behaviour:
    """Answer 200 with ``size`` bytes, as fast as the client takes them."""

    async def behave(writer: Writer, request: Request) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode("ascii"))
        block = b"x" * 65_536
        while sum(counted) < size:
            writer.write(block)
            await writer.drain()
            counted.append(len(block))

    return behave


def certificate(folder: Path, name: str, *names: str) -> Path:
    """Make a certificate of its own authority, valid for ``names``; the key stands beside it as ``.key``."""
    path = folder / f"{name}.crt"
    files = ["-keyout", str(path.with_suffix(".key")), "-out", str(path)]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    subject = ["-subj", "/CN=test", "-addext", "subjectAltName=" + ",".join(names), "-days", "2"]
    subprocess.run([*command, *files, *subject], check=True, capture_output=True)
    return path


def tls_of(certificate: Path) -> ssl.SSLContext:
    """What a server presents ``certificate`` with."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context


def resolving(*answers: Sequence[str]) -> "FakeResolver":
    """A resolver that gives one answer after the other, and the last for ever."""
    return FakeResolver(answers)


class FakeResolver:
    """Answers every name; remembers what it was asked."""

    def __init__(self, answers: Sequence[Sequence[str]]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
