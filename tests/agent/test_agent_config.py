"""flyball.yaml: what it takes, what it refuses and in which words, and that docs/agent.md names every key."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import Field

from flyball.agent.cli import run
from flyball.agent.daemon.config import NEEDS_RESTART, AgentConfig
from flyball.agent.daemon.config_file import read_config
from flyball.agent.daemon.config_print import written
from flyball.agent.daemon.web_config import WebConfig, read_web_config
from flyball.agent.wiring import Wiring
from flyball.collectors.base import Collector
from flyball.collectors.registry import CollectorSettings, CollectorType, Surroundings
from flyball.errors import OptionError
from flyball.policies.rule_file import read_rules
from flyball.tuners.knobs.registry import BY_NAME

DOCS = Path(__file__).parents[2] / "docs"
HASH = "$2b$10$" + "a" * 53
DEFAULTS = len(read_rules(["default"], known_knobs=BY_NAME))


class LinkSettings(CollectorSettings):
    url: str | None = Field(default=None, description="Where it reads.")
    ports: tuple[int, ...] = Field(default=(1, 2), description="Of the switch.")


class NeedySettings(CollectorSettings):
    url: str = Field(description="Where it reads.")


def _make(settings: CollectorSettings, surroundings: Surroundings) -> Collector:
    raise AssertionError("a configuration that is only read makes no collector")


def types() -> Mapping[str, CollectorType]:
    kinds = {"link": LinkSettings, "needy": NeedySettings, "plain": CollectorSettings}
    return {
        name: CollectorType(name=name, help="A fake.", settings=kind, make=_make)
        for name, kind in kinds.items()
    }


def write(folder: Path, text: str) -> Path:
    path = folder / "flyball.yaml"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [", ":1: "),
        ("- 1\n", "is not a mapping"),
        ("listen: x\nlisten: y\n", ":2: "),
        ("\nmax_seris: 3\n", ":2: max_seris: unknown key; did you mean max_series?"),
        ("xyzzy: 3\n", ":1: xyzzy: unknown key; take it out, or see docs/agent.md"),
        ("listen: here\n", ":1: listen: 'here' has no port"),
        ("listen: 127.0.0.1:99999\n", ":1: listen: '127.0.0.1:99999' has no port"),
        ("listen: example.org:80\n", ":1: listen: 'example.org' is no address"),
        ("max_series: many\n", ":1: max_series: input should be a valid integer"),
        ("log_format: xml\n", ":1: log_format: input should be 'text' or 'json'"),
        ("run_folders: []\n", ":1: run_folders: list should have at least 1 item"),
        ("run_folders: here\n", ":1: run_folders: input should be a list"),
        ("log_level: &a info\nlog_format: *a\n", ":2: aliases are not taken; write the value out"),
        ("collectors:\n  linq: {}\n", ":2: collectors.linq: no such collector; did you mean link?"),
        (
            "collectors:\n  link:\n    interval: 3\n",
            ":3: collectors.link.interval: unknown key; did you mean interval_seconds?",
        ),
        (
            "collectors:\n  link:\n    enabled: true\n    interval_seconds: 0\n",
            ":4: collectors.link.interval_seconds: input should be greater than or equal to 0.1",
        ),
        ("collectors:\n  link:\n    ports: [1, a]\n", ":3: collectors.link.ports.1: "),
        ("collectors:\n  needy: {}\n", ":2: collectors.needy.url: is missing"),
        ("allow_admin: true\n", ":1: allow_admin: is open to everybody; name a bearer_token_file"),
        ("bearer_token_file: gone\n", "gone: No such file or directory"),
        ("web_config_file: gone.yml\n", "gone.yml: No such file or directory"),
    ],
)
def test_what_is_wrong_is_one_line_with_file_line_key_and_mend(
    tmp_path: Path, text: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, text)
    wiring = Wiring(collector_types=types)
    assert run(["agent", "--config", str(path), "--check-config"], wiring=wiring) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert expected in line
    assert "; " in line


@pytest.mark.parametrize(
    ("policies", "said"),
    [
        ("policies: []", "no policies"),
        ("policies: [mine.yaml]", "1 policy from HERE/mine.yaml"),
        ("policies: [mine.yaml, default]", f"{DEFAULTS + 1} policies from HERE/mine.yaml, default"),
        ("", f"{DEFAULTS} policies from default"),
    ],
)
def test_a_good_file_is_ok_and_says_what_is_on(
    tmp_path: Path, policies: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = "  - alert: Hot\n    metric: gpu_temperature_celsius\n    above: 90\n"
    rule += "    annotations: {summary: hot, action: cool}\n"
    (tmp_path / "mine.yaml").write_text(f"policies:\n{rule}", "utf-8")
    text = f"collectors:\n  plain: {{enabled: false}}\n{policies}\n"
    path = write(tmp_path, text)
    arguments = ["agent", "--config", str(path), "--check-config", "--listen", "0.0.0.0:0"]
    assert run(arguments, wiring=Wiring(collector_types=types)) == 0
    expected = f"ok: 0.0.0.0:0; collectors: link; {said}; no receiver\n".replace("HERE", str(tmp_path))
    assert capsys.readouterr().out == expected


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert read_config(write(tmp_path, ""), types) == read_config(None, types)
    assert read_config(None, types).config.listen == "127.0.0.1:19753"


def test_what_is_printed_is_commented_and_reads_back_as_the_same(tmp_path: Path) -> None:
    text = (
        "max_series: 7\nrun_folders: [runs, '~/x']\nstall_seconds: 4.5\n"
        "collectors:\n  link: {url: 'http://x:1/a#b', ports: [3]}\n"
    )
    effective = read_config(write(tmp_path, text), types)
    printed = written(effective)
    for name, field in AgentConfig.model_fields.items():
        assert re.search(rf"^{name}:", printed, flags=re.MULTILINE)
        assert field.description
        assert field.description[:40] in printed
    assert "    # Where it reads.\n    url: http://x:1/a#b\n" in printed
    other = tmp_path / "other"
    other.mkdir()
    again = read_config(write(other, printed), types)
    assert again.settings == effective.settings
    assert again.config.model_dump(exclude={"collectors"}) == effective.config.model_dump(
        exclude={"collectors"}
    )


def test_relative_paths_start_at_the_files_folder(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0123456789abcdef\n", "ascii")
    effective = read_config(write(tmp_path, "run_folders: [mine]\nbearer_token_file: token\n"), types)
    assert effective.config.run_folders == (tmp_path / "mine",)
    assert effective.token == "0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("basic_auth_user: {}\n", ":1: basic_auth_user: unknown key; did you mean basic_auth_users?"),
        ("basic_auth_users:\n  me: secret\n", ":2: basic_auth_users.me: is no bcrypt hash; make one with"),
        ("tls_server_config:\n  cert_file: a\n", ":1: tls_server_config.key_file: is missing"),
        ("tls_server_config:\n  cert_file: a\n  key_file: b\n", "tls_server_config.cert_file: no such file"),
        (
            "tls_server_config:\n  cert_file: a\n  key_file: b\n  client_auth_type: RequireAnyClientCert\n",
            ":4: tls_server_config.client_auth_type: input should be",
        ),
        (
            "tls_server_config:\n  cert_file: a\n  key_file: b\n  min_version: TLS9\n",
            ":4: tls_server_config.min_version",
        ),
        (
            "http_server_config:\n  headers:\n    X-Other: a\n",
            ":3: http_server_config.headers.X-Other: 'X-Other' cannot be set",
        ),
    ],
)
def test_a_wrong_web_config_is_one_line(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "web.yml"
    path.write_text(text, "utf-8")
    with pytest.raises(OptionError) as caught:
        read_web_config(path)
    assert expected in str(caught.value)


def _example() -> str:
    page = (DOCS / "agent.md").read_text("utf-8")
    found = re.search(r"```yaml\n(# web\.yml\n.*?)```", page, flags=re.DOTALL)
    assert found
    return found[1]


def test_our_example_passes_promtool_and_our_own_reader(tmp_path: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    files = ["-keyout", str(tmp_path / "server.key"), "-out", str(tmp_path / "server.crt"), "-days", "2"]
    subprocess.run([*command, *files], check=True, capture_output=True)
    (tmp_path / "clients.crt").write_bytes((tmp_path / "server.crt").read_bytes())
    path = tmp_path / "web.yml"
    path.write_text(_example(), "utf-8")
    told = subprocess.run(["promtool", "check", "web-config", str(path)], capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr
    web = read_web_config(path)
    assert web.tls_server_config is not None
    assert web.basic_auth_users


def test_secrets_do_not_show() -> None:
    assert HASH not in repr(WebConfig(basic_auth_users={"me": HASH}))


def test_every_key_is_documented() -> None:
    page = (DOCS / "agent.md").read_text("utf-8")
    for name in (*AgentConfig.model_fields, *CollectorSettings.model_fields):
        assert f"| `{name}` |" in page, name
    for name in NEEDS_RESTART:
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        assert row.endswith("| restart |"), row
