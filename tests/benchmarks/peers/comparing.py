"""One comparison from its first run to its files; what its folder holds already is not done again."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tests.benchmarks._outside_run import Marks, OutsideRun
from tests.benchmarks._runs import ROOT, Runs
from tests.benchmarks.peers.base import Bench, Found
from tests.benchmarks.peers.candidates import Candidate, candidates
from tests.benchmarks.peers.cold_runs import ColdRuns
from tests.benchmarks.peers.curves import drawing
from tests.benchmarks.peers.handed_over import hand_over
from tests.benchmarks.peers.registry import PEERS
from tests.benchmarks.peers.remeasure import Memory, Row, remeasure, rows_of
from tests.benchmarks.peers.results import Comparison
from tests.benchmarks.peers.tables import tables
from tests.benchmarks.peers.workloads import BadInput, Workload

from flyball.clock import SystemClock
from flyball.collectors.fingerprint import Fingerprint, fingerprint

SETTINGS, FOUND, RUN = "settings.json", "found.json", "run.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What to compare, and how."""

    workload: Workload
    ranks: int | None
    """None for every GPU, or 2 on a CPU."""
    budgets: Mapping[str, float]
    """Peer to its wall budget in seconds."""
    seeds: int
    single: Marks
    """Between which single runs of a search are timed."""
    final: Marks
    """The same for the rounds at the end."""
    rounds: int
    run_limit_seconds: float
    folder: Path
    space_file: Path | None = None
    most_trials: int | None = None
    allow_global_batch: bool = False
    memory_limit_ratio: float = 0.90


def compare(wanted: Wanted) -> None:
    """Search with every peer, measure what they picked, write and print it.

    Raises:
        BadInput: the folder holds a comparison of something else.
    """
    machine = fingerprint()
    command = wanted.workload.command(wanted.ranks or len(machine.gpus) or 2)
    same_as_before(wanted, command)
    print(f"your command once, to see ranks, device and versions: {shlex.join(command)}", flush=True)
    runs = Runs.begin(wanted.folder / "first", command, warm=False)
    bench = bench_of(wanted, command, runs)
    searches = [
        search(bench, name, wanted.folder, seed, budget)
        for seed in range(wanted.seeds)
        for name, budget in wanted.budgets.items()
    ]
    write(comparison(wanted, bench, runs, searches, machine), wanted.folder)


def bench_of(wanted: Wanted, command: Sequence[str], runs: Runs) -> Bench:
    """Return what the peers share."""
    return Bench(
        command=command,
        config_path=wanted.workload.config,
        cwd=ROOT,
        space=runs.space(wanted.space_file, allow_global_batch=wanted.allow_global_batch),
        measure=ColdRuns(command=runs.job.command, marks=wanted.single),
        clock=SystemClock(),
        most_trials=wanted.most_trials,
        space_file=wanted.space_file,
        allow_global_batch=wanted.allow_global_batch,
        memory_limit_ratio=wanted.memory_limit_ratio,
    )


def same_as_before(wanted: Wanted, command: Sequence[str]) -> None:
    """Note in a new folder what it is for, and refuse one that is for something else."""
    settings = {
        "command": list(command),
        "config": json.loads(wanted.workload.config.read_text()),
        "space": wanted.space_file.read_text() if wanted.space_file else None,
        "single": asdict(wanted.single),
        "final": asdict(wanted.final),
        "allow_global_batch": wanted.allow_global_batch,
        "memory_limit_ratio": wanted.memory_limit_ratio,
    }
    known = wanted.folder / SETTINGS
    if known.exists() and json.loads(known.read_text()) != settings:
        raise BadInput(f"--out {wanted.folder}: holds another comparison; name another folder")
    wanted.folder.mkdir(parents=True, exist_ok=True)
    known.write_text(json.dumps(settings, indent=2) + "\n")


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
    place.mkdir(parents=True, exist_ok=True)
    found = peer.search(bench, place, seed=seed, budget_seconds=budget_seconds)
    known.write_text(json.dumps(found.document(), indent=2) + "\n")
    print(f"{name}, seed {seed}: {len(found.trials)} trials in {found.search_seconds:.0f} s", flush=True)
    return found


def place_of(folder: Path, found: Found) -> Path:
    """Return the folder of one search."""
    return folder / f"{found.peer}-{found.seed}"


def comparison(
    wanted: Wanted, bench: Bench, runs: Runs, searches: Sequence[Found], machine: Fingerprint
) -> Comparison:
    """Measure the picks again and put all results together."""
    again = candidates(bench, searches)
    stopwatch = ColdRuns(command=runs.job.command, marks=wanted.final)

    def run(candidate: Candidate, number: int) -> OutsideRun:
        place = wanted.folder / "again" / f"{number}-{candidate.identity[:12]}"
        limit = wanted.run_limit_seconds
        seen = kept(place, lambda: stopwatch.pick(candidate.pick, candidate.ds_config, place, limit))
        steps = seen.steps_per_second
        shown = f"{steps * candidate.global_batch:.1f} samples/s" if steps else seen.reason
        print(f"round {number + 1}: {candidate.name} at {candidate.global_batch}: {shown}", flush=True)
        return seen

    measured = remeasure(again, run, rounds=wanted.rounds) if wanted.rounds else {}
    kept_memory = wanted.folder / "again"
    measured = {
        key: replace(row, memory=memory_once(kept_memory / f"memory-{key[:12]}.json", runs, bench, row))
        for key, row in measured.items()
    }
    scripts = {
        (found.peer, found.seed): hand_over(found, runs.job.command, place_of(wanted.folder, found))
        for found in searches
    }
    own: dict[str, Any] = json.loads(wanted.workload.config.read_text())
    return Comparison(
        bench=bench,
        machine=machine.document(),
        own=own,
        searches=searches,
        rows=rows_of(again, measured) if measured else [],
        rounds=wanted.rounds,
        scripts={key: str(script) for key, script in scripts.items() if script},
        summaries={name: PEERS[name].summary for name in wanted.budgets},
    )


def kept(place: Path, run: Callable[[], OutsideRun]) -> OutsideRun:
    """Run, or take what an earlier call saw in the same folder: rounds that were cut off go on."""
    known = place / RUN
    if not known.exists():
        seen = replace(run(), times={})
        known.write_text(json.dumps(asdict(seen)) + "\n")
    return OutsideRun(**json.loads(known.read_text()))


def memory_once(known: Path, runs: Runs, bench: Bench, row: Row) -> Memory:
    """Return what an earlier call read, or read it now."""
    if not known.exists():
        known.write_text(json.dumps(asdict(memory(runs, bench, row))) + "\n")
    return Memory(**json.loads(known.read_text()))


def memory(runs: Runs, bench: Bench, row: Row) -> Memory:
    """One run more, with the probe, which reads the allocator; not timed."""
    if bench.device != "cuda":
        return Memory(reason="not on a CPU")
    wanted = replace(row.candidate.pick.configuration, ds_config=row.candidate.ds_config)
    measured = runs.measure(wanted, cold=True)
    if measured is None:
        return Memory(reason="the run with the probe failed")
    return Memory(peak_reserved_bytes=measured.peak_reserved_bytes, device_bytes=measured.device_memory_bytes)


def write(found: Comparison, folder: Path) -> None:
    """Write the results and print the tables."""
    (folder / "results.json").write_text(json.dumps(found.document(), indent=2) + "\n")
    (folder / "results.md").write_text(tables(found))
    curves = drawing(found.searches)
    if curves:
        (folder / "best_so_far.svg").write_text(curves)
    print(f"\n{tables(found)}\nwritten to {folder}")
