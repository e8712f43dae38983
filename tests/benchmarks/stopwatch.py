"""``sh cmd_optimal.txt`` against the user's command, by a stopwatch outside of them.

    python tests/benchmarks stopwatch RESULTS [--pairs 5] [--steps 60]

RESULTS is the output folder of a study of the reference workload. Both commands are run in interleaved pairs;
the stopwatch reads the wall clock when each of their printed lines arrives, and the rate is what was trained
between the last line of the warm-up and the last of all.
"""

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from _runs import ROOT, reference_command, verdict, with_binaries

WARMUP = 10


def main() -> int:
    """Run the pairs; the exit status says whether the figures were met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    arguments = parser.parse_args()
    with_binaries()
    found = json.loads((arguments.results / "recommendation.json").read_text())
    batch = found["baseline"]["ds_config"]["train_batch_size"]
    script = str(arguments.results / "cmd_optimal.txt")
    commands = {"baseline": list(reference_command()), "recommended": ["sh", script]}
    rates: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(arguments.pairs):
        for name, command in commands.items():
            rates[name].append(batch * stopwatch(command, arguments.steps))
            print(f"{name:<12} {rates[name][-1]:8.1f} samples/s", flush=True)
    ratio = math.exp(fmean(math.log(b / a) for a, b in zip(*rates.values(), strict=True)))
    speedup = found["speedup"]
    inside = speedup["low"] <= ratio <= speedup["high"]
    met = verdict(f"ratio in [{speedup['low']:.3f}, {speedup['high']:.3f}]", f"{ratio:.3f}", met=inside)
    for name in commands:
        recorded = found[name]["samples_per_second"]["point"]
        outside = fmean(rates[name])
        met &= verdict(
            f"{name}: recorded within 3% of the stopwatch's {outside:.1f}",
            f"{recorded:.1f} ({recorded / outside - 1:+.1%})",
            met=abs(recorded / outside - 1) <= 0.03,
        )
    return 0 if met else 1


def stopwatch(command: Sequence[str], steps: int) -> float:
    """Steps a second between two printed lines, as seen from outside."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    times: dict[int, float] = {}
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("step "):
                times[int(line.split()[1])] = time.monotonic()
            if len(times) >= steps:
                break
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
    return (steps - WARMUP) / (times[steps] - times[WARMUP])


if __name__ == "__main__":
    sys.exit(main())
