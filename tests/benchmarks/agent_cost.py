"""What the agent costs: processor time and memory while it watches 8 GPUs and 8 ranks and is scraped.

It starts the real command, scrapes it every 15 seconds and reads /proc. With ``--fake-gpus N`` that
process calls ``install(N)`` of ``tests/collectors/nvml_fake.py`` first, which puts N GPUs behind
``pynvml``; with ``--ranks N`` a writer keeps N journals growing, a step a second each.

    python tests/benchmarks agent_cost --seconds 120 --fake-gpus 8 --ranks 8
"""

import argparse
import contextlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

FAKE = Path(__file__).parents[1] / "collectors" / "nvml_fake.py"
SCRAPE_SECONDS = 15.0
STEP = {"count": 1, "seconds": 1.0, "samples": 8, "tokens": 8192, "forwards": 1, "skipped": 0, "loss": 2.0}
_TICKS = os.sysconf("SC_CLK_TCK")


def agent(fake_gpus: int, arguments: list[str]) -> int:
    """In the agent's process: put the fake in pynvml's place, and run the command line."""
    if fake_gpus:
        spec = importlib.util.spec_from_file_location("nvml_fake", FAKE)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.install(fake_gpus)
    from flyball.agent.cli import run

    return run(arguments)


@contextlib.contextmanager
def started(folder: Path, fake_gpus: int) -> Iterator[tuple[int, str]]:
    """Yield the agent's process id and address."""
    config = folder / "flyball.yaml"
    config.write_text(f"listen: 127.0.0.1:0\nstate_folder: {folder}/state\nrun_folders: [{folder}/runs]\n")
    command = [sys.executable, __file__, "--agent", str(fake_gpus), str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.pid, re.sub(r".*: (?=http)", "", process.stdout.readline().strip())
        finally:
            process.terminate()


def write_journals(folder: Path, ranks: int, ended: threading.Event) -> None:
    """Append one step a second to each rank's journal, in the form of docs/journal.md."""
    run = folder / "runs" / "cost"
    run.mkdir(parents=True)
    step = 0
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context((run / f"rank-{rank}.jsonl").open("a")) for rank in range(ranks)]
        for rank, file in enumerate(files):
            file.write(json.dumps(header(rank, ranks)) + "\n")
        while not ended.wait(1.0):
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
    who = {"host": os.uname().nodename, "pid": os.getpid(), "gpu_uuid": None}
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


def measure(pid: int, url: str, seconds: float) -> None:
    """Scrape for ``seconds``, and print what that took."""
    time.sleep(5)  # start-up is not what is measured
    began, used = time.monotonic(), processor_seconds(pid)
    while time.monotonic() - began < seconds:
        with urllib.request.urlopen(f"{url}/metrics") as page:
            size = len(page.read())
        time.sleep(min(SCRAPE_SECONDS, max(0.0, seconds - (time.monotonic() - began))))
    elapsed, spent = time.monotonic() - began, processor_seconds(pid) - used
    print(f"scrape {size} bytes, {elapsed:.0f} s")
    print(f"processor {spent:.2f} s, {spent / elapsed:.2%} of a core (at most 1%)")
    print(f"resident {resident_kilobytes(pid)} kB (at most 100000)")


def main() -> int:
    """Measure, or be the agent that is measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--fake-gpus", type=int, default=0)
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--agent", nargs=2, metavar=("GPUS", "CONFIG"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.agent:
        return agent(int(given.agent[0]), ["agent", "--config", given.agent[1]])
    with tempfile.TemporaryDirectory() as name:
        folder, ended = Path(name), threading.Event()
        writer = threading.Thread(target=write_journals, args=(folder, given.ranks, ended))
        writer.start()
        try:
            with started(folder, given.fake_gpus) as (pid, url):
                measure(pid, url, given.seconds)
        finally:
            ended.set()
            writer.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
