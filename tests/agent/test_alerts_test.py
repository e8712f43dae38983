"""``flyball alerts test``, and ``receivers`` of flyball.yaml, through the whole program."""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from standardwebhooks import Webhook
from werkzeug import Request, Response

from flyball.agent.cli import run
from flyball.agent.daemon.config import AgentConfig
from flyball.agent.daemon.config_file import read_config
from flyball.agent.daemon.config_print import written
from flyball.agent.daemon.receivers_config import external_url
from flyball.agent.wiring import Wiring
from flyball.collectors.registry import CollectorType

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def no_types() -> Mapping[str, CollectorType]:
    return {}


def write(folder: Path, text: str) -> Path:
    (folder / "secret").write_text(SECRET, "ascii")
    path = folder / "flyball.yaml"
    path.write_text(text, "utf-8")
    return path


def ops(server: HTTPServer, more: str = "") -> str:
    url = server.url_for("/hooks/T0SECRET")
    return (
        f"external_url: https://node-7.example.org/\nreceivers:\n  ops:\n    type: webhook\n    url: {url}\n"
        f"    private_network: true\n    secret_files: [secret]\n{more}"
    )


def alerts_test(config: Path, receiver: str = "ops") -> int:
    return run(["alerts", "test", receiver, "--config", str(config)], wiring=Wiring(collector_types=no_types))


def test_a_sample_arrives_signed_and_the_answer_is_printed(
    tmp_path: Path, httpserver: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = Response("ok, thanks\nsecond line", headers={"X-Other": "x", "Server": "hooks"})
    httpserver.expect_request("/hooks/T0SECRET").respond_with_response(answer)
    assert alerts_test(write(tmp_path, ops(httpserver))) == 0
    ((request, _),) = httpserver.log
    body = Webhook(SECRET).verify(request.get_data(), dict(request.headers))
    assert body["status"] == "firing"
    assert body["receiver"] == "ops"
    assert body["commonLabels"]["alertname"] == "FlyballTest"
    (alert,) = body["alerts"]
    assert alert["generatorURL"] == f"https://node-7.example.org/api/v1/alerts/{alert['fingerprint']}"
    out = capsys.readouterr().out
    first, second, *rest = out.splitlines()
    assert first == "ops (webhook): delivered"
    assert second == f"webhook-id: {request.headers['webhook-id']}"
    assert rest[0] == "status: 200"
    assert "server: hooks" in rest
    assert rest[-1] == "body: ok, thanks"
    assert "X-Other" not in out


@pytest.mark.parametrize(
    ("status", "headers", "body", "first", "more"),
    [
        (404, {}, "no such hook T0SECRET\n", "refused, status: status 404: no such hook ***", []),
        (429, {"Retry-After": "30"}, "", "retry, status: status 429", ["retry-after: 30", "body: (empty)"]),
        (410, {}, "closed", "gone: closed", ["status: 410"]),
        (
            301,
            {"Location": "https://x.org/a"},
            "",
            "refused, redirect: status 301 names https://x.org/a, which",
            [],
        ),
    ],
)
def test_what_is_not_delivered_says_why_and_exits_1(
    tmp_path: Path,
    httpserver: HTTPServer,
    capsys: pytest.CaptureFixture[str],
    status: int,
    headers: dict[str, str],
    body: str,
    first: str,
    more: list[str],
) -> None:
    httpserver.expect_request("/hooks/T0SECRET").respond_with_data(body, status, headers)
    assert alerts_test(write(tmp_path, ops(httpserver))) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"ops (webhook): {first}")
    assert set(more) <= set(out.splitlines())
    assert "T0SECRET" not in out
    assert SECRET not in out


def test_nobody_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "receivers:\n  am: {type: alertmanager, urls: ['http://127.0.0.1:1030']}\n"
    assert alerts_test(write(tmp_path, text), "am") == 1
    out = capsys.readouterr().out
    assert re.fullmatch(
        r"am \(alertmanager\): retry, unreachable: Connection refused\nwebhook-id: msg_\w+\n", out
    )


@pytest.mark.parametrize(
    ("text", "receiver", "expected"),
    [
        ("{}", "ops", "RECEIVER: 'ops' is no receiver; {} has none; see docs/webhooks.md"),
        ("receivers:\n  am: {type: alertmanager, urls: ['http://a']}\n", "ops", "the receivers are am"),
    ],
)
def test_another_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, receiver: str, expected: str
) -> None:
    path = write(tmp_path, text)
    assert alerts_test(path, receiver) == 2
    assert expected.format(path) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("receivers:\n  a b: {type: webhook}\n", ":2: receivers.a b: is no name of a receiver; begin with"),
        (
            "receivers:\n  ops: {}\n",
            ":2: receivers.ops.type: is missing; write type: webhook, alertmanager, apprise",
        ),
        (
            "receivers:\n  ops:\n    type: webhok\n",
            ":3: receivers.ops.type: no such type of receiver; did you mean web",
        ),
        (
            "receivers:\n  ops:\n    type: [1]\n",
            ":3: receivers.ops.type: no such type of receiver; write type: ",
        ),
        ("receivers: [ops]\n", ":1: receivers: input should be a mapping"),
        (
            "receivers:\n  ops: https://me:hunter2@x.org\n",
            ":2: receivers.ops: input should be a mapping",
        ),
        (
            "receivers:\n  ops:\n    type: webhook\n    unsigned: true\n    url: https://me:hunter2@x.org/\n",
            ":5: receivers.ops.url: has a user or password in it; take it out, and name the file",
        ),
        (
            "receivers:\n  ops:\n    type: webhook\n    url: https://x.org/\n",
            ":2: receivers.ops: is not signed; name secret_files, or set unsigned: true if that is meant",
        ),
        (
            "receivers:\n  ops:\n    type: webhook\n    url: https://x.org/\n    secret_file: [secret]\n",
            ":5: receivers.ops.secret_file: unknown key; did you mean secret_files?",
        ),
        (
            "receivers:\n  ops:\n    type: webhook\n    url: https://x.org/\n    secret_files: [gone]\n",
            ":5: receivers.ops.secret_files.0: {}/gone: No such file or directory; name a file that holds it",
        ),
        (
            "external_url: node-7\n",
            ":1: external_url: is no plain http or https URL; write one as in https://",
        ),
        (
            "external_url: https://me:hunter2@x.org\n",
            ":1: external_url: has a user or password in it; take it out",
        ),
    ],
)
def test_what_is_wrong_is_one_line_without_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, expected: str
) -> None:
    path = write(tmp_path, text)
    for debug in ([], ["--debug"]):
        status = run(
            [*debug, "agent", "--config", str(path), "--check-config"],
            wiring=Wiring(collector_types=no_types),
        )
        assert status == 2
        err = capsys.readouterr().err
        assert expected.replace("{}", str(tmp_path)) in err.splitlines()[-1]
        assert "; " in err.splitlines()[-1]
        # A traceback quotes the lines of our own sources, and nothing of the file.
        assert "hunter2" not in err
        assert debug or err.count("\n") == 1


def test_a_good_file_says_which_receivers_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(
        tmp_path, "receivers:\n  ops: {type: webhook, url: 'https://x.org', secret_files: [secret]}\n"
    )
    assert (
        run(["agent", "--config", str(path), "--check-config"], wiring=Wiring(collector_types=no_types)) == 0
    )
    assert capsys.readouterr().out.endswith("; 1 receiver: ops\n")


def test_a_secret_that_every_user_can_read_is_noted(
    open_folder: Path, httpserver: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    httpserver.expect_request("/hooks/T0SECRET").respond_with_data("")
    path = write(open_folder, f"bearer_token_file: token\n{ops(httpserver)}")
    for name, words in (("token", "0123456789abcdef"), ("secret", SECRET)):
        (open_folder / name).write_text(words, "ascii")
        (open_folder / name).chmod(0o644)
    what = "every user can read or change a secret's file; chmod 600"
    secret = f"note: receivers.ops.secret_files.0: {what} {open_folder / 'secret'}\n"
    token = f"note: bearer_token_file: {what} {open_folder / 'token'}\n"
    wiring = Wiring(collector_types=no_types)
    assert run(["agent", "--config", str(path), "--check-config"], wiring=wiring) == 0
    assert capsys.readouterr().err == token + secret
    assert alerts_test(path) == 0
    assert capsys.readouterr().err == secret
    (open_folder / "secret").chmod(0o640)
    assert alerts_test(path) == 0
    assert capsys.readouterr().err == ""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_what_is_printed_is_commented_masked_and_reads_back_where_nothing_was_masked(tmp_path: Path) -> None:
    text = (
        "receivers:\n  ops: {type: webhook, url: 'https://x.org/T0SECRET', secret_files: [secret]}\n"
        "  am: {type: alertmanager, urls: ['http://a:9093'], minimum_severity: warning}\n"
    )
    effective = read_config(write(tmp_path, text), no_types)
    printed = written(effective)
    assert "T0SECRET" not in printed + repr(effective) + str(effective.config.model_dump())
    assert SECRET not in printed + repr(effective)
    assert (
        "    # Where to post; one that is a secret itself stands in url_file.\n    url: https://x.org/***\n"
        in printed
    )
    with pytest.raises(Exception, match=r"receivers\.ops\.url: is masked; write the whole URL"):
        read_config(write(tmp_path, printed), no_types)
    again = read_config(
        write(tmp_path, printed.replace("https://x.org/***", "https://x.org/T0SECRET")), no_types
    )
    assert again.receivers == effective.receivers


@pytest.mark.parametrize(
    ("given", "tls", "port", "expected"),
    [
        ({"external_url": "https://a.org/x/"}, False, None, "https://a.org/x"),
        ({"listen": "0.0.0.0:19753"}, False, None, "http://{}:19753"),
        ({"listen": "0.0.0.0:0"}, True, 4000, "https://{}:4000"),
    ],
)
def test_where_links_lead(given: dict[str, str], tls: bool, port: int | None, expected: str) -> None:
    import platform

    assert external_url(AgentConfig(**given), tls=tls, port=port) == expected.format(platform.node())


def test_a_sample_is_json_of_its_own_each_time(tmp_path: Path, httpserver: HTTPServer) -> None:
    ids: list[str] = []

    def take(request: Request) -> Response:
        assert json.loads(request.get_data())["version"] == "4"
        ids.append(request.headers["webhook-id"])
        return Response(status=204)

    httpserver.expect_request("/hooks/T0SECRET").respond_with_handler(take)
    path = write(tmp_path, ops(httpserver))
    assert [alerts_test(path), alerts_test(path)] == [0, 0]
    assert len(set(ids)) == 2
