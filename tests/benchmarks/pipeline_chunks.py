"""A pipeline at 1, 2, 4 and 8 chunks: the bubble by the schedule, the measured one, and flyball's choice.

    python tests/benchmarks pipeline_chunks [--rounds 4] [--budget 4m] [--micro-batch 4] [--folder DIR]

First the bubble as the schedule has it: the micro batch stays, so that every pass takes the same time, and
the global batch grows with the chunks. Then the user's question: the global batch stays, and the chunks cut
it. ``autotune`` chooses among the counts, and its choice is held against the best of interleaved runs of
all. Stages share this machine's cores: passes that lie side by side slow one another, which the schedule
does not know.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from _runs import WORKLOAD, Runs, autotune, verdict, with_binaries

from flyball.tuners.base import Configuration, Measurement

CHUNKS = (1, 2, 4, 8)
CONFIG = WORKLOAD / "ds_config_pipeline.json"
SPACE = f"knobs:\n  pipeline_chunks: [{', '.join(map(str, CHUNKS))}]\n"


def main() -> int:
    """Measure; the exit status says whether the recommended count is within 3% of the best."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--budget", default="4m", help="of the study")
    parser.add_argument("--micro-batch", type=int, default=4, help="of a chunk, where the micro batch stays")
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    with_binaries()
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="flyball-chunks-"))).absolute()
    own: dict[str, Any] = json.loads(CONFIG.read_text())
    runs = Runs.begin(folder / "runs", command(CONFIG))
    try:
        print("the micro batch stays, the global batch grows:", flush=True)
        growing = {chunks: options.micro_batch * chunks for chunks in CHUNKS}
        measure(runs, {n: batched(own, batch, n) for n, batch in growing.items()}, options.rounds)
        print(f"the global batch stays at {own['train_batch_size']}:", flush=True)
        fixed = {n: batched(own, own["train_batch_size"], n) for n in CHUNKS}
        rates = measure(runs, fixed, options.rounds)
    finally:
        runs.launcher.close()
    return 0 if chosen(folder, own, rates, options.budget) else 1


def command(config: Path) -> list[str]:
    """The pipeline of the reference workload on two ranks."""
    script = WORKLOAD / "train_pipeline.py"
    return ["deepspeed", "--num_gpus", "2", str(script), "--deepspeed", "--deepspeed_config", str(config)]


def batched(own: Mapping[str, Any], batch: int, chunks: int) -> Configuration:
    """The user's own with this global batch in so many chunks."""
    sizes = {"train_batch_size": batch, "train_micro_batch_size_per_gpu": batch // chunks}
    return Configuration(assignment={}, ds_config={**own, **sizes})


def measure(runs: Runs, configurations: Mapping[int, Configuration], rounds: int) -> dict[int, float]:
    """Run all counts in rounds, and print what came out; return samples a second by count."""
    found: dict[int, list[Measurement]] = {chunks: [] for chunks in configurations}
    for number in range(rounds):
        # Forwards and backwards through the counts, so that a machine that drifts favours none.
        for chunks in sorted(configurations, reverse=number % 2 == 1):
            measured = runs.measure(configurations[chunks])
            if measured is not None:
                found[chunks].append(measured)
    rates = {}
    for chunks, measurements in found.items():
        rates[chunks] = statistics.median(each.samples_per_second.point for each in measurements)
        bubbles = [each.telemetry["pipeline"] for each in measurements]
        print(
            f"  {chunks} chunks: {rates[chunks]:7.1f} samples/s, bubble "
            f"{bubbles[0]['predicted_bubble']:.1%} by the schedule, "
            f"{statistics.median(each['measured_bubble'] for each in bubbles):.1%} measured",
            flush=True,
        )
    return rates


def chosen(folder: Path, own: Mapping[str, Any], rates: Mapping[int, float], budget: str) -> bool:
    """Let flyball choose, and hold its choice against the best."""
    space = folder / "space.yaml"
    space.write_text(SPACE)
    results = autotune(
        folder / "study", command(CONFIG), "--space", str(space), "--budget", budget, "--seed", "1"
    )
    recommended = results["recommended"]["ds_config"]
    micro_batch = int(recommended["train_micro_batch_size_per_gpu"])
    chunks = int(own["train_batch_size"]) // micro_batch
    best = max(rates, key=lambda count: rates[count])
    print(f"autotune: {results['verdict']} {results['speedup']}, {chunks} chunks; best {best}", flush=True)
    ratio = rates[chunks] / rates[best]
    return verdict("the recommended count within 3% of the best", f"{ratio:.3f}", met=ratio >= 0.97)


if __name__ == "__main__":
    sys.exit(main())
