"""The example of a scrape configuration, and Grafana's provisioning."""

import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "deploy" / "prometheus" / "prometheus.yml"
PROVISIONING = ROOT / "grafana" / "provisioning"


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool: install Debian's package prometheus")
    return found


def check(promtool: str, config: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [promtool, "check", "config", config],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_prometheus_takes_the_example(promtool: str) -> None:
    done = check(promtool, EXAMPLE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_with_everything_switched_on_is_taken_too(promtool: str, tmp_path: Path) -> None:
    config = tmp_path / "prometheus.yml"
    lines = EXAMPLE.read_text().splitlines()
    start = next(n for n, line in enumerate(lines) if line.strip() == "# scheme: https")
    switched_on = [line.replace("    # ", "    ", 1) for line in lines[start:]]
    config.write_text("\n".join([*lines[:start], *switched_on]).replace("/etc/prometheus", str(tmp_path)))
    (tmp_path / "flyball").mkdir()
    for name in ("ca.crt", "token"):
        (tmp_path / "flyball" / name).write_text("secret\n")
    done = check(promtool, config)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "scheme: https" in config.read_text()


def test_a_wrong_example_would_be_seen(promtool: str, tmp_path: Path) -> None:
    config = tmp_path / "prometheus.yml"
    config.write_text(EXAMPLE.read_text().replace("sample_limit", "samples_limit"))
    assert check(promtool, config).returncode != 0


def test_grafana_is_told_where_the_dashboards_lie() -> None:
    yaml = YAML(typ="safe")
    [provider] = yaml.load(PROVISIONING / "dashboards" / "flyball.yaml")["providers"]
    readme = (ROOT / "grafana" / "README.md").read_text()
    assert provider["type"] == "file"
    assert provider["options"]["path"] in readme


def test_grafana_knows_how_often_the_agents_are_scraped() -> None:
    yaml = YAML(typ="safe")
    [source] = yaml.load(PROVISIONING / "datasources" / "prometheus.yaml")["datasources"]
    assert source["type"] == "prometheus"
    assert source["jsonData"]["timeInterval"] == yaml.load(EXAMPLE)["global"]["scrape_interval"]
