"""Latency of 8 bytes on an idle link: the in-band ping against ``flyball p2p``, side by side.

    python tests/benchmarks p2p_agreement [--rounds 5] [--backend gloo|nccl]

Two ranks on this host take steps in which nothing happens, with a ping at each, and `flyball p2p` measures
the same link, in turn. Compared are the medians over the rounds of each one's median one-way time, which must
differ by at most 20%. With two GPUs and NCCL it is the GPUs' link. Exits 1 on a miss.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ALLOWED_RATIO = 1.2
EVENTS = 40


def in_band_rank(folder: Path, backend: str) -> None:
    """One of the two ranks: takes steps under the ping and writes the one-way times that it led."""
    import torch
    import torch.distributed as dist

    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.runner.probe_fakes import watched

    from flyball.runner.probe import ping
    from flyball.runner.probe.meter import ATTRIBUTE

    times: list[float] = []

    class Kept:
        def message(self, *labels: Any) -> None:
            times.append(labels[-1])

    ping.LATENCIES = Kept()  # type: ignore[assignment]
    rank = int(os.environ["RANK"])
    device = torch.device("cuda", rank) if backend == "nccl" else torch.device("cpu")
    if backend == "nccl":
        torch.cuda.set_device(device)
    dist.init_process_group(backend)
    with watched(folder / f"journal-{rank}", ping_every_steps=1) as (engine, probe):
        engine.device = device
        ping.begin(probe, engine, engine.__dict__[ATTRIBUTE])
        for _ in range(EVENTS):
            dist.all_reduce(torch.zeros(1, device=device))
            engine._take_model_step()
    (folder / f"times-{rank}.json").write_text(json.dumps(times))
    dist.destroy_process_group()


def in_band(backend: str) -> list[float]:
    """One-way seconds that two ranks found in a job."""
    from flyball.runner.p2p.launch import local_launcher

    with tempfile.TemporaryDirectory() as folder:
        command = [*local_launcher(2), __file__, "--in-band", folder, "--backend", backend]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, capture_output=True, timeout=120, env=environment)
        return [
            seconds
            for rank in range(2)
            for seconds in json.loads((Path(folder) / f"times-{rank}.json").read_text())
        ]


def preflight(backend: str) -> float:
    """Median one-way seconds that ``flyball p2p`` finds, of both directions."""
    from flyball.runner.p2p.launch import Request, local_launcher, measure

    found = measure(Request(sizes=(8,), backend=backend), local_launcher(2))
    return statistics.mean(link.p50_seconds for link in found.links)


def main() -> int:
    """Print what was asked and what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backend", default="gloo")
    parser.add_argument("--in-band", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.in_band is not None:
        in_band_rank(options.in_band, options.backend)
        return 0
    live, before = [], []
    for _ in range(options.rounds):
        live.append(statistics.median(in_band(options.backend)))
        before.append(preflight(options.backend))
        sys.stdout.write(f"in-band {live[-1] * 1e6:.1f}, preflight {before[-1] * 1e6:.1f} microseconds\n")
    ratio = statistics.median(live) / statistics.median(before)
    sys.stdout.write(
        f"{options.backend}, 8 bytes one way, medians of {options.rounds}: in-band "
        f"{statistics.median(live) * 1e6:.1f}, preflight {statistics.median(before) * 1e6:.1f} microseconds; "
        f"asked within {ALLOWED_RATIO:.2f} of each other, got {max(ratio, 1 / ratio):.2f}\n"
    )
    return int(max(ratio, 1 / ratio) > ALLOWED_RATIO)


if __name__ == "__main__":
    sys.exit(main())
