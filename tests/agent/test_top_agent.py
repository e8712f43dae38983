"""``flyball top --url``: an agent's answers make the page that the machine itself makes."""

import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from tests.agent.top_fakes import FakeGpu, Machine, header, line, links, step

from flyball.agent.daemon.answers import gpu_answers, run_answers
from flyball.agent.daemon.api_models import CollectorAnswer, GpuAnswer, Missing, RunAnswer, StatusAnswer
from flyball.agent.daemon.exposition import Page, process_registry, render
from flyball.agent.daemon.readings import Reading, take
from flyball.agent.daemon.store import Store
from flyball.agent.top.agent_page import samples_of
from flyball.collectors.base import CollectorFailed
from flyball.collectors.registry import Surroundings

STATUS = StatusAnswer(
    version="0", host="node-7", pid=1, started=0.0, config_file=None, last_reload_successful=True,
    last_reload_error="", ready=True, unready=(),
)  # fmt: skip


class FakeAgent:
    """Serves what an agent beside a machine would; ``asked`` has the credentials that came."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[str] = []
        agent = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                agent.asked.append(self.headers.get("Authorization", ""))
                status, body = agent.answers.get(self.path, (404, b""))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def watch(self, machine: Machine) -> None:
        """Answer for a machine, as it is after a reading a second ago and one now."""
        clock, runs = machine.host.clock, machine.host.runs()
        around = Surroundings(host="node-7", clock=clock, runs=runs)
        usual = {name: kind for name, kind in machine.types().items() if kind.settings().enabled}
        made = {name: kind.make(kind.settings(), around) for name, kind in usual.items()}
        store, states = Store(), list[CollectorAnswer]()
        for again in (False, True):
            for name, collector in made.items():
                try:
                    reading = take(collector.collect(), max_series=10**6, elapsed=lambda: 0.0)
                except CollectorFailed as error:
                    states += [state(name, error)] if again else []
                else:
                    store.put(name, reading)
                    states += [state(name, reading)] if again else []
            clock.advance(0.0 if again else 1.0)
        page, _ = render(Page(tuple(store), (), process_registry()), accept="", accept_encoding="")
        answers = run_answers(runs.refresh(), time=clock.time(), monotonic=clock.monotonic())
        self.answers = {
            "/api/v1/status": (200, STATUS.model_dump_json().encode()),
            "/api/v1/collectors": (200, TypeAdapter(list[CollectorAnswer]).dump_json(states)),
            "/api/v1/gpus": (200, TypeAdapter(tuple[GpuAnswer, ...]).dump_json(gpu_answers(store))),
            "/api/v1/runs": (200, TypeAdapter(tuple[RunAnswer, ...]).dump_json(answers)),
            "/metrics": (200, page),
        }
        for collector in made.values():
            collector.close()
        runs.close()


def state(name: str, found: Reading | CollectorFailed) -> CollectorAnswer:
    failed = isinstance(found, CollectorFailed)
    missing = () if isinstance(found, CollectorFailed) else found.unavailable
    return CollectorAnswer(
        name=name,
        state="failing" if failed else "up",
        reason=found.reason if isinstance(found, CollectorFailed) else "",
        detail=found.detail if isinstance(found, CollectorFailed) else "",
        since=0.0,
        required=False,
        interval_seconds=1.0,
        duration_seconds=0.0,
        series=0,
        unavailable=tuple(Missing(reason=each.reason, detail=each.detail) for each in missing),
        failures={},
    )


@pytest.fixture
def agent() -> Iterator[FakeAgent]:
    agent = FakeAgent()
    yield agent
    agent.close()


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("platform.node", lambda: "node-7")


def documents(machine: Machine, agent: FakeAgent) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """What --json says by itself and by way of the agent; times and the driver are left out."""
    found = []
    for options in ((), ("--url", agent.url)):
        status, out, err = machine.top("--once", "--json", *options, runs=not options)
        assert (status, err) == (0, "")
        document = json.loads(out)
        del document["time"]
        document["host"].pop("driver")
        document["host"].pop("cpu_ratio")
        document["missing"] = [each for each in document["missing"] if each["what"] != "cpu"]
        for run in document["runs"]:
            del run["phase_seconds"]
        found.append(document)
    return found[0], found[1]


@pytest.mark.parametrize("count", [0, 3])
def test_the_agents_view_is_the_machines_own(tmp_path: Path, agent: FakeAgent, count: int) -> None:
    machine = Machine(tmp_path, *(FakeGpu(uuid=f"GPU-{index}") for index in range(count)))
    if count:
        machine.nvml.gpus[1].gpm_supported = False
    machine.write_run("nightly", 0.25, 0.3, world_size=4)
    machine.host.write(links(3.0, (0, 1), (1, 0)), run="nightly")
    machine.host.write(header(world_size=1) + step(1, loss=float("nan"), memory={"rss": 1}), run="alone")
    machine.host.write(header(world_size=1, purpose="trial") + step(1), run="trial")
    machine.host.write(header(world_size=1) + step(1) + line("end", 1.0, steps=1, reason="exit"), run="over")
    agent.watch(machine)
    own, told = documents(machine, agent)
    assert told == own
    assert len(told["runs"]) == 3  # type: ignore[arg-type]


def test_credentials_are_sent_as_they_were_given(tmp_path: Path, agent: FakeAgent) -> None:
    machine = Machine(tmp_path)
    agent.watch(machine)
    (tmp_path / "token").write_text("0123456789abcdef0123\n", "ascii")
    token = str(tmp_path / "token")
    assert machine.top("--once", "--url", agent.url, "--bearer-token-file", token, runs=False)[0] == 0
    assert set(agent.asked) == {"Bearer 0123456789abcdef0123"}
    agent.asked.clear()
    url = agent.url.replace("://", "://me:open%20sesame@")
    assert machine.top("--once", "--url", url, runs=False)[0] == 0
    assert set(agent.asked) == {"Basic bWU6b3BlbiBzZXNhbWU="}


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({"/api/v1/status": (401, b"")}, "it wants credentials: --bearer-token-file, or a user and password"),
        ({"/api/v1/status": (404, b"")}, "status 404: no agent, or another version of it"),
        ({"/api/v1/status": (200, b"<html>")}, "it answers as no agent of this version does"),
    ],
)
def test_who_is_no_agent_is_refused_in_one_line(
    tmp_path: Path, agent: FakeAgent, answers: dict[str, tuple[int, bytes]], error: str
) -> None:
    agent.answers = answers
    status, out, err = Machine(tmp_path).top("--once", "--url", agent.url, runs=False)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: --url: {agent.url}: {error}")
    assert err.endswith("; start `flyball agent` there, or leave out --url: this machine needs none\n")


@pytest.mark.parametrize(
    ("path", "answer", "reason"),
    [
        ("/api/v1/runs", (200, b"[{}]"), "agent of another version: ValidationError"),
        ("/metrics", (200, b'flyball_loss{run="a" 1'), "agent of another version: ValueError"),
        ("/metrics", (503, b""), "agent gone: it is too busy"),
    ],
)
def test_an_agent_that_fails_later_leaves_its_reason_and_no_value(
    tmp_path: Path, agent: FakeAgent, path: str, answer: tuple[int, bytes], reason: str
) -> None:
    machine = Machine(tmp_path)
    machine.write_run("job", 0.25, 0.25)
    agent.watch(machine)
    agent.answers[path] = answer
    status, out, _ = machine.top("--once", "--url", agent.url, runs=False)
    assert status == 0
    assert f"- everything: {reason}" in out
    assert "cpu -  memory - GiB  load -" in out
    assert not [word for word in ("job", "no run", "no GPU") if word in out]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--url", "localhost:19753"), "--url: localhost:19753 is no address of an agent; write it as in"),
        (("--url", "http://me:pw@:1"), "--url: http://me:***@:1 is no address of an agent; write it as in"),
        (("--bearer-token-file", "t"), "--url: t is for an agent; name the agent with --url"),
        (
            ("--url", "http://h", "--runs", "."),
            "--runs: an agent has run folders of its own; leave out --runs",
        ),
        (
            ("--url", "http://h", "--bearer-token-file", "/no"),
            "--bearer-token-file: /no cannot be read; name",
        ),
        (("--url", "https://h", "--ca-file", "/no"), "--ca-file: /no: No such file or directory; name a PEM"),
    ],
)
def test_bad_options_are_one_line(tmp_path: Path, options: tuple[str, ...], error: str) -> None:
    status, out, err = Machine(tmp_path).top("--once", *options, runs=False)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: {error}")


def test_a_histogram_with_other_buckets_is_left_out() -> None:
    page = 'flyball_step_seconds_bucket{run="a",rank="0",le="+Inf"} 3\nflyball_step_seconds_sum{run="a"} 1\n'
    assert list(samples_of(page, time=0.0)) == []


def test_an_agent_that_says_odd_things_is_no_internal_error(tmp_path: Path, agent: FakeAgent) -> None:
    machine = Machine(tmp_path, FakeGpu(uuid="GPU-0"))
    machine.write_run("job", 0.25, 0.25)
    agent.watch(machine)
    odd = (
        'flyball_run_info{run="me",rank="x",reason="not_probed"} 1\nflyball_loss{run="job",rank="\u00b2"} 1\n'
        'flyball_gpu_power_watts{gpu="x/y",uuid=""} 1\nflyball_straggler_ratio 1\n'
    )
    agent.answers["/metrics"] = (200, agent.answers["/metrics"][1] + odd.encode())
    status, out, err = machine.top("--once", "--url", agent.url, runs=False)
    assert (status, err) == (0, "")
    assert "job  stepping" in out
    agent.answers["/metrics"] = (200, b'flyball_gpu_xid_errors_total{gpu="0",uuid="GPU-0",xid="79"} +Inf\n')
    assert "agent of another version" in machine.top("--once", "--url", agent.url, runs=False)[1]
