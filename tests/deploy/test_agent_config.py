"""Every flyball.yaml that is deployed passes the agent's own check."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flyball.agent.daemon.config_file import read_config
from flyball.collectors.registry import collector_types

DEPLOY = Path(__file__).parents[2] / "deploy"


def sidecar() -> str:
    """The one that is written into a ConfigMap."""
    for resource in YAML(typ="safe").load_all((DEPLOY / "kubernetes" / "sidecar.yaml").read_text()):
        if resource["kind"] == "ConfigMap":
            return str(resource["data"]["flyball.yaml"])
    raise AssertionError("the sidecar has no ConfigMap")


TEXTS = {
    "systemd": (DEPLOY / "systemd" / "flyball.yaml").read_text(),
    "container": (DEPLOY / "container" / "flyball.yaml").read_text(),
    "kubernetes": (DEPLOY / "kubernetes" / "agent.yaml").read_text(),
    "sidecar": sidecar(),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_the_agent_takes_it(text: str, tmp_path: Path) -> None:
    path = tmp_path / "flyball.yaml"
    path.write_text(text)
    effective = read_config(path, collector_types)
    assert effective.config.state_folder == Path("/var/lib/flyball/agent")
    assert effective.config.listen.endswith(":19753")
