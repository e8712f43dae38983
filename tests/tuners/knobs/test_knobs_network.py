"""Variables of NCCL and gloo: offered where ranks talk, never over what the user set, believed when seen."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.tuners.study_bench import Bench, two_ranks_of

from flyball.tuners.job import job as job_module
from flyball.tuners.job.interfaces import usable_interfaces
from flyball.tuners.job.job import Job
from flyball.tuners.knobs.registry import BY_NAME
from flyball.tuners.legality.context import Context
from flyball.tuners.options import StudyOptions
from flyball.tuners.space.render import render
from flyball.tuners.space.space import load_space
from flyball.tuners.study.setup import Launchers

GLOO = "GLOO_SOCKET_IFNAME"
NAMES = ("nccl_socket_ifname", "gloo_socket_ifname", "nccl_algo", "nccl_proto", "nccl_min_channels")
NETWORK = Path("network")


def on_hosts(hosts: int = 2, **other: Any) -> Context:
    fields: dict[str, Any] = {"world_size": 4, "device": "cuda", "interfaces": ("eth0", "ib0"), **other}
    return Context(hosts=hosts, **fields)


def values(name: str, context: Context, space: Path | None = None) -> tuple[Any, ...]:
    return load_space(space, {}, context).entry(name).values


def left_out(name: str, context: Context, space: Path | None = None) -> str:
    return load_space(space, {}, context).left_out[name]


def test_between_hosts_the_default_space_offers_interface_and_algorithm() -> None:
    assert values("nccl_socket_ifname", on_hosts()) == ("as given", "=eth0", "=ib0")
    assert values("nccl_algo", on_hosts()) == ("as given", "Ring", "allreduce:tree")
    assert values("gloo_socket_ifname", on_hosts(device="cpu")) == ("as given", "eth0", "ib0")


@pytest.mark.parametrize(
    ("name", "context", "why"),
    [
        ("nccl_algo", Context(world_size=1, device="cuda", hosts=2), "one rank has nothing to communicate"),
        ("nccl_algo", on_hosts(device="cpu"), "gloo communicates"),
        ("nccl_algo", on_hosts(hosts=1), "not offered by default here"),
        ("nccl_socket_ifname", on_hosts(hosts=1), "ranks of one host need no interface"),
        ("gloo_socket_ifname", on_hosts(hosts=1, device="cpu"), "ranks of one host need no interface"),
        ("gloo_socket_ifname", on_hosts(), "NCCL communicates"),
        ("nccl_proto", on_hosts(), "not offered by default here"),
        ("nccl_threads", on_hosts(), "not offered by default here"),
        ("nccl_algo", on_hosts(environment={"NCCL_ALGO": "Tree"}), "not offered by default here"),
        ("nccl_socket_ifname", on_hosts(interfaces=()), "nothing to choose from"),
    ],
)
def test_it_is_left_out_where_it_cannot_act_or_is_decided(name: str, context: Context, why: str) -> None:
    assert why in left_out(name, context)


def test_the_network_space_offers_what_nccl_has_on_one_host_too() -> None:
    one = on_hosts(hosts=1)
    assert values("nccl_algo", one, NETWORK) == ("as given", "Ring", "allreduce:tree")
    assert values("nccl_min_channels", one, NETWORK) == ("as given", 4, 8, 16, 32)
    assert "need no interface" in left_out("nccl_socket_ifname", one, NETWORK)


def test_what_the_user_set_is_a_value_where_a_space_file_asks() -> None:
    context = on_hosts(environment={"NCCL_ALGO": "allreduce:nvls", "NCCL_MIN_NCHANNELS": "24"})
    assert values("nccl_algo", context, NETWORK) == ("allreduce:nvls", "Ring", "allreduce:tree")
    assert values("nccl_min_channels", context, NETWORK) == (4, 8, 16, 24, 32)
    same = render({}, {"nccl_algo": "allreduce:nvls", "nccl_min_channels": 24}, context)
    other = render({}, {"nccl_algo": "Ring", "nccl_min_channels": 32}, context)
    assert same.environment == {}
    assert other.environment == {"NCCL_ALGO": "Ring", "NCCL_MIN_NCHANNELS": "32"}


def test_lists_by_function_are_for_the_nccl_of_newer_torch() -> None:
    older = on_hosts(torch_version="2.6.0+cu124")
    assert values("nccl_algo", older) == ("as given", "Ring", "Tree")
    space = load_space(NETWORK, {}, older)
    assert "nccl_algo=allreduce:tree" in space.left_out
    assert "allreduce:tree" in values("nccl_algo", on_hosts(torch_version="2.11.0+cu130"))


def test_an_interface_that_is_not_there_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("knobs:\n  nccl_socket_ifname: ['=eth0', '=eth', 'eth', '^docker', 'bond0']\n")
    space = load_space(file, {}, on_hosts())
    assert space.entry("nccl_socket_ifname").values == ("as given", "=eth0", "=eth", "eth", "^docker")
    assert "no interface 'bond0'" in space.left_out["nccl_socket_ifname=bond0"]


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("nccl_algo", "Ring,Tree", None),
        ("nccl_algo", "^PAT", None),
        ("nccl_algo", "ring;allreduce:tree,nvls", None),
        ("nccl_algo", "Rings", "none of Tree, Ring"),
        ("nccl_algo", "alltoall:ring", "names no function"),
        ("nccl_proto", "Simple", None),
        ("nccl_proto", "^LL128", None),
        ("nccl_proto", "LL,LL128", "corrupts data"),
        ("nccl_proto", "allreduce:LL128", "corrupts data"),
        ("nccl_min_channels", 0, "is below 1"),
        ("nccl_threads", 300, "is not one of 64, 128, 256, 512"),
    ],
)
def test_values_are_those_of_nvidias_page(name: str, value: Any, complaint: str | None) -> None:
    found = BY_NAME[name].accepts(value)
    assert (found is None) if complaint is None else (complaint in str(found))


def test_interfaces_of_this_host_leave_loopback_out() -> None:
    assert not [name for name in usable_interfaces() if name.startswith(("lo", "docker"))]


@dataclass
class TwoHosts(Bench):
    """A job whose ranks talk over a slow interface unless they are told of the fast one."""

    acts: bool = True

    def launchers(self, options: StudyOptions, job: Job) -> Launchers:
        made = super().launchers(options, job)
        for launcher in self.made:
            launcher.witness = self.saw
        return made

    def saw(self, environment: Mapping[str, str]) -> dict[str, Any]:
        used = environment.get(GLOO, "eth0") if self.acts else "eth0"
        return {"knob": "network", "value": {"told": None, "interfaces": [used]}}


def faster(config: Mapping[str, Any], environment: Mapping[str, str]) -> float:
    return 130.0 if environment.get(GLOO) == "eth1" else 100.0


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TwoHosts:
    expected = job_module.expected_context

    def of_two_hosts(*arguments: Any) -> Context:
        return replace(expected(*arguments), hosts=2, interfaces=("eth0", "eth1"))

    def by_deepspeed(*arguments: Any, **options: Any) -> Any:
        return replace(two_ranks_of(*arguments, **options), launcher="deepspeed")

    monkeypatch.setattr(job_module, "expected_context", of_two_hosts)
    monkeypatch.setattr(job_module, "parse_command", by_deepspeed)
    monkeypatch.delenv(GLOO, raising=False)
    monkeypatch.delenv("DS_ENV_FILE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    made = TwoHosts(tmp_path, faster)
    (tmp_path / ".deepspeed_env").write_text(f"MINE=1\n{GLOO}=eth7\n\nnonsense\n")
    (tmp_path / "space.yaml").write_text("knobs:\n  gloo_socket_ifname: default\n")
    return made


def test_the_command_and_the_file_for_other_hosts_carry_it(bench: TwoHosts) -> None:
    bench.run()
    found = bench.recommendation()
    assert found["verdict"] == "recommended", found["reasons"]
    assert found["recommended"]["environment"] == {GLOO: "eth1"}
    file = bench.folder / "out" / ".deepspeed_env"
    assert file.read_text() == f"{GLOO}=eth1\nMINE=1\n"
    words = shlex.split((bench.folder / "out/cmd_optimal.txt").read_text())
    assert f"{GLOO}=eth1" in words
    assert f"DS_ENV_FILE={file}" in words


def test_an_interface_that_no_connection_uses_is_not_recommended(bench: TwoHosts) -> None:
    bench.acts = False
    bench.run()
    found = bench.recommendation()
    assert found["verdict"] == "keep"
    assert "no effect of gloo_socket_ifname was seen" in found["notes"]
    assert not (bench.folder / "out" / ".deepspeed_env").exists()
