"""The agent's paths, through its own ASGI application."""

import asyncio
import base64
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import bcrypt
import httpx2
import jsonschema
import pytest
from tests.agent.daemon_fakes import InlineWorker, Lines
from tests.patience import PATIENCE_SECONDS

from flyball.agent.daemon import service
from flyball.agent.daemon.authentication import Authentication, Verdict
from flyball.agent.daemon.config_file import Effective, read_config
from flyball.agent.daemon.guard import Guard
from flyball.agent.daemon.service import Daemon
from flyball.agent.daemon.worker import ThreadWorker, Worker
from flyball.clock import SystemClock
from flyball.collectors import catalog
from flyball.collectors.base import CollectorFailed, Sample, Unavailable
from flyball.collectors.registry import CollectorSettings, CollectorType, Surroundings
from flyball.errors import OptionError

TOKEN = "0123456789abcdef0123"
HASH = bcrypt.hashpw(b"open sesame", bcrypt.gensalt(4)).decode()
GPU = ("here", "0", "GPU-0")


class Gpus:
    name = "gpus"

    def __init__(self, settings: CollectorSettings, surroundings: Surroundings) -> None:
        self.interval_seconds = settings.interval_seconds

    def collect(self) -> Iterable[Sample]:
        yield Sample(metric=catalog.GPU_POWER, labels=GPU, value=300.0, time=1.0)
        lost = Unavailable(reason="no_permission", detail="denied")
        yield Sample(metric=catalog.GPU_SM_UTILIZATION, labels=(*GPU, "gpm"), value=lost, time=1.0)
        joined = ("job", "3", "here", "0", "GPU-0", "stepping", "")
        yield Sample(metric=catalog.RUN_INFO, labels=joined, value=1.0, time=1.0)

    def close(self) -> None:
        return


class Broken(Gpus):
    name = "broken"

    def collect(self) -> Iterable[Sample]:
        raise CollectorFailed("gpu_lost", "it fell off the bus")


def types() -> Mapping[str, CollectorType]:
    made: dict[str, Any] = {"gpus": Gpus, "broken": Broken}
    return {
        name: CollectorType(name=name, help="A fake.", settings=CollectorSettings, make=kind)
        for name, kind in made.items()
    }


class Agent:
    """A daemon that is asked in process."""

    def __init__(self, folder: Path, text: str, workers: Callable[[str], Worker] | None = None) -> None:
        self.hangs: threading.Event | None = None
        self.reads = 0
        self.path, self.log = folder / "flyball.yaml", Lines()
        (folder / "token").write_text(TOKEN, "ascii")
        (folder / "web.yml").write_text(f"basic_auth_users:\n  me: {HASH}\n", "utf-8")
        self.write(text)
        self.workers: list[InlineWorker] = []
        self.daemon = Daemon(
            self.read(),
            read=self.read,
            config_file=self.path,
            clock=SystemClock(),
            log=self.log,
            make_worker=workers or self._worker,
        )

    def write(self, text: str) -> None:
        self.path.write_text("state_folder: state\nrun_folders: [runs]\n" + text, "utf-8")

    def read(self) -> Effective:
        if self.hangs is not None:
            self.reads += 1
            self.hangs.wait(PATIENCE_SECONDS)
        return read_config(self.path, types)

    def _worker(self, name: str) -> InlineWorker:
        self.workers.append(InlineWorker(name))
        return self.workers[-1]

    async def started(self) -> "Agent":
        self.daemon.start()
        while any(one.state.name == "starting" for one in self.daemon.collection.watched.values()):
            await asyncio.sleep(0)
        return self

    async def ask(self, path: str, method: str = "GET", **more: Any) -> httpx2.Response:
        transport = httpx2.ASGITransport(app=self.daemon.guard)
        async with httpx2.AsyncClient(transport=transport, base_url="http://agent") as client:
            return await client.request(method, path, **more)


QUIET = "collectors:\n  broken: {enabled: false}\n"


def ask(folder: Path, path: str, text: str = QUIET, method: str = "GET", **more: Any) -> httpx2.Response:
    async def once() -> httpx2.Response:
        agent = await Agent(folder, text).started()
        answer = await agent.ask(path, method, **more)
        await agent.daemon.stop()
        return answer

    return asyncio.run(once())


def test_metrics_are_the_readings_and_the_agents_own(tmp_path: Path) -> None:
    answer = ask(tmp_path, "/metrics")
    assert answer.status_code == 200
    lines = answer.text.splitlines()
    assert 'flyball_gpu_power_watts{gpu="0",host="here",uuid="GPU-0"} 300.0' in lines
    assert 'flyball_collector_up{collector="gpus",reason="no_permission"} 0.0' in lines
    assert "flyball_config_last_reload_successful 1.0" in lines
    assert not any(line.startswith("flyball_gpu_sm_utilization_ratio") for line in lines)
    assert any(line.startswith("process_open_fds ") for line in lines)


def test_openmetrics_is_given_where_it_is_asked_for(tmp_path: Path) -> None:
    answer = ask(tmp_path, "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")


def test_the_gpus_say_what_is_known_and_why_something_is_not(tmp_path: Path) -> None:
    (gpu,) = ask(tmp_path, "/api/v1/gpus").json()
    assert (gpu["host"], gpu["gpu"], gpu["uuid"]) == GPU
    assert gpu["ranks"] == [{"run": "job", "rank": "3", "phase": "stepping", "reason": ""}]
    assert gpu["metrics"] == [
        {"metric": "gpu_power_watts", "labels": {}, "value": 300.0, "reason": ""},
        {
            "metric": "gpu_sm_utilization_ratio",
            "labels": {"source": "gpm"},
            "value": None,
            "reason": "no_permission",
        },
    ]


def test_a_broken_collector_is_in_the_answers_and_only_a_required_one_ends_readiness(tmp_path: Path) -> None:
    assert ask(tmp_path, "/-/ready", "").status_code == 200
    required = "collectors:\n  broken: {required: true}\n"
    answer = ask(tmp_path, "/-/ready", required)
    assert (answer.status_code, answer.text) == (503, "broken: failing: gpu_lost\n")
    assert ask(tmp_path, "/-/healthy", required).text == "healthy\n"
    broken = ask(tmp_path, "/api/v1/collectors", required).json()[0]
    assert (broken["state"], broken["reason"], broken["detail"]) == (
        "failing",
        "gpu_lost",
        "it fell off the bus",
    )
    status = ask(tmp_path, "/api/v1/status", required).json()
    assert (status["ready"], status["unready"]) == (False, ["broken: failing: gpu_lost"])


def test_runs_are_a_list(tmp_path: Path) -> None:
    assert ask(tmp_path, "/api/v1/runs").json() == []


def test_every_path_is_in_the_openapi_page_and_the_page_loads_nothing(tmp_path: Path) -> None:
    paths = ask(tmp_path, "/openapi.json").json()["paths"]
    assert set(paths) == {
        "/metrics",
        "/-/healthy",
        "/-/ready",
        "/-/reload",
        "/api/v1/status",
        "/api/v1/collectors",
        "/api/v1/gpus",
        "/api/v1/runs",
        "/api/v1/alerts",
        "/api/v1/alerts/{key}",
        "/api/v1/tuning_requests",
        "/api/v1/tuning_requests/{number}",
        "/api/v1/tuning_requests/{number}/take",
        "/api/v1/advice/batch_size",
    }
    page = ask(tmp_path, "/docs").text
    assert all(path in page for path in paths)
    assert "script" not in page
    assert "http" not in page
    changing = [path for path, methods in paths.items() if set(methods) != {"get"}]
    assert changing == ["/-/reload", "/api/v1/tuning_requests/{number}/take"]


def test_every_answer_is_as_the_openapi_page_says(tmp_path: Path) -> None:
    document = ask(tmp_path, "/openapi.json").json()
    checked = 0
    for path, methods in document["paths"].items():
        content = methods.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        if "{" in path or not content:
            continue
        answer = ask(tmp_path, path)
        (media_type,) = content
        assert answer.headers["content-type"].partition(";")[0] == media_type
        if media_type == "application/json":
            schema = {**content[media_type]["schema"], "components": document["components"]}
            jsonschema.Draft202012Validator(schema).validate(answer.json())
            checked += 1
    assert checked == 7


def test_every_schema_that_the_openapi_page_names_is_there_and_no_operation_has_anothers_name(
    tmp_path: Path,
) -> None:
    answer = ask(tmp_path, "/openapi.json")
    document = answer.json()
    named = set(re.findall(r'"#/components/schemas/(\w+)"', answer.text))
    assert named == set(document["components"]["schemas"])
    operations = [one for methods in document["paths"].values() for one in methods.values()]
    assert len({one["operationId"] for one in operations}) == len(operations)
    for path, methods in document["paths"].items():
        (one,) = methods.values()
        parts = [each["name"] for each in one.get("parameters", ()) if each["in"] == "path"]
        assert parts == re.findall(r"{(\w+)}", path)


@pytest.mark.parametrize(
    ("method", "path", "status", "detail"),
    [
        ("GET", "/nowhere", 404, "Not Found"),
        ("POST", "/api/v1/status", 405, "Method Not Allowed"),
        ("GET", "/api/v1/alerts/cbf29ce484222325", 404, "no alert cbf29ce484222325"),
        ("GET", "/api/v1/tuning_requests/7", 404, "no tuning request 7"),
        ("GET", "/api/v1/tuning_requests/0", 422, "number: Input should be greater than or equal to 1"),
        ("POST", "/api/v1/tuning_requests/seven/take", 422, "number: Input should be a valid integer"),
        ("POST", "/api/v1/tuning_requests/7/take", 403, "switched off; set allow_admin: true"),
    ],
)
def test_what_is_refused_says_why(tmp_path: Path, method: str, path: str, status: int, detail: str) -> None:
    answer = ask(tmp_path, path, method=method)
    assert answer.status_code == status
    assert answer.json()["detail"].startswith(detail)
    assert ("allow" in answer.headers) is (status == 405)


def test_head_is_answered_as_get_is(tmp_path: Path) -> None:
    assert ask(tmp_path, "/metrics", method="HEAD").status_code == 200


def test_reload_is_off_unless_it_is_allowed(tmp_path: Path) -> None:
    assert ask(tmp_path, "/-/reload", method="POST").status_code == 403
    allowed = "allow_admin: true\nbearer_token_file: token\n"
    assert ask(tmp_path, "/-/reload", allowed, method="POST").status_code == 401
    bearer = {"authorization": f"Bearer {TOKEN}"}
    answer = ask(tmp_path, "/-/reload", allowed, method="POST", headers=bearer)
    assert (answer.status_code, answer.json()["successful"]) == (200, True)


def test_a_bad_reload_keeps_the_old_configuration_and_is_logged_once(tmp_path: Path) -> None:
    async def play() -> None:
        agent = await Agent(tmp_path, QUIET).started()
        agent.write("max_seris: 3\n")
        for _ in range(3):
            answer = await agent.daemon.reload()
            assert not answer.successful
        assert list(agent.daemon.collection.watched) == ["gpus"]
        assert "flyball_config_last_reload_successful 0.0" in (await agent.ask("/metrics")).text
        warnings = [line for line in agent.log.lines if line[0] == "configuration not taken over"]
        assert len(warnings) == 1
        assert "max_seris" in str(warnings[0][1]["error"])
        agent.write("max_connections: 9\ncollectors:\n  gpus: {enabled: false}\n")
        answer = await agent.daemon.reload()
        assert (answer.successful, answer.needs_restart) == (True, ("max_connections",))
        assert list(agent.daemon.collection.watched) == ["broken"]
        assert "flyball_config_last_reload_successful 1.0" in (await agent.ask("/metrics")).text
        await agent.daemon.stop()

    asyncio.run(play())


def test_a_file_system_that_hangs_holds_up_a_reload_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "READ_SECONDS", 0.05)
    answers = threading.Event()

    async def play() -> None:
        agent = await Agent(tmp_path, QUIET, workers=ThreadWorker).started()
        agent.hangs = answers
        agent.write("max_connections: 9\n" + QUIET)
        said = [(await agent.daemon.reload()).error for _ in range(2)]
        assert said == [
            f"{agent.path}: was not read within 0.05 s, or one of its files; {service._SEE_FILES}",
            f"{agent.path}: is still being read; {service._SEE_FILES}",
        ]
        page = (await agent.ask("/metrics")).text
        assert "flyball_config_last_reload_successful 0.0" in page
        assert "flyball_gpu_power_watts" in page
        monkeypatch.setattr(service, "READ_SECONDS", 10.0)
        answers.set()
        await asyncio.wait({agent.daemon._reading})  # type: ignore[type-var]
        assert (await agent.daemon.reload()).needs_restart == ("max_connections",)
        await agent.daemon.stop()

    asyncio.run(play())


def test_of_two_reloads_at_once_the_later_reads_what_it_was_asked_for(tmp_path: Path) -> None:
    async def play() -> None:
        agent = await Agent(tmp_path, QUIET, workers=ThreadWorker).started()
        agent.hangs = threading.Event()
        first = asyncio.create_task(agent.daemon.reload())
        second = asyncio.create_task(agent.daemon.reload())
        while not agent.reads:
            await asyncio.sleep(0)
        agent.write("max_connections: 9\n" + QUIET)
        agent.hangs.set()
        assert [one.successful for one in (await first, await second)] == [True, True]
        assert second.result().needs_restart == ("max_connections",)
        await agent.daemon.stop()

    asyncio.run(play())


def basic(name: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        (basic("me", "open sesame"), 200),
        (basic("me", "wrong"), 401),
        (basic("you", "open sesame"), 401),
        (basic("me", "a\0b"), 401),
        ({"authorization": "Basic ???"}, 401),
        ({"authorization": f"Bearer {TOKEN}"}, 200),
        ({"authorization": f"bearer  {TOKEN}"}, 200),
        ({"authorization": f"Bearer {TOKEN}x"}, 401),
        ({"authorization": "Bearer"}, 401),
    ],
)
def test_every_path_needs_credentials_where_there_are_any(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    text = "web_config_file: web.yml\nbearer_token_file: token\n"
    for path in ("/metrics", "/-/healthy", "/nowhere"):
        expected = 404 if status == 200 and path == "/nowhere" else status
        answer = ask(tmp_path, path, text, headers=headers)
        assert answer.status_code == expected
        assert ("www-authenticate" in answer.headers) is (status == 401)


def test_a_verified_password_is_not_verified_again_until_users_change() -> None:
    class Counting(InlineWorker):
        jobs = 0

        def submit(self, job: Callable[[], Any]) -> "asyncio.Future[Any]":
            self.jobs += 1
            return super().submit(job)

    async def play() -> None:
        worker = Counting("credentials")
        checks = Authentication({"me": HASH}, None, worker)
        right, wrong = basic("me", "open sesame")["authorization"], basic("me", "no")["authorization"]
        assert [await checks.verdict(right) for _ in range(3)] == [Verdict.GRANTED] * 3
        assert worker.jobs == 1
        assert [await checks.verdict(wrong) for _ in range(2)] == [Verdict.REFUSED] * 2
        assert worker.jobs == 3
        checks.change({}, TOKEN)
        assert await checks.verdict(right) is Verdict.REFUSED

    asyncio.run(play())


def test_a_flood_of_passwords_is_turned_away() -> None:
    async def play() -> None:
        worker = InlineWorker("credentials")
        worker.hold = True
        checks = Authentication({"me": HASH}, None, worker)
        asked = [
            asyncio.ensure_future(checks.verdict(basic("me", str(number))["authorization"]))
            for number in range(40)
        ]
        await asyncio.sleep(0)
        busy = [one for one in asked if one.done()]
        assert [one.result() for one in busy] == [Verdict.BUSY] * 24
        worker.let_go()
        assert set(await asyncio.gather(*asked)) == {Verdict.BUSY, Verdict.REFUSED}

    asyncio.run(play())


@pytest.mark.parametrize("announced", [True, False])
def test_a_large_body_is_refused_whether_announced_or_not(tmp_path: Path, announced: bool) -> None:
    async def chunks() -> Any:
        for _ in range(3):
            yield b"x" * 50

    content = b"x" * 150 if announced else chunks()
    text = f"{QUIET}max_body_bytes: 100\n"
    assert ask(tmp_path, "/-/healthy", text, method="POST", content=content).status_code == 413
    assert ask(tmp_path, "/-/healthy", text, method="POST", content=b"x" * 100).status_code == 405


def test_requests_past_the_limit_get_503_and_room_is_made_again() -> None:
    async def play() -> None:
        release, running = asyncio.Event(), 0

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            nonlocal running
            running += 1
            await release.wait()
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        checks = Authentication({}, None, InlineWorker("credentials"))
        guard = Guard(
            slow,
            checks,
            max_requests=2,
            max_body_bytes=0,
            max_header_bytes=4096,
            headers={"X-Frame-Options": "deny"},
        )
        transport = httpx2.ASGITransport(app=guard)
        async with httpx2.AsyncClient(transport=transport, base_url="http://agent") as client:
            waiting = [asyncio.ensure_future(client.get("/")) for _ in range(2)]
            while running < 2:
                await asyncio.sleep(0)
            refused = await client.get("/")
            assert refused.status_code == 503
            assert refused.headers["x-frame-options"] == "deny"
            release.set()
            assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [204, 204]
            assert (await client.get("/")).status_code == 204

    asyncio.run(play())


def test_allow_admin_without_credentials_is_refused(tmp_path: Path) -> None:
    async def play() -> None:
        Agent(tmp_path, "allow_admin: true\n")

    with pytest.raises(OptionError, match="is open to everybody"):
        asyncio.run(play())
