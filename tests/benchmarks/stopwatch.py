"""``sh cmd_optimal.txt`` against the user's command, by a stopwatch outside of them.

    python tests/benchmarks stopwatch RESULTS [--pairs 5] [--steps 60]

RESULTS is the output folder of a study of the reference workload. Both commands are run in interleaved
pairs with the probe in front of them, as ``flyball probe install`` puts it there. The stopwatch reads the
wall clock when each of their printed lines arrives; what the journal of the same run says of the same steps
is held against it. What the study itself recorded, at another hour, is printed beside them.
"""

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from _outside_run import Marks, run_outside
from _runs import ROOT, reference_command, verdict, with_binaries

from flyball.collectors.journal import read_folder
from flyball.runner.probe_install import install
from flyball.tuners.base import Measurement
from flyball.tuners.measurement.measurement import measure

LONGEST_SECONDS = 600.0


def main() -> int:
    """Run the pairs; the exit status says whether the figures were met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    arguments = parser.parse_args()
    with_binaries()
    folder = Path(tempfile.mkdtemp(prefix="flyball-stopwatch-"))
    found = json.loads((arguments.results / "recommendation.json").read_text())
    if found["speedup"] is None:
        raise SystemExit(
            f"{arguments.results}: {found['verdict']}, there is no speed-up to hold a ratio against"
        )
    batch = found["baseline"]["ds_config"]["train_batch_size"]
    script = str(arguments.results / "cmd_optimal.txt")
    commands = {"baseline": list(reference_command()), "recommended": ["sh", script]}
    outside: dict[str, list[float]] = {name: [] for name in commands}
    recorded: dict[str, list[float]] = {name: [] for name in commands}
    for pair in range(arguments.pairs):
        for name, command in commands.items():
            times, measured = run(command, arguments.steps, folder / f"{name}-{pair}")
            first, last = measured.warmup_steps, max(times)
            outside[name].append(batch * (last - first) / (times[last] - times[first]))
            recorded[name].append(measured.samples_per_second.point)
            print(
                f"{name:<12} stopwatch {outside[name][-1]:8.1f}  journal {recorded[name][-1]:8.1f} samples/s",
                flush=True,
            )
    ratio = math.exp(fmean(math.log(b / a) for a, b in zip(*outside.values(), strict=True)))
    speedup = found["speedup"]
    inside = speedup["low"] <= ratio <= speedup["high"]
    met = verdict(f"ratio in [{speedup['low']:.3f}, {speedup['high']:.3f}]", f"{ratio:.3f}", met=inside)
    for name in commands:
        apart = fmean(recorded[name]) / fmean(outside[name]) - 1
        met &= verdict(
            f"{name}: recorded within 3% of the stopwatch's {fmean(outside[name]):.1f}",
            f"{fmean(recorded[name]):.1f} ({apart:+.2%})",
            met=abs(apart) <= 0.03,
        )
        earlier = found[name]["samples_per_second"]
        print(
            f"        {name}: the study recorded {earlier['point']:.1f} "
            f"({earlier['low']:.1f} to {earlier['high']:.1f})"
        )
    return 0 if met else 1


def run(command: Sequence[str], steps: int, folder: Path) -> tuple[Mapping[int, float], Measurement]:
    """Make some steps; return when each one's printed line arrived, and what the journals say of the run."""
    journals = folder / "journals"
    seen = run_outside(
        command,
        cwd=ROOT,
        folder=folder,
        marks=Marks(first=1, last=steps),
        limit_seconds=LONGEST_SECONDS,
        environment=install(folder / "probe", {"purpose": "run", "directory": str(journals)}),
    )
    if seen.steps_per_second is None:
        raise SystemExit(f"{folder}: {seen.reason}")
    measured = measure(read_folder(journals))
    if not isinstance(measured, Measurement):
        raise SystemExit(f"{folder}: {measured.reason}")
    return seen.times, measured


if __name__ == "__main__":
    sys.exit(main())
