"""The Kubernetes files: valid to the last field, and what they promise about rights and wiring."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from ruamel.yaml import YAML

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
VERSIONS = ("1.29", "1.37")
"""The first with native sidecars, and the newest that the checker knows."""
MONITORS = json.loads((Path(__file__).parent / "schema" / "monitors.schema.json").read_text())
Resource = dict[str, Any]


def resources(name: str) -> list[Resource]:
    return list(YAML(typ="safe").load_all((KUBERNETES / name).read_text()))


def only(name: str, kind: str) -> Resource:
    found = [resource for resource in resources(name) if resource["kind"] == kind]
    assert len(found) == 1
    return found[0]


CORE = [
    pytest.param(resource, id=f"{path.name} {resource['kind']}")
    for path in sorted(KUBERNETES.glob("*.yaml"))
    for resource in resources(path.name)
    if "apiVersion" in resource and resource["apiVersion"].split("/")[0] in ("v1", "apps", "batch")
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("resource", CORE)
def test_core_resources_are_valid(resource: Resource, version: str) -> None:
    assert kubernetes_validate.validate(resource, version, strict=True) == version


def test_a_misspelt_field_would_be_seen() -> None:
    broken = copy.deepcopy(only("daemonset.yaml", "DaemonSet"))
    broken["spec"]["template"]["spec"]["hostPid"] = False
    with pytest.raises(kubernetes_validate.ValidationError, match="hostPid"):
        kubernetes_validate.validate(broken, VERSIONS[0], strict=True)


@pytest.mark.parametrize("name", ["servicemonitor.yaml", "podmonitor.yaml"])
def test_monitors_are_valid(name: str) -> None:
    [monitor] = resources(name)
    jsonschema.validate(monitor, MONITORS)


@pytest.mark.parametrize("name", ["servicemonitor.yaml", "podmonitor.yaml"])
@pytest.mark.parametrize(
    ("key", "value"), [("sampleLimits", 1), ("endpoints", []), ("selector", {"app": "flyball-agent"})]
)
def test_a_wrong_monitor_would_be_seen(name: str, key: str, value: object) -> None:
    [monitor] = resources(name)
    monitor["spec"][key] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(monitor, MONITORS)


def test_the_kustomization_names_every_file_but_the_example() -> None:
    [kustomization] = resources("kustomization.yaml")
    there = {path.name for path in KUBERNETES.glob("*.yaml")}
    used = set(kustomization["resources"])
    configs = {
        entry.partition("=")[2] for made in kustomization["configMapGenerator"] for entry in made["files"]
    }
    assert used | configs | {"kustomization.yaml", "sidecar.yaml"} == there


def daemonset() -> Resource:
    spec: Resource = only("daemonset.yaml", "DaemonSet")["spec"]["template"]
    return spec


def job() -> Resource:
    spec: Resource = only("sidecar.yaml", "Job")["spec"]["template"]
    return spec


def ours() -> list[Any]:
    """All containers with our image, by name."""
    pods = [daemonset()["spec"], job()["spec"]]
    found = [c for pod in pods for c in (*pod["initContainers"], *pod["containers"])]
    return [pytest.param(c, id=c["name"]) for c in found if c["image"].startswith("flyball:")]


@pytest.mark.parametrize("container", ours())
def test_our_containers_can_do_next_to_nothing(container: Resource) -> None:
    security = container["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert "memory" in container["resources"]["limits"]


def test_agents_do_not_run_as_root() -> None:
    pod = daemonset()["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert "runAsUser" not in pod["containers"][0]["securityContext"]
    for container in job()["spec"]["initContainers"]:
        assert container["securityContext"]["runAsNonRoot"] is True


def test_no_agent_claims_a_gpu() -> None:
    for container in (*daemonset()["spec"]["containers"], *job()["spec"]["initContainers"]):
        assert not [name for name in container["resources"]["limits"] if "gpu" in name]


def test_the_sidecar_is_native_and_the_probe_is_there_before_the_training() -> None:
    probe, agent = job()["spec"]["initContainers"]
    assert agent["restartPolicy"] == "Always"
    assert "restartPolicy" not in probe
    assert "flyball probe install /flyball/probe" in probe["args"][0]
    [training] = job()["spec"]["containers"]
    assert {"name": "PYTHONPATH", "value": "/flyball/probe/site"} in training["env"]


def test_training_and_sidecar_share_the_folder_of_runs() -> None:
    containers = (*job()["spec"]["initContainers"], *job()["spec"]["containers"])
    mounts = [mount for c in containers for mount in c["volumeMounts"] if mount["name"] == "flyball"]
    assert [mount["mountPath"] for mount in mounts] == ["/flyball"] * 3
    assert [mount.get("readOnly", False) for mount in mounts] == [False, True, False]


def test_the_monitors_find_the_pods() -> None:
    [service] = resources("service.yaml")
    labels = daemonset()["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    [monitor] = resources("servicemonitor.yaml")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    [sidecars] = resources("podmonitor.yaml")
    assert sidecars["spec"]["selector"]["matchLabels"].items() <= job()["metadata"]["labels"].items()
    ports = {port["name"] for c in job()["spec"]["initContainers"] for port in c.get("ports", [])}
    assert sidecars["spec"]["podMetricsEndpoints"][0]["port"] in ports
