"""What the agent costs: processor time and memory while it watches 8 GPUs and 8 ranks and is scraped.

It starts the real command, scrapes it every 15 seconds and reads /proc. With ``--fake-gpus N`` that
process calls ``install(N)`` of ``tests/collectors/nvml_fake.py`` first, which puts N GPUs behind
``pynvml``; with ``--ranks N`` a writer keeps N journals growing, by ``--steps-per-second`` each. With
``--beside nvitop-exporter`` that exporter runs at the same time, scraped alike, and both are printed;
with ``--load`` a process keeps the first GPU busy, as what they watch does.

    python tests/benchmarks agent_cost --seconds 120 --fake-gpus 8 --ranks 8
    python tests/benchmarks agent_cost --seconds 600 --ranks 1 --load --beside nvitop-exporter
"""

import argparse
import contextlib
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flyball.runner.probe.process import process_started

FAKE = Path(__file__).parents[1] / "collectors" / "nvml_fake.py"
SCRAPE_SECONDS = 15.0
STEP = {"count": 1, "seconds": 1.0, "samples": 8, "tokens": 8192, "forwards": 1, "skipped": 0, "loss": 2.0}
_TICKS = os.sysconf("SC_CLK_TCK")


def agent(fake_gpus: int, arguments: list[str]) -> int:
    """Put the fake in pynvml's place, and be the process that ``flyball agent`` becomes."""
    if fake_gpus:
        spec = importlib.util.spec_from_file_location("nvml_fake", FAKE)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.install(fake_gpus)
    from flyball.agent.daemon.process import main

    return main(arguments)


@contextlib.contextmanager
def started(folder: Path, fake_gpus: int) -> Iterator[tuple[int, str]]:
    """Yield the agent's process id and address."""
    config = folder / "flyball.yaml"
    config.write_text(f"listen: 127.0.0.1:0\nstate_folder: {folder}/state\nrun_folders: [{folder}/runs]\n")
    command = [str(Path(sys.executable).with_name("flyball")), "agent", "--config", str(config)]
    if fake_gpus:
        command = [sys.executable, __file__, "--agent", str(fake_gpus), str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.pid, re.sub(r".*: (?=http)", "", process.stdout.readline().strip())
        finally:
            process.terminate()


@contextlib.contextmanager
def peer(command: str) -> Iterator[tuple[int, str]]:
    """Yield the other exporter's process id and address, once it answers; it reads the GPUs once a second."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [command, "--hostname", "127.0.0.1", "--port", str(port), "--interval", "1.0"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process.pid, f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@contextlib.contextmanager
def load() -> Iterator[None]:
    """Keep the first GPU busy with products, in a process of its own."""
    code = (
        "import torch\nx = torch.randn(4096, 4096, device='cuda', dtype=torch.bfloat16)\nprint(flush=True)\n"
        "while True:\n    for _ in range(50): x @ x\n    torch.cuda.synchronize()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()
            yield
        finally:
            process.terminate()


def write_journals(folder: Path, ranks: int, steps_per_second: float, ended: threading.Event) -> None:
    """Append steps to each rank's journal, in the form of docs/journal.md."""
    run = folder / "runs" / "cost"
    run.mkdir(parents=True)
    step = 0
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context((run / f"rank-{rank}.jsonl").open("a")) for rank in range(ranks)]
        for rank, file in enumerate(files):
            file.write(json.dumps(header(rank, ranks)) + "\n")
        while not ended.wait(1.0 / steps_per_second):
            step += 1
            for file in files:
                file.write(json.dumps(stamped("step", **STEP, step=step)) + "\n")
                file.flush()


def stamped(kind: str, **fields: object) -> dict[str, object]:
    """A record of the journal."""
    return {"kind": kind, "time": time.time(), "clock": time.monotonic(), "engine": 0, **fields}


def header(rank: int, world_size: int) -> dict[str, object]:
    """The journal's first record."""
    place = {"rank": rank, "local_rank": rank, "world_size": world_size, "device": f"cuda:{rank}"}
    who = {"host": os.uname().nodename, "pid": os.getpid(), "gpu_uuid": None, "started": process_started()}
    return stamped("header", schema=1, purpose="run", run="cost", **place, **who)


def processor_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_kilobytes(pid: int) -> int:
    """What a process has in memory."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1])


@dataclass(kw_only=True)
class Spent:
    """What one process took so far."""

    name: str
    pid: int
    url: str
    processor_at_start: float = 0.0
    page_bytes: int = 0

    def begin(self) -> None:
        self.processor_at_start = processor_seconds(self.pid)

    def scrape(self) -> None:
        with urllib.request.urlopen(f"{self.url}/metrics") as page:
            self.page_bytes = len(page.read())

    def processor(self) -> float:
        """Seconds since :meth:`begin`."""
        return processor_seconds(self.pid) - self.processor_at_start


def measure(watched: list[Spent], seconds: float) -> None:
    """Scrape all of them for ``seconds``, and print what each took; of the first over the others too."""
    time.sleep(5)  # start-up is not what is measured
    began = time.monotonic()
    for each in watched:
        each.begin()
    while time.monotonic() - began < seconds:
        for each in watched:
            each.scrape()
        time.sleep(min(SCRAPE_SECONDS, max(0.0, seconds - (time.monotonic() - began))))
    elapsed = time.monotonic() - began
    for each in watched:
        spent = each.processor()
        print(f"{each.name}: {elapsed:.0f} s, a scrape has {each.page_bytes} bytes")
        print(f"  processor {spent:.2f} s, {spent / elapsed:.2%} of a core (at most 1%)")
        print(f"  resident {resident_kilobytes(each.pid)} kB (at most 100000)")
    for each in watched[1:]:
        print(f"processor over {each.name}'s: {watched[0].processor() / each.processor():.2f} (0.5, aim 0.3)")


def main() -> int:
    """Measure, or be the agent that is measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--fake-gpus", type=int, default=0)
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--steps-per-second", type=float, default=10.0)
    parser.add_argument(
        "--beside", metavar="COMMAND", help="another exporter, with nvitop-exporter's options"
    )
    parser.add_argument("--load", action="store_true", help="keep the first GPU busy meanwhile")
    parser.add_argument("--agent", nargs=2, metavar=("GPUS", "CONFIG"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.agent:
        return agent(int(given.agent[0]), [f"--config={given.agent[1]}"])
    with tempfile.TemporaryDirectory() as name:
        folder, ended = Path(name), threading.Event()
        writing = (folder, given.ranks, given.steps_per_second, ended)
        writer = threading.Thread(target=write_journals, args=writing)
        writer.start()
        try:
            with contextlib.ExitStack() as stack:
                if given.load:
                    stack.enter_context(load())
                pid, url = stack.enter_context(started(folder, given.fake_gpus))
                watched = [Spent(name="flyball agent", pid=pid, url=url)]
                if given.beside:
                    pid, url = stack.enter_context(peer(given.beside))
                    watched.append(Spent(name=given.beside, pid=pid, url=url))
                measure(watched, given.seconds)
        finally:
            ended.set()
            writer.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
