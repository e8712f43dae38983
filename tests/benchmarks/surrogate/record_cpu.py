"""Record a grid of the reference workload on two CPU ranks: what the CPU's simulated surfaces are fitted to.

python tests/benchmarks/surrogate/record_cpu.py FILE.json [--seconds 600]
"""

import argparse
import json
import random
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[3])]

from tests.benchmarks._runs import Runs, with_binaries  # noqa: E402
from tests.benchmarks.surrogate.jobs import CPU  # noqa: E402


def record(folder: Path, seconds: float) -> list[dict[str, Any]]:
    """Return as many points of the grid as the time holds, in an order drawn once."""
    runs, found = Runs.begin(folder / "runs"), []
    try:
        space = runs.space(CPU.space_file)
        points = list(space.enumerate())
        random.Random(1).shuffle(points)
        began = time.monotonic()
        for point in points:
            if time.monotonic() - began > seconds:
                break
            run = runs.measure(space.render(point))
            if run is not None:
                rate, startup = run.samples_per_second.point, run.startup_seconds or 0.0
                measured = {"samples_per_second": round(rate, 2), "startup_seconds": round(startup, 2)}
                found.append({**point, **measured})
    finally:
        runs.launcher.close()
    return found


def main() -> None:
    """Record and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0)
    arguments = parser.parse_args()
    with_binaries()
    with tempfile.TemporaryDirectory() as folder:
        rows = record(Path(folder), arguments.seconds)
    about = {name: version(name) for name in ("torch", "deepspeed")}
    about |= {"workload": "runner/workload/train.py", "ranks": "2"}
    lines = ",\n".join(map(json.dumps, rows))
    arguments.path.write_text(f'{{"about": {json.dumps(about)},\n"grid": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
