"""The real agent beside real jobs, scraped by a real Prometheus: what it shows is what the journals say.

Three jobs: two ranks under ``flyball run``, two ranks that torchrun starts with an installed probe, and one
process that trains without any probe.
"""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.grafana.dashboards import FILES, load, put_in, queries
from tests.grafana.prometheus_server import Prometheus, prometheus
from tests.live.agent_process import running
from tests.live.test_workload import LATE_ABORT, free_port
from tests.patience import PATIENCE_SECONDS, fetch

from flyball.collectors import catalog
from flyball.runner.probe.budget import GRACE_STEPS, WINDOW_STEPS

pytestmark = pytest.mark.live

BINARIES = Path(sys.executable).parent
COLLECTORS = "finished_seconds: 600\ncollectors:\n" + "".join(
    f"  {name}: {{interval_seconds: 0.2}}\n" for name in ("workload", "allocator", "nccl", "host")
)
UNPROBED = "import sys, torch; print('ready', flush=True); sys.stdin.read()"
STEPS = GRACE_STEPS + WINDOW_STEPS - 5
"""Fewer than the probe weighs its cost over: on a machine with other work it could switch itself off."""
TRAIN = [str(Path(__file__).parent / "scripts" / "tiny.py"), "--steps", str(STEPS)]
CONFIG = {
    "train_micro_batch_size_per_gpu": 4,
    "optimizer": {"type": "Adam", "params": {"lr": 1e-3, "torch_adam": True}},
    "zero_optimization": {"stage": 1},
}
NOT_HERE = {"P2P latency of larger messages, p50 A", "Firing alerts by agent A"}
"""The jobs send nothing larger than 8 KiB from one rank to one other, and are in good order."""
RANKS = [("watched", "0"), ("watched", "1"), ("installed", "0"), ("installed", "1")]


@dataclass(frozen=True)
class Watched:
    """What all tests here look at."""

    server: Prometheus
    page: str
    """The agent's own /metrics when all jobs had ended."""
    state: Path
    unprobed_pid: int

    def steps(self, run: str, rank: str) -> list[dict[str, Any]]:
        """The step records, read without flyball's reader."""
        lines = (self.state / "runs" / run / f"rank-{rank}.jsonl").read_text("utf-8").splitlines()
        return [record for record in map(json.loads, lines) if record["kind"] == "step"]

    def scraped(self, name: str, run: str, rank: str) -> list[float]:
        """Every value that Prometheus has of one series, the oldest first."""
        (series,) = self.server.query(f'{name}{{run="{run}",rank="{rank}"}}[10m]')
        return [float(value) for _, value in series["values"]]  # type: ignore[attr-defined]


def trained(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0 or LATE_ABORT in done.stderr, done.stderr[-4000:]


def exports(text: str) -> dict[str, str]:
    """The environment that ``flyball probe install`` prints."""
    told = subprocess.run(
        ["sh", "-c", f"{text}\nenv -0"], capture_output=True, text=True, check=True, env={"PATH": "/bin"}
    )
    pairs = (pair.partition("=") for pair in told.stdout.split("\0") if pair)
    return {name: value for name, _, value in pairs if name not in {"PWD", "PATH", "_", "SHLVL"}}


def jobs(state: Path, folder: Path) -> None:
    """Both watched jobs, one after the other: two cores are enough for one."""
    config = folder / "ds.json"
    config.write_text(json.dumps(CONFIG), "utf-8")
    flyball, environment = str(BINARIES / "flyball"), {"FLYBALL_STATE_DIR": str(state)}
    options = ["--name", "watched", "--ping-every-steps", "4", "-q"]
    trained([flyball, "run", *options, "--", *two_ranks(config)], environment, folder)
    installed = subprocess.run(
        [flyball, "probe", "install", str(folder / "installed")],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    trained(two_ranks(config), exports(installed.stdout), folder)


def two_ranks(config: Path) -> list[str]:
    launcher = [str(BINARIES / "torchrun"), "--nproc_per_node", "2", "--master_port", free_port()]
    return [*launcher, *TRAIN, "--deepspeed", "--deepspeed_config", str(config)]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    command = shutil.which("prometheus")
    if command is None:
        pytest.skip("no prometheus: install Debian's package prometheus")
    folder = tmp_path_factory.mktemp("agent")
    state = folder  # the agent looks into its folder of runs
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", UNPROBED],
        env={**os.environ, **alone},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as unprobed:
        assert unprobed.stdout is not None
        assert unprobed.stdout.readline() == "ready\n"
        program = [str(BINARIES / "flyball")]
        try:
            with running(folder, COLLECTORS, program) as agent:
                url = agent.url()
                with prometheus(command, url.partition("//")[2], tmp_path_factory.mktemp("tsdb")) as server:
                    jobs(state, folder)
                    finished = f'{catalog.RUN_INFO.full_name}{{phase="finished"}}'
                    deadline = time.monotonic() + PATIENCE_SECONDS
                    while len(server.query(finished)) < len(RANKS):
                        assert time.monotonic() < deadline, "the ends of the jobs were not seen"
                    page = fetch(f"{url}/metrics").text
                    yield Watched(server=server, page=page, state=state, unprobed_pid=unprobed.pid)
                assert agent.end() == 0
        finally:
            unprobed.kill()


@pytest.mark.parametrize(("run", "rank"), RANKS)
def test_every_scraped_total_is_one_that_the_journal_had(watched: Watched, run: str, rank: str) -> None:
    sums = [0, *itertools.accumulate(record["samples"] for record in watched.steps(run, rank))]
    scraped = watched.scraped(catalog.SAMPLES.full_name, run, rank)
    assert set(scraped) <= set(sums)
    assert scraped == sorted(scraped)
    assert scraped[-1] == sums[-1] > 0
    assert len(set(scraped) - {0, sums[-1]}) >= 2, "it was scraped while the job ran"


@pytest.mark.parametrize(("run", "rank"), RANKS)
def test_step_times_and_losses_are_the_journals(watched: Watched, run: str, rank: str) -> None:
    records = watched.steps(run, rank)
    counts = [0, *itertools.accumulate(record.get("count", 1) for record in records)]
    name = catalog.STEP_SECONDS.full_name
    assert set(watched.scraped(f"{name}_count", run, rank)) <= set(counts)
    assert watched.scraped(f"{name}_count", run, rank)[-1] == counts[-1]
    seconds = sum(record["seconds"] for record in records)
    assert watched.scraped(f"{name}_sum", run, rank)[-1] == pytest.approx(seconds)
    losses = [record["loss"] for record in records if record.get("loss") is not None]
    scraped = watched.scraped(catalog.LOSS.full_name, run, rank)
    assert set(scraped) <= set(losses)
    assert scraped[-1] == losses[-1]


@pytest.mark.parametrize(("run", "rank"), RANKS)
def test_bytes_are_the_journals(watched: Watched, run: str, rank: str) -> None:
    told: dict[str, int] = {}
    for record in watched.steps(run, rank):
        for operation, count in (record.get("communicated") or {}).items():
            told[operation] = told.get(operation, 0) + count
    found = watched.server.query(f'{catalog.COMMUNICATED_BYTES.full_name}{{run="{run}",rank="{rank}"}}')
    shown = {series["metric"]["op"]: float(series["value"][1]) for series in found}  # type: ignore[index]
    assert shown == told
    assert shown


def test_the_links_of_the_running_job_were_measured(watched: Watched) -> None:
    name = catalog.P2P_LATENCY.full_name
    found = watched.server.query(f'{name}_count{{run="watched",source="in_band",size_class="8KiB"}}')
    links = {(series["metric"]["src"], series["metric"]["dst"]) for series in found}  # type: ignore[index]
    assert links == {("0", "1")} or links == {("0", "1"), ("1", "0")}
    assert all(float(series["value"][1]) > 0 for series in found)  # type: ignore[index]


def test_phases_are_seen_as_they_pass(watched: Watched) -> None:
    for run, rank in RANKS:
        found = watched.server.query(f'{catalog.RUN_INFO.full_name}{{run="{run}",rank="{rank}"}}[10m]')
        phases = {series["metric"]["phase"] for series in found}  # type: ignore[index]
        assert {"stepping", "finished"} <= phases


@pytest.mark.parametrize(("run", "rank"), RANKS)
def test_steps_without_a_checkpoint_are_all_there_were(watched: Watched, run: str, rank: str) -> None:
    counts = [0, *itertools.accumulate(record["count"] for record in watched.steps(run, rank))]
    scraped = watched.scraped(catalog.STEPS_SINCE_CHECKPOINT.full_name, run, rank)
    assert set(scraped) <= set(counts)
    assert scraped == sorted(scraped)
    assert scraped[-1] == counts[-1] > 0


@pytest.mark.parametrize(("run", "rank"), RANKS)
def test_silence_is_told_while_a_rank_steps_and_not_after_it(watched: Watched, run: str, rank: str) -> None:
    scraped = watched.scraped(catalog.RUN_SILENT.full_name, run, rank)
    assert all(0 <= seconds < PATIENCE_SECONDS for seconds in scraped)
    assert f'{catalog.RUN_SILENT.full_name}{{run="{run}"' not in watched.page
    assert catalog.RECOVERY.full_name + "{" not in watched.page


def test_the_journals_say_how_the_runs_were_started(watched: Watched) -> None:
    launchers = {}
    for run, rank in RANKS:
        first = (watched.state / "runs" / run / f"rank-{rank}.jsonl").read_text("utf-8").partition("\n")[0]
        header = json.loads(first)
        if rank == "1":
            assert "command" not in header
            continue
        assert header["command"][1:3] == ["-u", TRAIN[0]]
        assert Path(header["working_directory"]).is_dir()
        launchers[run] = header["launcher"]
    ports = {run: launcher.pop(launcher.index("--master_port") + 1) for run, launcher in launchers.items()}
    assert all(port.isdigit() for port in ports.values())
    # As flyball run was given it, and as it was found among the parents.
    assert launchers["watched"] == launchers["installed"]
    assert launchers["watched"][0] == str(BINARIES / "torchrun")
    assert launchers["watched"][-len(TRAIN) - 3 : -3] == TRAIN


def test_a_process_without_a_probe_is_shown_as_such(watched: Watched) -> None:
    found = watched.server.query(f'{catalog.RUN_INFO.full_name}{{reason="not_probed"}}')
    shown = {(series["metric"]["run"], series["metric"]["rank"]) for series in found}  # type: ignore[index]
    assert (f"pid-{watched.unprobed_pid}", "0") in shown


def test_what_this_machine_lacks_is_absent_with_its_reason(watched: Watched) -> None:
    up = catalog.COLLECTOR_UP.full_name
    if watched.server.query(f'{up}{{collector="nvml",reason=""}} == 1'):
        assert f"{catalog.GPU_POWER.full_name}{{" in watched.page
    else:
        assert watched.server.query(f'{up}{{collector="nvml",reason!=""}} == 0')
        assert f"{catalog.GPU_POWER.full_name}{{" not in watched.page


def test_the_dashboards_show_this_run(watched: Watched) -> None:
    there = set(re.findall(r"^(flyball_\w+?)(?:_bucket|_sum|_count)?(?=[{ ])", watched.page, re.MULTILINE))
    values = {"run": "watched", "rank": ".*", "host": ".*", "__rate_interval": "5m", "__range": "10m"}
    asked = [
        (place, query)
        for name in FILES
        for place, query in queries(load(name))
        if {re.sub(r"_(bucket|sum|count)$", "", word) for word in re.findall(r"flyball_\w+", query)} <= there
    ]
    empty = [place for place, query in asked if not watched.server.query(put_in(query, values))]
    assert set(empty) <= NOT_HERE
    assert len(asked) >= 15
