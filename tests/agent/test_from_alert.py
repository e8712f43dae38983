"""``autotune --from-alert``: what an agent's answer makes of a study, and what is refused in one line."""

import json
import math
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from tests.agent.fakes import FakeClock, FakeStudy
from tests.policies.notification.receivers.endpoints import certificate, tls_of
from werkzeug import Request, Response

from flyball.agent.cli import run
from flyball.agent.wiring import Wiring
from flyball.tuners.options import StudyOptions

PATH = "/api/v1/tuning_requests"
COMMAND = ["deepspeed", "train.py", "--deepspeed_config", "ds.json"]
ALERT = {
    "labels": {"alertname": "SmUtilizationLow", "severity": "warning", "gpu": "0"},
    "annotations": {"summary": "GPU 0 of h waits"},
    "suggests": ["micro_batch", "compile"],
    "value": 0.41,
    "active_time": 1_790_000_000.0,
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the user is in; the run's is beside it."""
    (tmp_path / "here").mkdir()
    (tmp_path / "job").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("FLYBALL_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("FLYBALL_DB", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    return tmp_path / "here"


def request(folder: Path, number: int = 7, **document: Any) -> dict[str, Any]:
    taken = document.pop("taken_time", None)
    return {
        "id": number,
        "created_time": 1_790_000_300.0,
        "rule": "SmUtilizationLow",
        "run": "gpt",
        "fingerprint": "0123456789abcdef",
        "taken_time": taken,
        "document": {
            "command": COMMAND,
            "working_directory": str(folder / "job"),
            "config": {"train_batch_size": 8},
            "host": os.uname().nodename,
            "alert": ALERT,
            "telemetry": {"gpu_sm_utilization_ratio": 0.41},
            **document,
        },
    }


def autotune(url: str, *arguments: str) -> tuple[int, list[StudyOptions]]:
    study = FakeStudy()
    wiring = Wiring(run_study=study, clock=FakeClock())
    status = run(["--from-alert", url, *arguments], program="autotune", wiring=wiring)
    return status, study.seen


def options_of(url: str, *arguments: str) -> StudyOptions:
    status, seen = autotune(url, *arguments)
    assert status == 0
    return seen[0]


def refused(capsys: pytest.CaptureFixture[str], url: str, *arguments: str) -> str:
    """The one line that a study which never began left."""
    status, seen = autotune(url, *arguments)
    captured = capsys.readouterr()
    assert (status, seen) == (2, [])
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    return line


def test_the_runs_command_starts_from_its_folder_led_by_the_alert(
    tmp_path: Path, httpserver: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    httpserver.expect_request(f"{PATH}/7").respond_with_json(request(tmp_path))
    url = httpserver.url_for(f"{PATH}/7")
    options = options_of(url)
    assert options.command == tuple(COMMAND)
    assert options.cwd == tmp_path / "job"
    assert options.typed_in == tmp_path / "here", "results go to where the user is"
    assert options.config is None, "the command names its own"
    lead = options.lead
    assert lead is not None
    assert (lead.run, lead.url) == ("gpt", url)
    assert (lead.alert.rule, lead.alert.suggests) == ("SmUtilizationLow", ("micro_batch", "compile"))
    assert lead.telemetry == {"gpu_sm_utilization_ratio": 0.41}
    assert "SmUtilizationLow fired in the run gpt: GPU 0 of h waits" in capsys.readouterr().out


def test_a_command_behind_the_dashes_goes_before_and_runs_here(
    tmp_path: Path, here: Path, httpserver: HTTPServer
) -> None:
    elsewhere = request(tmp_path, host="another", command=["deepspeed", "--hf_token", "***"])
    httpserver.expect_request(f"{PATH}/7").respond_with_json(elsewhere)
    options = options_of(httpserver.url_for(f"{PATH}/7"), "--", "python", "mine.py")
    assert (options.command, options.cwd, options.typed_in) == (("python", "mine.py"), here, None)
    assert options.lead is not None


@pytest.mark.parametrize("path", ["", "/", PATH, f"{PATH}/"])
def test_an_agents_address_means_its_newest_open_request(
    tmp_path: Path, httpserver: HTTPServer, path: str
) -> None:
    held = [request(tmp_path, 4), request(tmp_path, 9, taken_time=1.0), request(tmp_path, 6)]
    httpserver.expect_request(PATH).respond_with_json(held)
    lead = options_of(httpserver.url_for(path)).lead
    assert lead is not None
    assert lead.url == httpserver.url_for(f"{PATH}/6")


def test_an_agent_behind_a_prefix_is_asked_behind_it(tmp_path: Path, httpserver: HTTPServer) -> None:
    httpserver.expect_request(f"/node-7{PATH}/7").respond_with_json(request(tmp_path))
    assert options_of(httpserver.url_for(f"/node-7{PATH}/7")).lead is not None


@pytest.mark.parametrize(("value", "read"), [(None, math.nan), ("NaN", math.nan), ("+Inf", math.inf)])
def test_a_value_that_json_cannot_hold_is_read(
    tmp_path: Path, httpserver: HTTPServer, value: Any, read: float
) -> None:
    answer = request(tmp_path, alert={**ALERT, "value": value})
    httpserver.expect_request(f"{PATH}/7").respond_with_json(answer)
    lead = options_of(httpserver.url_for(f"{PATH}/7")).lead
    assert lead is not None
    assert repr(lead.alert.value) == repr(read)


def test_a_config_that_only_the_agent_knows_is_used(tmp_path: Path, httpserver: HTTPServer) -> None:
    (tmp_path / "job" / "train.py").write_text("import deepspeed\n")
    (tmp_path / "job" / "conf.json").write_text("{}")
    answer = request(tmp_path, command=["python", "train.py"], config_path="conf.json")
    httpserver.expect_request(f"{PATH}/7").respond_with_json(answer)
    url = httpserver.url_for(f"{PATH}/7")
    assert options_of(url).config == tmp_path / "job" / "conf.json"
    assert options_of(url, "--config", "mine.json").config == tmp_path / "here" / "mine.json"


def test_the_token_of_a_file_is_sent_and_the_urls_own_password_is_kept_nowhere(
    tmp_path: Path, httpserver: HTTPServer
) -> None:
    asked: list[str] = []

    def answer(sent: Request) -> Response:
        asked.append(sent.headers.get("Authorization", ""))
        return Response(json.dumps(request(tmp_path)), content_type="application/json")

    httpserver.expect_request(f"{PATH}/7").respond_with_handler(answer)
    (tmp_path / "token").write_text("abc123\n")
    plain = httpserver.url_for(f"{PATH}/7")
    secret = plain.replace("http://", "http://me:s3cret@")
    assert options_of(plain, "--agent-token-file", str(tmp_path / "token")).lead is not None
    with_password = options_of(secret)
    assert asked[0] == "Bearer abc123"
    assert asked[1].startswith("Basic ")
    assert "s3cret" not in repr(with_password)
    assert with_password.lead is not None
    assert with_password.lead.url == plain


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"host": "node-9"}, ("the run gpt is on node-9", "start autotune there")),
        ({"command": []}, ("does not know how the run gpt was started", "behind --")),
        ({"command": ["python", "t.py", "--api_key=***"]}, ("a secret that was masked: --api_key=***", "--")),
        ({"command": ["python", "https://me:***@host/t.py"]}, ("masked", "behind --")),
        ({"working_directory": "/no/such/folder"}, ("/no/such/folder", "behind --")),
        ({"working_directory": ""}, ("unknown", "behind --")),
    ],
    ids=["another machine", "no command", "masked option", "masked password", "folder gone", "no folder"],
)
def test_a_run_that_cannot_be_started_here_is_refused(
    tmp_path: Path,
    httpserver: HTTPServer,
    capsys: pytest.CaptureFixture[str],
    changed: dict[str, Any],
    says: tuple[str, str],
) -> None:
    httpserver.expect_request(f"{PATH}/7").respond_with_json(request(tmp_path, **changed))
    line = refused(capsys, httpserver.url_for(f"{PATH}/7"))
    assert all(words in line for words in says), line


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (401, "", ("wants credentials", "--agent-token-file FILE")),
        (403, "", ("does not let this token read", "--agent-token-file FILE")),
        (404, "", ("there is no such tuning request", f"see {PATH}")),
        (301, "", ("status 301", "write it as in")),
        (500, "", ("status 500", "")),
        (200, "<html>", ("not as an agent does", "an agent of this version")),
        (200, "", ("not as an agent does", "")),
        (200, "[1]", ("not as an agent does", "")),
        (200, '{"id": 7}', ("rule: Field required", "")),
        (200, "x" * (17 << 20), ("larger than 16 MiB", "")),
    ],
    ids=["401", "403", "404", "301", "500", "a page", "nothing", "a list", "too little", "17 MiB"],
)
def test_an_answer_that_is_no_request_is_one_line(
    httpserver: HTTPServer, capsys: pytest.CaptureFixture[str], status: int, body: str, says: tuple[str, str]
) -> None:
    httpserver.expect_request(f"{PATH}/7").respond_with_data(body, status=status)
    line = refused(capsys, httpserver.url_for(f"{PATH}/7"))
    assert all(words in line for words in ("--from-alert", *says)), line


def test_an_agent_without_an_open_request_says_so(
    tmp_path: Path, httpserver: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    httpserver.expect_request(PATH).respond_with_json([request(tmp_path, taken_time=1.0)])
    assert "holds no tuning request that is open" in refused(capsys, httpserver.url_for("/"))


TAKE = f"{PATH}/7/take"


def takes(httpserver: HTTPServer, document: dict[str, Any], status: int = 200) -> list[str]:
    """An agent that answers ``status`` to a take; returns the Authorization of each."""
    asked: list[str] = []

    def answer(sent: Request) -> Response:
        asked.append(sent.headers.get("Authorization", ""))
        return Response("{}", status=status, content_type="application/json")

    httpserver.expect_request(f"{PATH}/7", method="GET").respond_with_json(document)
    httpserver.expect_request(TAKE, method="POST").respond_with_handler(answer)
    return asked


def test_a_request_is_taken_as_the_study_begins_with_the_same_credentials(
    tmp_path: Path, httpserver: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = takes(httpserver, request(tmp_path))
    (tmp_path / "token").write_text("abc123\n")
    url = httpserver.url_for(f"{PATH}/7")
    assert options_of(url, "--agent-token-file", str(tmp_path / "token")).lead is not None
    assert options_of(url.replace("http://", "http://me:s3cret@")).lead is not None
    assert asked == ["Bearer abc123", "Basic bWU6czNjcmV0"]
    assert "taken" not in capsys.readouterr().out


def test_a_dry_run_takes_no_request(tmp_path: Path, httpserver: HTTPServer) -> None:
    asked = takes(httpserver, request(tmp_path))
    assert options_of(httpserver.url_for(f"{PATH}/7"), "--dry-run").dry_run
    assert asked == []


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (403, "its agent does not allow it; write allow_admin: true, with a bearer_token_file, in its fly"),
        (503, "its agent answers with status 503"),
    ],
)
def test_where_the_agent_does_not_let_it_be_taken_one_line_says_so_and_the_study_runs(
    tmp_path: Path, httpserver: HTTPServer, capsys: pytest.CaptureFixture[str], status: int, why: str
) -> None:
    takes(httpserver, request(tmp_path), status)
    url = httpserver.url_for(f"{PATH}/7")
    options_of(url)
    (line,) = [each for each in capsys.readouterr().out.splitlines() if "marked" in each]
    assert f"{url} could not be marked as taken and stays open: {why}" in line


def test_a_request_that_was_taken_is_refused_and_force_starts_it_once_more(
    tmp_path: Path, httpserver: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = takes(httpserver, request(tmp_path, taken_time=FakeClock().now - 7500))
    url = httpserver.url_for(f"{PATH}/7")
    line = refused(capsys, url)
    assert f"{url} was taken 2h05m ago; give --force to start with it all the same" in line
    assert options_of(url, "--force").lead is not None
    assert asked == [], "it bears a mark already"


def test_of_two_that_begin_at_once_the_later_is_refused(
    tmp_path: Path, httpserver: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    takes(httpserver, request(tmp_path), 404)
    url = httpserver.url_for(f"{PATH}/7")
    status, seen = autotune(url)
    assert (status, seen) == (2, [])
    assert f"{url} was taken this moment; give --force" in capsys.readouterr().err
    assert options_of(url, "--force").lead is not None


@pytest.mark.parametrize(
    "url", ["", "agent", "ftp://agent/", "http://", "http://a:b:c", "http://[::1", "ftp://a:s3cret@b/"]
)
def test_what_is_no_address_of_an_agent_is_refused(capsys: pytest.CaptureFixture[str], url: str) -> None:
    line = refused(capsys, url)
    assert "write it as in http://127.0.0.1:19753" in line
    assert "s3cret" not in line


def test_where_nobody_listens_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://me:s3cret@127.0.0.1:{taken.getsockname()[1]}/"
        line = refused(capsys, url)
    assert "does not answer" in line
    assert "s3cret" not in line


def test_an_agent_that_hangs_is_given_up(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flyball.agent.tuning_request_client.TIMEOUT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        line = refused(capsys, f"http://127.0.0.1:{silent.getsockname()[1]}/")
    assert "did not answer within 0.1 s" in line


@pytest.fixture
def secure(tmp_path: Path) -> Any:
    """An agent with a certificate of an authority of its own."""
    path = certificate(tmp_path, "agent", "IP:127.0.0.1")
    with HTTPServer(host="127.0.0.1", ssl_context=tls_of(path)) as server:
        server.expect_request(f"{PATH}/7").respond_with_json(request(tmp_path))
        yield server, path


def test_tls_is_by_the_systems_certificates_or_those_of_a_file(
    secure: tuple[HTTPServer, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    server, path = secure
    url = server.url_for(f"{PATH}/7")
    line = refused(capsys, url)
    assert "certificate" in line
    assert "--agent-ca-file FILE" in line
    assert options_of(url, "--agent-ca-file", str(path)).lead is not None


@pytest.mark.parametrize(
    ("option", "make", "says"),
    [
        ("--agent-token-file", None, "cannot be read"),
        ("--agent-token-file", "two words", "holds no token"),
        ("--agent-ca-file", "no certificate", "PEM"),
    ],
)
def test_files_that_cannot_be_used_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, make: str | None, says: str
) -> None:
    if make is not None:
        (tmp_path / "file").write_text(make)
    line = refused(capsys, "https://127.0.0.1:1/", option, str(tmp_path / "file"))
    assert line.startswith(f"error: {option}: ")
    assert says in line


@pytest.mark.parametrize("option", [["--agent-token-file", "file"], ["--agent-ca-file", "file"], ["--force"]])
def test_options_for_an_agent_that_is_not_asked_are_refused(
    capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    wiring = Wiring(run_study=FakeStudy())
    assert run([*option, "--", *COMMAND], program="autotune", wiring=wiring) == 2
    assert f"{option[0]}: no agent is asked" in capsys.readouterr().err


def test_a_resumed_study_keeps_the_alert_that_it_began_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--from-alert: a resumed experiment keeps" in refused(capsys, "http://agent/", "--resume")
