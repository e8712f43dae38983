"""Real runs, a real agent, a signed webhook: a link that becomes slow and heals, and a run out of memory."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.live.agent_process import running
from tests.live.hosts import Host
from tests.live.test_probe_live import CONFIG
from tests.live.test_workload import free_port
from tests.live.webhook_server import SECRET, WebhookServer, webhook_server
from tests.patience import PATIENCE_SECONDS, fetch

from flyball.policies.rule_file import DEFAULT
from flyball.runner.probe_install import install

pytestmark = pytest.mark.live

FLYBALL = [str(Path(sys.executable).with_name("flyball"))]
COLLECTORS = "collectors:\n" + "".join(
    f"  {name}: {{interval_seconds: 0.5}}\n" for name in ("workload", "allocator", "nccl")
)
OTHERS = "".join(f"  {name}: {{enabled: false}}\n" for name in ("nvml", "dcgm", "host"))
TRAIN = """
import argparse, os, sys, deepspeed, torch
parser = deepspeed.add_config_arguments(argparse.ArgumentParser())
parser.add_argument("--local_rank", type=int, default=0)
parser.add_argument("--stop")
args = parser.parse_args()
deepspeed.init_distributed(dist_backend="gloo")
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 64))
engine, *_ = deepspeed.initialize(args=args, model=model, model_parameters=model.parameters())
stop = torch.zeros(1)
while not stop.item():
    for _ in range(engine.gradient_accumulation_steps()):
        loss = engine(torch.randn(4, 64, dtype=next(engine.parameters()).dtype)).float().square().mean()
        engine.backward(loss)
        engine.step()
    stop.fill_(os.path.exists(args.stop))
    torch.distributed.broadcast(stop, 0)
deepspeed.comm.destroy_process_group()
"""
PING_STEPS = 5
LONG_QUEUE = ["rate", "20mbit", "burst", "16kb", "limit", "60kb"]
"""Of a link that is congested: what another flow sends stands before a message for up to 24 ms."""
SLOW_LINK = ["rate", "2mbit", "burst", "16kb", "latency", "400ms"]
"""Of a link that has become slow: the gradients of a step, about 17 KB, wait for some 70 ms."""


def short(alert: str) -> str:
    """One of the policies that come with flyball, with windows of seconds for its minutes."""
    text = DEFAULT.read_text("utf-8")
    begin = text.index(f"  - alert: {alert}\n")
    rule = text[begin : text.index("\n\n", begin) + 1]
    for usual, here in (
        ("    window: 2m\n", "    window: 8s\n"),
        ("    baseline: {window: 30m}\n", "    baseline: {window: 60s}\n"),
        ("    keep_firing_for: 2m\n", "    keep_firing_for: 2s\n"),
    ):
        assert usual in rule
        rule = rule.replace(usual, here)
    # No pause is bridged for longer than the alert waits.
    rule = rule.replace("within: 1m}", "within: 2s}")
    rule, count = re.subn(r"    for: \dm\n", "    for: 2s\n", rule)
    assert count == 1
    return f"policies:\n{rule}"


def configuration(folder: Path, server: WebhookServer, policies: str) -> str:
    (folder / "ops.secret").write_text(SECRET, "utf-8")
    receiver = f"{{type: webhook, url: '{server.url}', private_network: true, secret_files: [ops.secret]}}"
    return f"policies: [{policies}]\n{COLLECTORS}{OTHERS}receivers:\n  ops: {receiver}\n"


@contextmanager
def training(folder: Path, hosts: tuple[Host, Host], **more: object) -> Iterator[None]:
    """Two ranks, one on each side; ``more`` settings of the probe."""
    (folder / "train.py").write_text(TRAIN, "utf-8")
    (folder / "ds.json").write_text(json.dumps(CONFIG), "utf-8")
    runs = folder / "runs" / "job"
    runs.mkdir(parents=True)
    given = {"run": "job", "purpose": "run", "directory": str(runs), "budget_ratio": 1e9, **more}
    stop = folder / "stop"
    environment = {
        **os.environ,
        **install(folder / "probe", given),
        "DS_ACCELERATOR": "cpu",
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": hosts[0].address,
        "MASTER_PORT": "29643",
    }
    script = ["train.py", "--deepspeed_config", str(folder / "ds.json"), "--stop", str(stop)]
    with ExitStack() as stack:
        log = stack.enter_context((folder / "train.log").open("w"))
        started = [
            stack.enter_context(
                subprocess.Popen(
                    host.command(sys.executable, *script),
                    env={**environment, "RANK": str(rank)},
                    cwd=folder,
                    stdout=log,
                    stderr=log,
                )
            )
            for rank, host in enumerate(hosts)
        ]
        try:
            yield
            stop.touch()
            for process in started:
                process.wait(PATIENCE_SECONDS)
        finally:
            for process in started:
                process.kill()


BULK = """
import contextlib, socket, sys, threading
listens, address = sys.argv[1] == "listen", (sys.argv[2], 29644)
if listens:
    flow, _ = socket.create_server(address).accept()
else:
    flow = None
    while flow is None:
        with contextlib.suppress(ConnectionRefusedError):
            flow = socket.create_connection(address)
def send():
    while True:
        flow.sendall(b"x" * 65536)
threading.Thread(target=send, daemon=True).start()
while flow.recv(65536):
    pass
"""
"""Sends in both directions as fast as the link takes it."""


@contextmanager
def congested(hosts: tuple[Host, Host]) -> Iterator[None]:
    """A link that another flow fills, with a long queue before it."""
    with ExitStack() as stack:
        for host, role in zip(hosts, ("listen", "connect"), strict=True):
            host.shape(*LONG_QUEUE)
            stack.callback(host.shape)
            command = host.command(sys.executable, "-c", BULK, role, hosts[0].address)
            flow = stack.enter_context(subprocess.Popen(command, stderr=subprocess.DEVNULL))
            stack.callback(flow.kill)
        yield


def test_a_link_that_another_flow_fills_is_told_by_its_pings_and_so_is_its_healing(
    tmp_path: Path, hosts: tuple[Host, Host]
) -> None:
    (tmp_path / "rules.yaml").write_text(short("P2pLatencyRegressed"), "utf-8")
    with webhook_server() as server:
        text = configuration(tmp_path, server, "rules.yaml")
        pings = {"ping_every_steps": PING_STEPS}
        with running(tmp_path, text, FLYBALL) as agent, training(tmp_path, hosts, **pings):
            usual(agent.url(), "p2p", calls=100, places=('src="0"',))
            before = quiet(server)
            with congested(hosts):
                first = server.firing_after(before)
            server.until(lambda: healed(server))
            assert agent.end() == 0
    assert server.faults == []
    ends = first.labels["src"], first.labels["dst"]
    assert set(ends) == {"0", "1"}
    assert first.labels == {
        "alertname": "P2pLatencyRegressed",
        "severity": "warning",
        "run": "job",
        "src": ends[0],
        "dst": ends[1],
        "size_class": "8KiB",
        "source": "in_band",
        "backend": "gloo",
    }
    assert "Messages from rank {} to {} of job".format(*ends) in first.body["commonAnnotations"]["summary"]
    assert all("webhook-signature" in one.headers for one in server.received)


def test_a_link_that_becomes_slow_under_load_is_told_and_so_is_its_healing(
    tmp_path: Path, hosts: tuple[Host, Host]
) -> None:
    (tmp_path / "rules.yaml").write_text(short("CollectiveLatencyRegressed"), "utf-8")
    with webhook_server() as server:
        text = configuration(tmp_path, server, "rules.yaml")
        with running(tmp_path, text, FLYBALL) as agent, training(tmp_path, hosts):
            url = agent.url()
            usual(url, "collective", calls=200, places=('rank="0"', 'rank="1"'))
            before = quiet(server)
            for host in hosts:
                host.shape(*SLOW_LINK)
            first = server.firing_after(before)
            for host in hosts:
                host.shape()
            server.until(lambda: healed(server))
            assert agent.end() == 0
    assert server.faults == []
    assert {name: first.labels[name] for name in ("alertname", "severity", "run", "source")} == {
        "alertname": "CollectiveLatencyRegressed",
        "severity": "warning",
        "run": "job",
        "source": "timed",
    }
    assert first.labels["rank"] in {"0", "1"}
    assert "of what was usual for this run" in first.body["commonAnnotations"]["summary"]
    assert all("webhook-signature" in one.headers for one in server.received)


def usual(url: str, what: str, *, calls: int, places: Sequence[str]) -> None:
    """Wait until so many messages or collectives of each place are the run's own past."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    pattern = rf"^flyball_{what}_latency_seconds_count\{{(.*)\}} (\S+)$"
    while True:
        found = re.findall(pattern, fetch(f"{url}/metrics").text, re.MULTILINE)
        enough = [labels for labels, count in found if float(count) >= calls]
        if all(any(place in labels for labels in enough) for place in places):
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def quiet(server: WebhookServer) -> int:
    """Wait until nothing fires (on a busy machine a good link can be slow); how much was told before."""
    server.until(lambda: not server.received or healed(server))
    return len(server.received)


def healed(server: WebhookServer) -> bool:
    """Whether everything that was told is over."""
    last = {one.body["alerts"][0]["fingerprint"]: one.status for one in server.received}
    return bool(last) and set(last.values()) == {"resolved"}


def test_a_run_that_is_out_of_memory_raises_the_alert_that_comes_with_flyball(tmp_path: Path) -> None:
    greedy = TRAIN.replace(
        "    stop.fill_(os.path.exists(args.stop))\n    torch.distributed.broadcast(stop, 0)\n",
        "    torch.empty(1 << 62, dtype=torch.uint8)\n",
    )
    assert greedy != TRAIN
    (tmp_path / "train.py").write_text(greedy, "utf-8")
    (tmp_path / "ds.json").write_text(json.dumps(CONFIG), "utf-8")
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    environment = {"DS_ACCELERATOR": "cpu", "MASTER_PORT": free_port(), "FLYBALL_STATE_DIR": str(tmp_path)}
    script = [sys.executable, "train.py", "--deepspeed_config", str(tmp_path / "ds.json")]
    with ExitStack() as stack:
        server = stack.enter_context(webhook_server())
        agent = stack.enter_context(running(tmp_path, configuration(tmp_path, server, "default"), FLYBALL))
        agent.url()
        done = subprocess.run(
            [*FLYBALL, "run", "--name", "greedy", "-q", "--", *script],
            env={**os.environ, **alone, **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode != 0
        assert "can't allocate memory" in done.stderr
        (told,) = server.wait(1)
        assert agent.end() == 0
    assert server.faults == []
    assert (told.labels, told.status) == (
        {"alertname": "OutOfMemory", "severity": "critical", "run": "greedy", "rank": "0"},
        "firing",
    )
    assert "webhook-signature" in told.headers
    assert "Lower the micro batch" in told.body["commonAnnotations"]["action"]
