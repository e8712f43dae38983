"""The hook that a serving loop polls: a real HTTP server, a clock set by hand, threads where one is meant."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from tests.collectors.journal_fakes import FakeClock
from tests.patience import PATIENCE_SECONDS
from tests.runner.probe_fakes import read, watched
from tests.runner.test_probe_install import Run, journal, run
from werkzeug import Request, Response

import flyball
from flyball.clock import SystemClock
from flyball.collectors.runs import Runs
from flyball.runner.advice import DEFAULT_URL, PATH, BatchSize
from flyball.settings import AGENT_PORT

__all__ = ["run"]

OURS = Path(flyball.__file__).parents[1]

ANSWER = [
    {"run": "other", "batch_size": 64, "queue_length": 8, "time": 1.0},
    {"run": "job", "batch_size": 160, "queue_length": 20, "time": 1.0},
]


def unasked(_: Callable[[], None]) -> None:
    pass


class Bench:
    """A hook whose background is called by hand."""

    def __init__(self, url: str, **options: Any) -> None:
        self.clock = FakeClock()
        self.hook = BatchSize(
            url=url, clock=self.clock.monotonic, background=unasked, **{"run": "job", **options}
        )

    def poll(self) -> int:
        return self.hook.poll(default=7)


@pytest.fixture
def bench(httpserver: HTTPServer) -> Bench:
    return Bench(httpserver.url_for(""))


def test_the_advice_of_its_run_is_taken_and_lasts_ten_seconds(bench: Bench, httpserver: HTTPServer) -> None:
    httpserver.expect_ordered_request(PATH).respond_with_json(ANSWER)
    assert bench.poll() == 7
    bench.hook.refresh()
    assert bench.poll() == 160
    httpserver.expect_ordered_request(PATH).respond_with_data("down", status=503)
    bench.clock.advance(10.0)
    bench.hook.refresh()
    assert bench.poll() == 160
    bench.clock.advance(0.5)
    assert bench.poll() == 7
    httpserver.expect_ordered_request(PATH).respond_with_json(ANSWER)
    bench.hook.refresh()
    assert bench.poll() == 160


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff",
        b"null",
        b"7",
        b"{}",
        b"[7]",
        b"[{}]",
        b'[{"run": "other", "batch_size": 64}]',
        b'[{"run": "job", "batch_size": "64"}]',
        b'[{"run": "job", "batch_size": true}]',
        b'[{"run": "job", "batch_size": 0}]',
        b'[{"run": "job", "batch_size": -1}]',
        b'[{"run": "job", "batch_size": 1.5}]',
        b'[{"run": "job", "batch_size": NaN}]',
        b"[" * 100_000,
        b" " * (1 << 20) + b"[]",
    ],
)
def test_nonsense_is_no_advice(bench: Bench, httpserver: HTTPServer, body: bytes) -> None:
    httpserver.expect_request(PATH).respond_with_data(body)
    bench.hook.refresh()
    assert bench.poll() == 7


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nowhere", "http://[", "file:///etc/passwd"])
def test_where_no_agent_is_the_default_holds(url: str) -> None:
    bench = Bench(url)
    bench.hook.refresh()
    assert bench.poll() == 7


def test_a_token_is_sent_and_no_proxy_stands_between(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    httpserver.expect_request(PATH, headers={"Authorization": "Bearer t0ken"}).respond_with_json(ANSWER)
    bench = Bench(httpserver.url_for("") + "/", token="t0ken")
    bench.hook.refresh()
    assert bench.poll() == 160


def test_the_default_is_this_machines_agent() -> None:
    assert DEFAULT_URL.endswith(f":{AGENT_PORT}")


def test_polling_waits_for_no_answer(httpserver: HTTPServer) -> None:
    asked, goes_on, answered = threading.Event(), threading.Event(), threading.Event()

    def late(_: Request) -> Response:
        asked.set()
        goes_on.wait(PATIENCE_SECONDS)
        return Response(json.dumps(ANSWER))

    httpserver.expect_request(PATH).respond_with_handler(late)

    def once(refresh: Callable[[], None]) -> None:
        threading.Thread(target=lambda: (refresh(), answered.set()), daemon=True).start()

    hook = BatchSize(run="job", url=httpserver.url_for(""), background=once)
    assert hook.poll(default=7) == 7
    assert asked.wait(PATIENCE_SECONDS)
    assert hook.poll(default=7) == 7
    goes_on.set()
    assert answered.wait(PATIENCE_SECONDS)
    assert hook.poll(default=7) == 160


def test_its_own_thread_asks_by_itself(httpserver: HTTPServer) -> None:
    asked = threading.Event()

    def answer(_: Request) -> Response:
        asked.set()
        return Response(json.dumps(ANSWER))

    httpserver.expect_request(PATH).respond_with_handler(answer)
    # In a process of its own: the thread ends with it.
    code = (
        "import sys; from flyball.runner.advice import BatchSize\n"
        "hook = BatchSize(run='job', url=sys.argv[1])\n"
        "while hook.poll(default=7) == 7: pass\n"
        "print(hook.poll(default=7))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, httpserver.url_for("")],
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("160\n", "")
    assert asked.is_set()


def test_a_forked_child_asks_anew(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Callable[[], None]] = []
    hook = BatchSize(run="job", url=httpserver.url_for(""), background=started.append)
    hook.poll(default=7)
    hook.poll(default=7)
    assert len(started) == 1
    monkeypatch.setattr("os.getpid", lambda: -1)
    hook.poll(default=7)
    assert len(started) == 2


def test_a_machine_without_threads_left_serves_on() -> None:
    def fails(_: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    assert BatchSize(run="job", background=fails).poll(default=7) == 7


def test_the_queue_is_written_at_most_once_a_second_and_the_newest_is_not_lost(
    bench: Bench, tmp_path: Path
) -> None:
    with watched(tmp_path):
        for length in (1, 2, 3):
            bench.hook.report(queue_length=length, running=length * 10)
        bench.hook.refresh()
        bench.hook.refresh()
        bench.clock.advance(1.0)
        bench.hook.report(queue_length=0)
    records = [(each["queue_length"], each["running"]) for each in read(tmp_path).of_kind("queue")]
    assert records == [(1, 10), (3, 30), (0, None)]


@pytest.mark.parametrize("wrong", [-1, 1.5, "7", None, True, 2**60])
def test_a_wrong_length_is_dropped(bench: Bench, tmp_path: Path, wrong: Any) -> None:
    with watched(tmp_path):
        bench.hook.report(queue_length=wrong)
        bench.hook.report(queue_length=1, running=wrong if wrong is not None else -1)
    assert not (tmp_path / "rank-0.jsonl").read_bytes()


def test_without_a_probe_nothing_is_written(bench: Bench) -> None:
    bench.hook.report(queue_length=3)
    bench.hook.refresh()
    assert bench.poll() == 7


def test_the_run_is_the_probes_where_none_is_named(httpserver: HTTPServer, tmp_path: Path) -> None:
    httpserver.expect_request(PATH).respond_with_json(ANSWER)
    bench = Bench(httpserver.url_for(""), run=None)
    with watched(tmp_path, run="job"):
        bench.hook.refresh()
    assert bench.poll() == 160


SERVE = """
from flyball.runner.advice import BatchSize
hook = BatchSize(url="http://127.0.0.1:1")
hook.report(queue_length=12, running=30)
"""


def test_a_loop_without_an_engine_becomes_a_run_that_the_agent_knows(run: Run, tmp_path: Path) -> None:
    done = run(SERVE, path=(OURS,), purpose="run", environment={"WORLD_SIZE": "2", "RANK": "0"})
    assert (done.returncode, done.stderr) == (0, "")
    found = journal(tmp_path)
    assert [each["kind"] for each in found.records] == ["header", "queue", "end"]
    header = found.header
    assert header is not None
    assert (header["run"], header["rank"], header["world_size"], header["engine"]) == ("r1", 0, 2, None)
    assert header["command"] == [sys.executable, str(tmp_path / "user" / "script.py")]
    (state,) = Runs([tmp_path], clock=SystemClock(), host=header["host"]).refresh()
    assert (state.run, state.queue_length, state.running_requests) == ("trial", 12, 30)
    assert state.torn_lines == 0


def test_a_trial_without_an_engine_tells_no_queue(run: Run, tmp_path: Path) -> None:
    assert run(SERVE, path=(OURS,)).returncode == 0
    assert not (tmp_path / "trial").exists()
