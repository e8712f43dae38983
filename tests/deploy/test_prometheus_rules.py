"""The rules that watch agents from outside, judged by promtool."""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from tests.patience import PATIENCE_SECONDS

from flyball.collectors import catalog

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "flyball_agent.rules.yml"
SERIES = '{instance="node-7", job="flyball"}'


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool: install Debian's package prometheus")
    return found


def run(promtool: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [promtool, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


def test_prometheus_takes_them(promtool: str) -> None:
    done = run(promtool, "check", "rules", RULES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_they_are_about_metrics_of_the_agent() -> None:
    rules = YAML(typ="safe").load(RULES)["groups"][0]["rules"]
    names = {name for rule in rules for name in re.findall(r"\bflyball_\w+", rule["expr"])}
    assert names == {catalog.ALERT_DATABASE_UP.full_name, catalog.OUTBOX_DEPTH.full_name}


@pytest.mark.parametrize(
    ("series", "alert", "quiet", "loud"),
    [
        (f"flyball_alert_database_up{SERIES}", "FlyballAlertsNotRecorded", "1x9 0 1x10", "1x9 0x10"),
        (f"flyball_outbox_depth{SERIES}", "FlyballNotificationsWaiting", "5x9 0 5x10", "5x20"),
        (f"up{SERIES}", "FlyballAgentDown", "1x9 0 0 1x10", "1x9 0x10"),
    ],
)
def test_one_fires_when_it_should_and_no_sooner(
    promtool: str, tmp_path: Path, series: str, alert: str, quiet: str, loud: str
) -> None:
    others = {f"flyball_alert_database_up{SERIES}": "1x30", f"flyball_outbox_depth{SERIES}": "0x30"}
    for values, fires in ((quiet, False), (loud, True)):
        played = {f"up{SERIES}": "1x30", **others, series: values}
        assert fired(promtool, tmp_path, played) == ([alert] if fires else []), values


def fired(promtool: str, folder: Path, series: Mapping[str, str]) -> list[str]:
    """Play series of a minute's interval and return what fires after 17 minutes."""
    names = ("FlyballAgentDown", "FlyballAlertsNotRecorded", "FlyballNotificationsWaiting")
    found = []
    for name in names:
        case = {
            "interval": "1m",
            "input_series": [{"series": each, "values": values} for each, values in series.items()],
            "alert_rule_test": [{"eval_time": "17m", "alertname": name, "exp_alerts": []}],
        }
        file = folder / f"{name}.json"
        file.write_text(json.dumps({"rule_files": [str(RULES)], "tests": [case]}))
        done = run(promtool, "test", "rules", file)
        if done.returncode:
            assert f'alertname="{name}"' in done.stdout + done.stderr
            found.append(name)
    return found
