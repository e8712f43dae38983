"""An exhaustive grid of the reference workload against whole studies with a seventh of its trials.

    python tests/benchmarks grid [--seeds 5] [--rounds 10] [--budget 5m] [--shares 15 10] [--folder DIR]

Every point of ``grid.yaml`` is run once, and its best quarter again, interleaved: on a noisy machine the
best of a hundred single runs is a lucky one. Then one study a seed, with at most 15% as many search trials
(asked), and with 10% (the aim); what they recommend is run once more, interleaved with the top five of the
grid; a configuration that several of them are is one candidate. A folder that holds runs or studies of an
earlier call is gone on with.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _runs import Runs, autotune, configuration_of, reference_command, verdict, with_binaries

from flyball.tuners.base import Assignment, Configuration

SPACE = Path(__file__).parent / "grid.yaml"
RANKING_ROUNDS = 3


def main() -> int:
    """Run it; the exit status says whether the figure was met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--budget", default="5m", help="of each study")
    parser.add_argument(
        "--shares", type=int, nargs="+", default=[15, 10], help="percent of the grid's trials"
    )
    parser.add_argument("--most", type=int, default=None, help="points of the grid, for a quick look")
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    with_binaries()
    folder = (arguments.folder or Path(tempfile.mkdtemp(prefix="flyball-grid-"))).absolute()
    runs = Runs.begin(folder / "grid")
    try:
        return compare(runs, arguments, folder)
    finally:
        runs.launcher.close()


class Measured:
    """Points that were run before, in a file of one JSON line each: a grid that was cut off goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.known = {key(entry["point"]): entry["rate"] for entry in map(json.loads, lines)}

    def rate(self, point: Assignment, run: Callable[[], float]) -> float:
        """Samples a second of a point, run now unless it is known."""
        if key(point) not in self.known:
            self.known[key(point)] = run()
            with self.path.open("a") as file:
                file.write(json.dumps({"point": dict(point), "rate": self.known[key(point)]}) + "\n")
        return self.known[key(point)]


def key(point: Assignment) -> str:
    """A point as text."""
    return json.dumps(dict(point), sort_keys=True)


def compare(runs: Runs, arguments: argparse.Namespace, folder: Path) -> int:
    """Make the grid, the studies, and the comparison."""
    space = runs.space(SPACE)
    points = list(itertools.islice(space.enumerate(), arguments.most))
    print(f"{len(points)} points", flush=True)
    began = time.monotonic()
    grid: list[tuple[float, Configuration]] = []
    measured = Measured(folder / "grid.jsonl")
    for number, point in enumerate(points):
        rate = measured.rate(point, lambda point=point: runs.rate(space.render(point)))
        grid.append((rate, space.render(point)))
        print(f"{number:>4} {rate:8.1f}  {json.dumps(point)}", flush=True)
    grid_seconds = time.monotonic() - began
    best_quarter = sorted(grid, key=lambda entry: -entry[0])[: len(points) // 4]
    grid = ranked_again(runs, best_quarter, folder / "ranking.json")
    own = runs.rate(space.render(space.baseline_assignment()))
    print(f"grid: {grid_seconds:.0f} s; best {grid[0][0]:.1f}, yours {own:.1f} samples/s", flush=True)
    candidates = {f"grid {rank + 1}": configuration for rank, (_, configuration) in enumerate(grid[:5])}
    best_file = folder / "ds_config_grid_best.json"
    best_file.write_text(json.dumps(grid[0][1].ds_config, indent=2) + "\n")
    (folder / "grid_best_environment.json").write_text(json.dumps(dict(grid[0][1].environment)) + "\n")
    print(f"best of the grid: {best_file}, environment {dict(grid[0][1].environment)}", flush=True)
    for share, seed in itertools.product(arguments.shares, range(arguments.seeds)):
        name, most = f"{share}% seed {seed}", len(points) * share // 100
        place = folder / f"share-{share}" / f"seed-{seed}"
        known = place / "out" / "recommendation.json"
        found = (
            json.loads(known.read_text())
            if known.exists()
            else autotune(
                place,
                reference_command(),
                *("--space", str(SPACE), "--trials", str(most), "--seed", str(seed)),
                *("--budget", arguments.budget),
            )
        )
        print(f"{name}: {found['verdict']} {found['speedup']}", flush=True)
        candidates[name] = configuration_of(found["recommended"])
    distinct = {configuration.digest: configuration for configuration in candidates.values()}
    by_digest = runs.interleaved(distinct, arguments.rounds)
    rates = {key: by_digest[configuration.digest] for key, configuration in candidates.items()}
    for key, rate in rates.items():
        print(f"{key:<8} {rate:8.1f} samples/s  {candidates[key].digest[:8]}", flush=True)
    best = max(rate for key, rate in rates.items() if key.startswith("grid"))
    is_met = True
    for share in arguments.shares:
        ratios = [rate / best for key, rate in rates.items() if key.startswith(f"{share}%")]
        middle = statistics.median(ratios) if ratios else 0.0
        text = f"{middle:.3f} ({', '.join(f'{ratio:.3f}' for ratio in ratios)})"
        asked = (
            f"0.97 of the best of at least 96 points in {share}% of its trials, median of {len(ratios)} seeds"
        )
        is_met = verdict(asked, text, met=middle >= 0.97 and len(points) >= 96) and is_met
    return 0 if is_met else 1


def ranked_again(
    runs: Runs, entries: list[tuple[float, Configuration]], known: Path
) -> list[tuple[float, Configuration]]:
    """Rank by new, interleaved runs, best first: the runs that chose the entries flatter them."""
    if known.exists():
        again = json.loads(known.read_text())
    else:
        again = runs.interleaved({entry[1].digest: entry[1] for entry in entries}, RANKING_ROUNDS)
        known.write_text(json.dumps(again))
    for before, configuration in entries:
        print(f"{before:8.1f} -> {again[configuration.digest]:8.1f}  {configuration.ds_config}", flush=True)
    by_digest = {configuration.digest: configuration for _, configuration in entries}
    best = sorted(by_digest, key=lambda digest: -again[digest])
    return [(again[digest], by_digest[digest]) for digest in best]


if __name__ == "__main__":
    sys.exit(main())
