"""The paths that are served, each declared once: what answers, and what ``/openapi.json`` says of it."""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Ask = Callable[[Request], Awaitable[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """A part of a request that a path reads."""

    name: str
    where: Literal["path", "header"]
    kind: Any
    """A type that pydantic reads from text."""

    def read(self, request: Request) -> Any:
        """What the request has, or raise HTTPException 422; a header that it lacks is an empty text."""
        given = request.path_params if self.where == "path" else request.headers
        try:
            return TypeAdapter(self.kind).validate_python(given.get(self.name, ""))
        except ValidationError as error:
            raise HTTPException(422, f"{self.name}: {error.errors()[0]['msg']}") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """One path."""

    method: str
    path: str
    summary: str
    ask: Ask
    parameters: Sequence[Parameter]
    refusals: Mapping[int, str]
    """Why it refuses, by status; the body is a :class:`~flyball.agent.daemon.api_models.Refusal`."""
    others: Mapping[int, str]
    """What else than 200 an answer may come with, and why."""
    status: Callable[[Any], int] | None
    """Of an answer in JSON; None where it is always 200."""

    @property
    def kind(self) -> Any:
        """What it answers with, from the annotation: a Response, or what pydantic writes as JSON."""
        return inspect.get_annotations(self.ask)["return"]

    @property
    def is_text(self) -> bool:
        """Whether the answer is no JSON."""
        return inspect.isclass(self.kind) and issubclass(self.kind, Response)

    def route(self) -> Route:
        """Return what Starlette serves."""

        async def answer(request: Request) -> Response:
            answer = await self.ask(request)
            if isinstance(answer, Response):
                return answer
            return json_response(answer, 200 if self.status is None else self.status(answer))

        return Route(self.path, answer, methods=[self.method])


@dataclass(frozen=True, kw_only=True, slots=True)
class Paths:
    """All of them, in the order in which they were declared."""

    served: list[Served] = field(default_factory=list)

    def add(
        self,
        method: str,
        path: str,
        summary: str,
        *,
        parameters: Sequence[Parameter] = (),
        refusals: Mapping[int, str] | None = None,
        others: Mapping[int, str] | None = None,
        status: Callable[[Any], int] | None = None,
    ) -> Callable[[Ask], Ask]:
        """Declare a path; the decorated function answers it."""

        def take(ask: Ask) -> Ask:
            one = Served(
                method=method,
                path=path,
                summary=summary,
                ask=ask,
                parameters=parameters,
                refusals=refusals or {},
                others=others or {},
                status=status,
            )
            self.served.append(one)
            return ask

        return take


def json_response(answer: object, status: int = 200) -> Response:
    """Return an answer of pydantic's models, or of what JSON knows."""
    # JSON has no NaN.
    return Response(to_json(answer, inf_nan_mode="null"), status, media_type="application/json")
