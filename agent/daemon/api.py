"""The paths that the agent serves."""

from html import escape
from typing import Annotated, Protocol

from fastapi import FastAPI, Header, HTTPException
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from flyball import __version__
from flyball.agent.daemon.api_models import (
    CollectorAnswer,
    GpuAnswer,
    ReloadAnswer,
    RunAnswer,
    StatusAnswer,
)


class Behind(Protocol):
    """What the paths ask; the daemon is one."""

    @property
    def allow_admin(self) -> bool:
        """Whether POST /-/reload works."""
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


def make_api(behind: Behind) -> FastAPI:
    """Return the application. Its pages load nothing from elsewhere."""
    api = FastAPI(
        title="flyball agent", version=__version__, docs_url=None, redoc_url=None, openapi_url="/openapi.json"
    )
    _add_probes(api, behind)
    _add_answers(api, behind)
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
