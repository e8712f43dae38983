"""Verdicts over seeds: from the naive default, and from a config that is already the best.

    python tests/benchmarks verdicts [--seeds 5] [--budget 4m] [--best FILE --space grid.yaml]

``FILE`` is the best of the grid, which ``grid`` leaves as ds_config_grid_best.json; the environment that goes
with it, grid_best_environment.json beside it, is set. It is the best of the grid's space: that is searched.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from _runs import WORKLOAD, autotune, reference_command, verdict, with_binaries


def main() -> int:
    """Run the studies; the exit status says whether the figures were met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", default="4m")
    parser.add_argument("--best", type=Path, default=None)
    parser.add_argument("--space", default=None)
    parser.add_argument("--skip-naive", action="store_true")
    arguments = parser.parse_args()
    with_binaries()
    folder = Path(tempfile.mkdtemp(prefix="flyball-verdicts-"))
    met = True
    if not arguments.skip_naive:
        naive = count("naive", WORKLOAD / "ds_config.json", "recommended", arguments, folder)
        asked = f"recommended from the naive default in at least 4 of {arguments.seeds} seeds"
        met &= verdict(asked, str(naive), met=naive * 5 >= arguments.seeds * 4)
    if arguments.best:
        beside = arguments.best.with_name("grid_best_environment.json")
        os.environ.update(json.loads(beside.read_text()) if beside.exists() else {})
        keep = count("best", arguments.best, "keep", arguments, folder)
        asked = f"keep from the grid's best in {arguments.seeds} of {arguments.seeds} seeds"
        met &= verdict(asked, str(keep), met=keep == arguments.seeds)
    return 0 if met else 1


def count(name: str, config: Path, wanted: str, arguments: argparse.Namespace, folder: Path) -> int:
    """How many seeds come to the wanted verdict."""
    found = 0
    for seed in range(arguments.seeds):
        began = time.monotonic()
        options = ["--budget", arguments.budget, "--seed", str(seed)]
        options += ["--space", arguments.space] if arguments.space else []
        result = autotune(folder / f"{name}-{seed}", reference_command(config.absolute()), *options)
        seconds = time.monotonic() - began
        trials = sum(result["trials"].values())
        print(
            f"{name} seed {seed}: {result['verdict']} {result['speedup']} {trials} runs {seconds:.0f} s",
            flush=True,
        )
        found += result["verdict"] == wanted
    return found


if __name__ == "__main__":
    sys.exit(main())
