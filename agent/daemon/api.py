"""The paths that the agent serves."""

from html import escape
from typing import Annotated, Protocol, TypeVar

from fastapi import FastAPI, Header, HTTPException
from fastapi import Path as PathPart
from fastapi.requests import Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from flyball import __version__
from flyball.agent.daemon.api_models import (
    AlertAnswer,
    AlertHistoryAnswer,
    BatchSizeAnswer,
    CollectorAnswer,
    GpuAnswer,
    ReloadAnswer,
    RunAnswer,
    StatusAnswer,
    TuningRequestAnswer,
)
from flyball.errors import StorageFailed

T = TypeVar("T")
RowNumber = Annotated[int, PathPart(ge=1, lt=2**63)]


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


def make_api(behind: Behind) -> FastAPI:
    """Return the application. Its pages load nothing from elsewhere."""
    api = FastAPI(
        title="flyball agent", version=__version__, docs_url=None, redoc_url=None, openapi_url="/openapi.json"
    )
    _add_probes(api, behind)
    _add_answers(api, behind)
    _add_alerts(api, behind)
    _add_pages(api)
    return api


def _add_probes(api: FastAPI, behind: Behind) -> None:
    @api.get("/metrics", response_class=Response, summary="Prometheus text or OpenMetrics, as asked for.")
    async def metrics(
        accept: Annotated[str, Header()] = "", accept_encoding: Annotated[str, Header()] = ""
    ) -> Response:
        body, headers = await behind.metrics(accept, accept_encoding)
        return Response(body, headers=headers)

    @api.get("/-/healthy", response_class=PlainTextResponse, summary="200 while the agent runs.")
    async def healthy() -> str:
        return "healthy\n"

    @api.get("/-/ready", response_class=PlainTextResponse, summary="503 with the reasons while not ready.")
    async def ready() -> PlainTextResponse:
        lines = behind.unready()
        text = "".join(f"{line}\n" for line in lines) or "ready\n"
        return PlainTextResponse(text, status_code=503 if lines else 200)

    @api.post("/-/reload", summary="Read the configuration anew, where allow_admin is true.")
    async def reload(response: Response) -> ReloadAnswer:
        if not behind.allow_admin:
            raise HTTPException(403, "switched off; set allow_admin: true")
        answer = await behind.reload()
        response.status_code = 200 if answer.successful else 400
        return answer


def _add_answers(api: FastAPI, behind: Behind) -> None:
    @api.get("/api/v1/status", summary="The agent itself.")
    async def status() -> StatusAnswer:
        return behind.status()

    @api.get("/api/v1/collectors", summary="The collectors and how they do.")
    async def collectors() -> tuple[CollectorAnswer, ...]:
        return behind.collectors()

    @api.get("/api/v1/gpus", summary="The GPUs, what is known of each, and the ranks there.")
    async def gpus() -> tuple[GpuAnswer, ...]:
        return behind.gpus()

    @api.get("/api/v1/runs", summary="The ranks of the runs that are alive, from their journals.")
    async def runs() -> tuple[RunAnswer, ...]:
        found = await behind.runs()
        if found is None:
            raise HTTPException(503, "the journals do not answer")
        return found


def _add_alerts(api: FastAPI, behind: Behind) -> None:
    @api.exception_handler(StorageFailed)
    async def storage_failed(request: Request, error: Exception) -> JSONResponse:
        del request
        return JSONResponse({"detail": str(error)}, status_code=503)

    @api.get("/api/v1/alerts", summary="The alerts that are pending or firing.")
    async def alerts() -> tuple[AlertAnswer, ...]:
        return behind.alerts()

    @api.get("/api/v1/alerts/{key}", summary="One alert, by fingerprint or number, with its deliveries.")
    async def alert(key: str) -> AlertHistoryAnswer:
        return _found(await behind.alert(key), f"no alert {key}")

    @api.get("/api/v1/tuning_requests", summary="Runs that alerts say should be tuned, the newest first.")
    async def tuning_requests() -> tuple[TuningRequestAnswer, ...]:
        return await behind.tuning_requests()

    @api.get("/api/v1/tuning_requests/{number}", summary="One of them, for autotune --from-alert.")
    async def tuning_request(number: RowNumber) -> TuningRequestAnswer:
        return _found(await behind.tuning_request(number), f"no tuning request {number}")

    @api.post("/api/v1/tuning_requests/{number}/take", summary="Begin with one, where allow_admin is true.")
    async def take(number: RowNumber) -> TuningRequestAnswer:
        if not behind.allow_admin:
            raise HTTPException(403, "switched off; set allow_admin: true")
        return _found(await behind.tuning_request(number, take=True), f"no open tuning request {number}")

    @api.get("/api/v1/advice/batch_size", summary="The batch size that fits each serving run's queue.")
    async def batch_size() -> tuple[BatchSizeAnswer, ...]:
        return behind.batch_sizes()


def _found(answer: T | None, otherwise: str) -> T:
    if answer is None:
        raise HTTPException(404, otherwise)
    return answer


def _add_pages(api: FastAPI) -> None:
    @api.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    @api.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> str:
        rows = "".join(
            f"<tr><td>{method.upper()}<td>{_link(method, path)}<td>{escape(one['summary'])}"
            for path, methods in api.openapi()["paths"].items()
            for method, one in methods.items()
        )
        return (
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>flyball agent</title>'
            f"<h1>flyball agent {escape(__version__)}</h1><table>{rows}</table>"
            '<p>Described in full by <a href="/openapi.json">/openapi.json</a> (OpenAPI).</p></html>'
        )


def _link(method: str, path: str) -> str:
    return f'<a href="{escape(path)}">{escape(path)}</a>' if method == "get" else escape(path)
