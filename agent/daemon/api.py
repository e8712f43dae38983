"""The paths that the agent serves."""

from functools import cache
from html import escape
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import Field
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from flyball import __version__
from flyball.agent.daemon.api_models import (
    AlertAnswer,
    AlertHistoryAnswer,
    BatchSizeAnswer,
    CollectorAnswer,
    GpuAnswer,
    Refusal,
    ReloadAnswer,
    RunAnswer,
    StatusAnswer,
    TuningRequestAnswer,
)
from flyball.agent.daemon.openapi import openapi
from flyball.agent.daemon.paths import Parameter, Paths, json_response
from flyball.errors import StorageFailed

T = TypeVar("T")

_TITLE = "flyball agent"
_ACCEPT = Parameter(name="accept", where="header", kind=str)
_ACCEPT_ENCODING = Parameter(name="accept-encoding", where="header", kind=str)
_KEY = Parameter(name="key", where="path", kind=str)
_NUMBER = Parameter(name="number", where="path", kind=Annotated[int, Field(ge=1, lt=2**63)])
_NO_ADMIN = "switched off; set allow_admin: true"
_NO_DATABASE = "the database of alerts does not answer"
_NO_NUMBER = "no such number"


class Behind(Protocol):
    """What the paths ask; the daemon is one."""

    @property
    def allow_admin(self) -> bool:
        """Whether POST /-/reload works, and requests can be taken."""
        ...

    def unready(self) -> tuple[str, ...]:
        """Why the agent is not ready, one line each."""
        ...

    async def metrics(self, accept: str, accept_encoding: str) -> tuple[bytes, dict[str, str]]:
        """A scrape's body and headers."""
        ...

    def collectors(self) -> tuple[CollectorAnswer, ...]:
        """All collectors."""
        ...

    def gpus(self) -> tuple[GpuAnswer, ...]:
        """All GPUs."""
        ...

    async def runs(self) -> tuple[RunAnswer, ...] | None:
        """All ranks; None where the journals do not answer."""
        ...

    def status(self) -> StatusAnswer:
        """The agent itself."""
        ...

    async def reload(self) -> ReloadAnswer:
        """Read the configuration anew."""
        ...

    def alerts(self) -> tuple[AlertAnswer, ...]:
        """Pending and firing alerts."""
        ...

    async def alert(self, key: str) -> AlertHistoryAnswer | None:
        """An alert by number or fingerprint, with its deliveries. Raises StorageFailed."""
        ...

    async def tuning_requests(self) -> tuple[TuningRequestAnswer, ...]:
        """The newest requests. Raises StorageFailed."""
        ...

    async def tuning_request(self, number: int, *, take: bool = False) -> TuningRequestAnswer | None:
        """One request; with ``take`` only an open one, which is open no more. Raises StorageFailed."""
        ...

    def batch_sizes(self) -> tuple[BatchSizeAnswer, ...]:
        """What serving runs are advised."""
        ...


def make_api(behind: Behind) -> Starlette:
    """Return the application. Its pages load nothing from elsewhere."""
    paths = Paths()
    _add_probes(paths, behind)
    _add_answers(paths, behind)
    _add_alerts(paths, behind)
    return Starlette(
        routes=[*(one.route() for one in paths.served), *_pages(paths)],
        exception_handlers={HTTPException: _refuse, StorageFailed: _storage_failed},
    )


async def _refuse(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, HTTPException)
    answer = json_response(Refusal(detail=error.detail), error.status_code)
    answer.headers.update(error.headers or {})  # 405 says what is allowed
    return answer


async def _storage_failed(request: Request, error: Exception) -> Response:
    del request
    return json_response(Refusal(detail=str(error)), 503)


def _add_probes(paths: Paths, behind: Behind) -> None:
    accepted = (_ACCEPT, _ACCEPT_ENCODING)

    @paths.add("GET", "/metrics", "Prometheus text or OpenMetrics, as asked for.", parameters=accepted)
    async def metrics(request: Request) -> Response:
        body, headers = await behind.metrics(_ACCEPT.read(request), _ACCEPT_ENCODING.read(request))
        return Response(body, headers=headers)

    @paths.add("GET", "/-/healthy", "200 while the agent runs.")
    async def healthy(request: Request) -> PlainTextResponse:
        return PlainTextResponse("healthy\n")

    @paths.add("GET", "/-/ready", "503 with the reasons while not ready.", others={503: "not ready"})
    async def ready(request: Request) -> PlainTextResponse:
        lines = behind.unready()
        text = "".join(f"{line}\n" for line in lines) or "ready\n"
        return PlainTextResponse(text, status_code=503 if lines else 200)

    @paths.add(
        "POST",
        "/-/reload",
        "Read the configuration anew, where allow_admin is true.",
        refusals={403: _NO_ADMIN},
        others={400: "it cannot be used, and the old one stays"},
        status=lambda answer: 200 if answer.successful else 400,
    )
    async def reload(request: Request) -> ReloadAnswer:
        _need_admin(behind)
        return await behind.reload()


def _add_answers(paths: Paths, behind: Behind) -> None:
    @paths.add("GET", "/api/v1/status", "The agent itself.")
    async def status(request: Request) -> StatusAnswer:
        return behind.status()

    @paths.add("GET", "/api/v1/collectors", "The collectors and how they do.")
    async def collectors(request: Request) -> tuple[CollectorAnswer, ...]:
        return behind.collectors()

    @paths.add("GET", "/api/v1/gpus", "The GPUs, what is known of each, and the ranks there.")
    async def gpus(request: Request) -> tuple[GpuAnswer, ...]:
        return behind.gpus()

    silent = "the journals do not answer"

    @paths.add(
        "GET",
        "/api/v1/runs",
        "The ranks of the runs that are alive, from their journals.",
        refusals={503: silent},
    )
    async def runs(request: Request) -> tuple[RunAnswer, ...]:
        found = await behind.runs()
        if found is None:
            raise HTTPException(503, silent)
        return found


def _add_alerts(paths: Paths, behind: Behind) -> None:
    @paths.add("GET", "/api/v1/alerts", "The alerts that are pending or firing.")
    async def alerts(request: Request) -> tuple[AlertAnswer, ...]:
        return behind.alerts()

    @paths.add(
        "GET",
        "/api/v1/alerts/{key}",
        "One alert, by fingerprint or number, with its deliveries.",
        parameters=[_KEY],
        refusals={404: "no such alert", 503: _NO_DATABASE},
    )
    async def alert(request: Request) -> AlertHistoryAnswer:
        key = _KEY.read(request)
        return _found(await behind.alert(key), f"no alert {key}")

    @paths.add(
        "GET",
        "/api/v1/tuning_requests",
        "Runs that alerts say should be tuned, the newest first.",
        refusals={503: _NO_DATABASE},
    )
    async def tuning_requests(request: Request) -> tuple[TuningRequestAnswer, ...]:
        return await behind.tuning_requests()

    @paths.add(
        "GET",
        "/api/v1/tuning_requests/{number}",
        "One of them, for autotune --from-alert.",
        parameters=[_NUMBER],
        refusals={404: "no such tuning request", 422: _NO_NUMBER, 503: _NO_DATABASE},
    )
    async def tuning_request(request: Request) -> TuningRequestAnswer:
        number = _NUMBER.read(request)
        return _found(await behind.tuning_request(number), f"no tuning request {number}")

    @paths.add(
        "POST",
        "/api/v1/tuning_requests/{number}/take",
        "Begin with one, where allow_admin is true.",
        parameters=[_NUMBER],
        refusals={403: _NO_ADMIN, 404: "no open tuning request", 422: _NO_NUMBER, 503: _NO_DATABASE},
    )
    async def take(request: Request) -> TuningRequestAnswer:
        number = _NUMBER.read(request)
        _need_admin(behind)
        return _found(await behind.tuning_request(number, take=True), f"no open tuning request {number}")

    @paths.add("GET", "/api/v1/advice/batch_size", "The batch size that fits each serving run's queue.")
    async def batch_size(request: Request) -> tuple[BatchSizeAnswer, ...]:
        return behind.batch_sizes()


def _need_admin(behind: Behind) -> None:
    if not behind.allow_admin:
        raise HTTPException(403, _NO_ADMIN)


def _found(answer: T | None, otherwise: str) -> T:
    if answer is None:
        raise HTTPException(404, otherwise)
    return answer


def _pages(paths: Paths) -> list[Route]:
    @cache
    def document() -> dict[str, Any]:
        return openapi(paths, title=_TITLE, version=__version__)

    async def described(request: Request) -> Response:
        return json_response(document())

    async def page(request: Request) -> HTMLResponse:
        rows = "".join(
            f"<tr><td>{one.method}<td>{_link(one.method, one.path)}<td>{escape(one.summary)}"
            for one in paths.served
        )
        return HTMLResponse(
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{_TITLE}</title>'
            f"<h1>{_TITLE} {escape(__version__)}</h1><table>{rows}</table>"
            '<p>Described in full by <a href="/openapi.json">/openapi.json</a> (OpenAPI).</p></html>'
        )

    return [Route("/openapi.json", described), Route("/docs", page), Route("/", page)]


def _link(method: str, path: str) -> str:
    return f'<a href="{escape(path)}">{escape(path)}</a>' if method == "GET" else escape(path)
