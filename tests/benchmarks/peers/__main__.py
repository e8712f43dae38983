"""flyball beside DeepSpeed's autotuner, random search, TPE and a grid: same script, same wall budget.

    python tests/benchmarks peers --peers flyball,random,tpe,grid,deepspeed-fast,deepspeed-full --budget 4m
        --script reference|gpt|deepseek|PATH --seeds 1 --out FOLDER

Each peer searches with the whole machine to itself, one after another. Then every pick and the user's own
are run again in interleaved rounds, timed from outside by when their lines ``step N`` arrive: at their own
global batch and at the user's. FOLDER takes results.json, results.md, best_so_far.svg and all logs; called
again with the same FOLDER, searches that are in it are not repeated. ``--peers flyball=3m,deepspeed-fast=8m``
gives peers budgets of their own, ``--rounds 0`` leaves the second part for later.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.benchmarks._outside_run import STEP, Marks, OutsideRun
from tests.benchmarks._runs import ROOT, Runs, with_binaries
from tests.benchmarks.peers.base import Bench, Found
from tests.benchmarks.peers.candidates import Candidate, candidates
from tests.benchmarks.peers.cold_runs import ColdRuns
from tests.benchmarks.peers.curves import drawing
from tests.benchmarks.peers.registry import PEERS
from tests.benchmarks.peers.remeasure import Memory, Row, remeasure, rows_of
from tests.benchmarks.peers.results import Comparison
from tests.benchmarks.peers.workloads import NAMED, Workload, WorkloadError, workload

from flyball.agent.durations import parse_duration
from flyball.clock import SystemClock
from flyball.collectors.fingerprint import fingerprint
from flyball.errors import FlyballError

FOUND = "found.json"


def parser() -> argparse.ArgumentParser:
    """Every option."""
    found = argparse.ArgumentParser(
        prog="peers", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    found.add_argument("--peers", default="flyball,random,tpe,deepspeed-fast", help=f"of {', '.join(PEERS)}")
    found.add_argument("--budget", default="4m", help="wall time of each peer's search")
    found.add_argument("--script", default="reference", help=f"{', '.join(NAMED)}, or a path")
    found.add_argument("--config", type=Path, help="DeepSpeed config of the script")
    found.add_argument("--arguments", default="", help="more arguments of the script, in one string")
    found.add_argument("--ranks", type=int, help="by default every GPU, or 2 on a CPU")
    found.add_argument("--seeds", type=int, default=1)
    found.add_argument("--space", type=Path, help="space file; by default flyball's own space")
    found.add_argument("--trials", type=int, help="the most trials of a peer that takes such a number")
    found.add_argument(
        "--allow-global-batch", action="store_true", help="for the peers that keep it otherwise"
    )
    found.add_argument("--memory-limit-ratio", type=float, default=0.90)
    found.add_argument("--steps", default="5:15", help="steps between which single runs are timed")
    found.add_argument("--final-steps", default="10:60", help="the same for the rounds at the end")
    found.add_argument("--mark", default=STEP, help="regular expression of a step's line, its number a group")
    found.add_argument("--rounds", type=int, default=6)
    found.add_argument("--run-limit", default="5m", help="after which a run of the rounds is given up")
    found.add_argument("--out", type=Path, required=True)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare; the exit status is 2 for bad input."""
    options = parser().parse_args(arguments)
    with_binaries()
    try:
        budgets = budgets_of(options.peers, options.budget)
        chosen = workload(options.script, options.config, shlex.split(options.arguments))
        final = marks(options.final_steps, options.mark)
        single = marks(options.steps, options.mark)
        limit_seconds = parse_duration(options.run_limit, where="--run-limit")
    except (FlyballError, WorkloadError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    compare(options, budgets, chosen, single, final, limit_seconds)
    return 0


def compare(
    options: argparse.Namespace,
    budgets: dict[str, float],
    chosen: Workload,
    single: Marks,
    final: Marks,
    limit_seconds: float,
) -> None:
    """Search with every peer, measure what they picked, write and print it."""
    folder: Path = options.out.absolute()
    machine = fingerprint()
    command = chosen.command(options.ranks or len(machine.gpus) or 2)
    print(f"your command once, to see ranks, device and versions: {shlex.join(command)}", flush=True)
    runs = Runs.begin(folder / "first", command, warm=False)
    bench = Bench(
        command=command,
        config_path=chosen.config,
        cwd=ROOT,
        space=runs.space(options.space, allow_global_batch=options.allow_global_batch),
        measure=ColdRuns(command=runs.job.command, marks=single),
        clock=SystemClock(),
        most_trials=options.trials,
        space_file=options.space.absolute() if options.space else None,
        allow_global_batch=options.allow_global_batch,
        memory_limit_ratio=options.memory_limit_ratio,
    )
    searches = [
        search(bench, name, folder, seed, budget)
        for seed in range(options.seeds)
        for name, budget in budgets.items()
    ]
    again = candidates(bench, searches)
    stopwatch = ColdRuns(command=runs.job.command, marks=final)

    def run(candidate: Candidate, number: int) -> OutsideRun:
        place = folder / "again" / f"{number}-{candidate.identity[:12]}"
        seen = stopwatch.pick(candidate.pick, candidate.ds_config, place, limit_seconds)
        rate = (
            f"{seen.steps_per_second * candidate.global_batch:.1f} samples/s"
            if seen.steps_per_second
            else seen.reason
        )
        print(f"round {number + 1}: {candidate.name} at {candidate.global_batch}: {rate}", flush=True)
        return seen

    measured = remeasure(again, run, rounds=options.rounds) if options.rounds else {}
    measured = {key: replace(row, memory=memory(runs, bench, row)) for key, row in measured.items()}
    comparison = Comparison(
        bench=bench,
        machine=machine.document(),
        own=json.loads(chosen.config.read_text()),
        searches=searches,
        rows=rows_of(again, measured) if measured else [],
        rounds=options.rounds,
        summaries={name: PEERS[name].summary for name in budgets},
    )
    write(comparison, folder)


def search(bench: Bench, name: str, folder: Path, seed: int, budget_seconds: float) -> Found:
    """Let a peer search, or take what it found in an earlier call; why it cannot run is a result, too."""
    place = folder / f"{name}-{seed}"
    known = place / FOUND
    if known.exists():
        print(f"{name}, seed {seed}: as found before in {place}", flush=True)
        return Found.of(json.loads(known.read_text()))
    peer = PEERS[name]
    reason = peer.unavailable(bench)
    if reason:
        print(f"{name}: did not run: {reason}", flush=True)
        return Found(peer=name, seed=seed, budget_seconds=budget_seconds, reason=reason)
    print(f"{name}, seed {seed}: searching for {budget_seconds:.0f} s", flush=True)
    found = peer.search(bench, place, seed=seed, budget_seconds=budget_seconds)
    known.write_text(json.dumps(found.document(), indent=2) + "\n")
    print(f"{name}, seed {seed}: {len(found.trials)} trials in {found.search_seconds:.0f} s", flush=True)
    return found


def memory(runs: Runs, bench: Bench, row: Row) -> Memory:
    """One run more, with the probe, which reads the allocator; not timed."""
    if bench.device != "cuda":
        return Memory(reason="not on a CPU")
    wanted = replace(row.candidate.pick.configuration, ds_config=row.candidate.ds_config)
    measured = runs.measure(wanted, cold=True)
    if measured is None:
        return Memory(reason="the run with the probe failed")
    return Memory(peak_reserved_bytes=measured.peak_reserved_bytes, device_bytes=measured.device_memory_bytes)


def write(comparison: Comparison, folder: Path) -> None:
    """Write the results and print the tables."""
    (folder / "results.json").write_text(json.dumps(comparison.document(), indent=2) + "\n")
    (folder / "results.md").write_text(comparison.tables())
    curves = drawing(comparison.searches)
    if curves:
        (folder / "best_so_far.svg").write_text(curves)
    print(f"\n{comparison.tables()}\nwritten to {folder}")


def budgets_of(peers: str, budget: str) -> dict[str, float]:
    """Return each peer's wall budget in seconds, from ``NAME[=TIME],...``.

    Raises:
        ValueError: there is no such peer.
        OptionError: a budget is no duration.
    """
    found: dict[str, float] = {}
    for entry in filter(None, (part.strip() for part in peers.split(","))):
        name, _, own = entry.partition("=")
        if name not in PEERS:
            raise ValueError(f"--peers: there is no {name!r}; there are {', '.join(PEERS)}")
        found[name] = parse_duration(own or budget, where="--peers" if own else "--budget")
    if not found:
        raise ValueError(f"--peers: name at least one of {', '.join(PEERS)}")
    return found


def marks(text: str, pattern: str) -> Marks:
    """Return the marks that ``FIRST:LAST`` means.

    Raises:
        ValueError: it is not two rising whole numbers.
    """
    first, _, last = text.partition(":")
    if not (first.isdigit() and last.isdigit()):
        raise ValueError(f"steps {text!r}: write two numbers, as in 5:15")
    return Marks(first=int(first), last=int(last), pattern=pattern)


if __name__ == "__main__":
    sys.exit(main())
