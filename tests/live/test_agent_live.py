"""The agent as a real process: started, scraped, reloaded, stopped, and treated badly."""

import contextlib
import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import bcrypt
import httpx2
import pytest
from tests.live.agent_process import SCRIPT, Running, running
from tests.patience import PATIENCE_SECONDS, fetch

pytestmark = pytest.mark.live

FORBIDDEN = ("alembic", "apprise", "scipy", "optuna", "torch")


def both_up(agent: Running) -> None:
    agent.until("collector up", 2)


def test_it_is_scraped_and_promtool_finds_no_fault(tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        url = agent.url()
        both_up(agent)
        assert fetch(f"{url}/-/ready").text == "ready\n"
        page = fetch(f"{url}/metrics")
        assert page.headers["content-encoding"] == "gzip"
        told = subprocess.run(
            ["promtool", "check", "metrics"], input=page.text, capture_output=True, text=True
        )
        assert (told.returncode, told.stdout + told.stderr) == (0, "")
        assert "flyball_step_seconds_bucket" in page.text
        assert agent.end() == 0


def test_a_good_reload_is_taken_over_and_a_bad_one_is_not(tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        url = agent.url()
        both_up(agent)
        agent.write("collectors: {moody: {enabled: false}}\n")
        agent.process.send_signal(signal.SIGHUP)
        said = r".*collectors=\S* policies=[1-9]\d* policy_files=default receivers=0"
        agent.line("configuration taken over" + said)
        agent.until("agent started" + said, 1)
        assert [one["name"] for one in fetch(f"{url}/api/v1/collectors").json()] == ["steady"]
        agent.write("collectors: {mody: {}}\n")
        agent.process.send_signal(signal.SIGHUP)
        agent.line(r"not taken over.*flyball.yaml:4: collectors.mody: no such collector; did you mean moody")
        assert [one["name"] for one in fetch(f"{url}/api/v1/collectors").json()] == ["steady"]
        assert "flyball_config_last_reload_successful 0.0" in fetch(f"{url}/metrics").text
        assert agent.end() == 0


def test_a_collector_that_hangs_delays_neither_the_others_nor_the_end(tmp_path: Path) -> None:
    mood = tmp_path / "mood"
    mood.write_text("hang", "utf-8")
    limits = "stall_seconds: 0.5\nstale_after_seconds: 1\n"
    text = f"{limits}collectors:\n  moody: {{file: {mood}, required: true}}\n"
    with running(tmp_path, text) as agent:
        url = agent.url()
        agent.line("collector stalled.*collector=moody reason=stalled")
        assert fetch(f"{url}/-/ready").status_code == 503
        assert 'flyball_collector_up{collector="steady",reason=""} 1.0' in fetch(f"{url}/metrics").text
        assert agent.end() == 0  # the collector hangs for an hour


def test_a_port_in_use_and_a_state_folder_in_use_are_one_line(tmp_path: Path) -> None:
    with running(tmp_path) as agent:
        url = agent.url()
        for extra, expected in (
            (
                [],
                r"another agent \(process \d+\) uses this state folder; stop it, or set another state_folder",
            ),
            (["--listen", url.partition("//")[2]], r"another agent"),
        ):
            command = [sys.executable, str(SCRIPT), "agent", "--config", str(agent.config), *extra]
            told = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
            assert told.returncode == 2
            assert re.fullmatch(rf"error: .*{expected}.*\n", told.stderr)
        other = tmp_path / "other"
        command = [sys.executable, str(SCRIPT), "agent", "--listen", url.partition("//")[2]]
        environment = {**os.environ, "FLYBALL_STATE_DIR": str(other)}
        told = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, env=environment
        )
        assert told.returncode == 2
        assert re.fullmatch(r"error: listen: .*: address already in use; set listen to .*\n", told.stderr)


def make_certificate(folder: Path) -> None:
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    files = ["-keyout", str(folder / "server.key"), "-out", str(folder / "server.crt")]
    more = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, *files, *more], check=True, capture_output=True)


def test_tls_basic_auth_and_the_token(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    stored = bcrypt.hashpw(b"open sesame", bcrypt.gensalt(4)).decode()
    tls = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n"
    (tmp_path / "web.yml").write_text(f"{tls}basic_auth_users: {{me: {stored}}}\n", "utf-8")
    (tmp_path / "token").write_text("0123456789abcdef", "ascii")
    text = "web_config_file: web.yml\nbearer_token_file: token\nallow_admin: true\n"
    with running(tmp_path, text) as agent:
        url = agent.url()
        assert url.startswith("https://")
        trusting = ssl.create_default_context(cafile=str(tmp_path / "server.crt"))
        with httpx2.Client(base_url=url, verify=trusting, timeout=PATIENCE_SECONDS) as client:
            assert client.get("/metrics").status_code == 401
            assert client.get("/metrics", auth=("me", "wrong")).status_code == 401
            assert client.get("/metrics", auth=("me", "open sesame")).status_code == 200
            bearer = {"authorization": "Bearer 0123456789abcdef"}
            assert client.post("/-/reload").status_code == 401
            assert client.post("/-/reload", headers=bearer).json()["successful"] is True
        assert agent.end() == 0


def test_ten_thousand_connections_neither_end_it_nor_starve_a_scrape(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(10_000, soft - 500)
    assert count > 1000, f"this machine allows {soft} of {hard} open files"
    with running(tmp_path, "max_connections: 64\nrequest_seconds: 60\n") as agent:
        url = agent.url()
        both_up(agent)
        host, port = url.partition("//")[2].split(":")
        with contextlib.ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS))
            assert fetch(f"{url}/metrics").status_code == 200
            held = len(list(Path(f"/proc/{agent.process.pid}/fd").iterdir()))
            assert held < 64 + 100
            assert fetch(f"{url}/-/ready").status_code == 200
        assert agent.end() == 0


def test_a_client_that_takes_too_long_is_let_go(tmp_path: Path) -> None:
    with running(tmp_path, "request_seconds: 0.5\n") as agent:
        host, port = agent.url().partition("//")[2].split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as slow:
            slow.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert slow.recv(1) == b""


def test_headers_past_the_limit_are_refused(tmp_path: Path) -> None:
    with running(tmp_path, "max_header_bytes: 2048\n") as agent:
        url = agent.url()
        assert fetch(f"{url}/-/healthy", headers={"x-much": "a" * 5000}).status_code == 431
        assert fetch(f"{url}/-/healthy").status_code == 200


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(tmp_path: Path, abstract: bool) -> None:
    name = f"flyball-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0{name}" if abstract else name)
        heard.settimeout(PATIENCE_SECONDS)
        shown = f"@{name}" if abstract else name
        with running(tmp_path, NOTIFY_SOCKET=shown, WATCHDOG_USEC="200000") as agent:
            told: list[str] = []

            def until(word: str) -> None:
                while not told or word not in told[-1]:
                    told.append(heard.recv(4096).decode())

            until("READY=1")
            until("WATCHDOG=1")
            agent.process.send_signal(signal.SIGHUP)
            until("RELOADING=1")
            assert "MONOTONIC_USEC=" in told[-1]
            until("READY=1")
            agent.process.send_signal(signal.SIGTERM)
            until("STOPPING=1")
            assert agent.process.wait(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize(
    ("text", "most_kilobytes", "unneeded"),
    [("policies: []\n", 62_000, ("numpy", "sqlalchemy")), ("", 96_000, ())],
    ids=["without alerts", "with alerts"],
)
def test_it_is_small_and_imports_nothing_that_it_does_not_need(
    tmp_path: Path, text: str, most_kilobytes: int, unneeded: tuple[str, ...]
) -> None:
    with running(tmp_path, text) as agent:
        url = agent.url()
        both_up(agent)
        assert fetch(f"{url}/metrics").status_code == 200
        status = Path(f"/proc/{agent.process.pid}/status").read_text()
        resident = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert resident
        assert int(resident[1]) < most_kilobytes
        mapped = Path(f"/proc/{agent.process.pid}/maps").read_text()
        # Their compiled modules would be mapped.
        assert not [name for name in (*FORBIDDEN, *unneeded) if f"/site-packages/{name}/" in mapped]
        assert agent.end() == 0
    loaded = set((tmp_path / "modules").read_text("utf-8").split())
    assert ("flyball.history.alert_log" in loaded) is ("sqlalchemy" not in unneeded)
    # 6 MB that only the tuner's tables need.
    assert "sqlalchemy.orm" not in loaded


def test_the_daemons_modules_import_nothing_that_only_tuning_needs() -> None:
    modules = "flyball.agent.cli, flyball.agent.daemon.service, flyball.agent.daemon.config_print"
    code = f"import sys, {modules}; print([name for name in {FORBIDDEN!r} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"


def test_flyball_agent_becomes_a_process_without_the_command_line(tmp_path: Path) -> None:
    with running(tmp_path, program=(str(Path(sys.executable).with_name("flyball")),)) as agent:
        url = agent.url()
        assert fetch(f"{url}/-/healthy").status_code == 200
        arguments = Path(f"/proc/{agent.process.pid}/cmdline").read_text().split("\0")
        assert arguments[-3:] == ["flyball.agent.daemon", f"--config={agent.config}", ""]
        # Its process has no docstrings, and yet says what each of its answers is.
        assert "-OO" in arguments
        schemas = fetch(f"{url}/openapi.json").json()["components"]["schemas"]
        assert [name for name, schema in schemas.items() if not schema.get("description")] == []
        # It reads its configuration as before: a fault in a reload is told, and it goes on.
        agent.write("listen_to: 1\n")
        agent.process.send_signal(signal.SIGHUP)
        agent.line("not taken over.*flyball.yaml:4: listen_to")
        assert agent.end() == 0
    command = [str(Path(sys.executable).with_name("flyball")), "agent", "--config", str(agent.config)]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert re.fullmatch(r"error: \S+flyball.yaml:4: listen_to: .*\n", refused.stderr)
