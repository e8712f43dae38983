"""DeepSpeed's own autotuner, fast (stage and micro batch) and full (buckets and overlap, too).

It takes the user's command with ``--autotuning tune`` and the user's config with an ``autotuning`` section
and stage ``all``; everything else is at its defaults. It has no budget of its own: it is stopped at the
bench's.
"""

import importlib.util
import json
import os
import time
from pathlib import Path

from tests.benchmarks._outside_run import run_outside
from tests.benchmarks.peers.base import Bench, Found, Pick
from tests.benchmarks.peers.deepspeed_results import PROFILE, read_experiments, read_pick

from flyball.runner.ports import free_port
from flyball.runner.signatures import last_exception, tail

MOST_PORTS = 300
"""Experiment n takes the n-th port from the first."""


class DeepSpeedPeer:
    """One of the autotuner's two modes."""

    def __init__(self, name: str, *, fast: bool) -> None:
        self.name, self._fast = name, fast
        mode = "fast: stage and micro batch" if fast else "full: buckets, overlap and reduce_scatter, too"
        self.summary = f"DeepSpeed's autotuner, {mode}; its own defaults, stages 0 to 3, its own global batch"

    def unavailable(self, bench: Bench) -> str | None:
        """It needs tabulate, and says so only once it is running."""
        del bench
        if importlib.util.find_spec("tabulate") is None:
            return "needs tabulate: pip install 'deepspeed[autotuning]'"
        return None

    def search(self, bench: Bench, folder: Path, *, seed: int, budget_seconds: float) -> Found:
        """Run it to its end or to the budget's; its draws have no seed."""
        results = folder / "autotuning_results"
        folder.mkdir(parents=True, exist_ok=True)
        began, clock_began = time.time(), bench.clock.monotonic()
        run = run_outside(
            self._command(bench, folder),
            cwd=bench.cwd,
            folder=folder,
            marks=None,
            limit_seconds=budget_seconds,
            environment=surroundings(bench, folder),
        )
        pick = read_pick(results)
        return Found(
            peer=self.name,
            seed=seed,
            budget_seconds=budget_seconds,
            trials=tuple(each.trial(began) for each in read_experiments(results)),
            search_seconds=bench.clock.monotonic() - clock_began,
            ended="budget" if run.timed_out else "by itself",
            pick=Pick(ds_config=pick) if pick else None,
            reason="" if pick else why_nothing(folder, run.reason),
            notes=(
                "its first run, profile_model_info, is in its time and not among its trials",
                "samples/s by its own timers; at its own global batch",
            ),
        )

    def _command(self, bench: Bench, folder: Path) -> list[str]:
        config = folder / "ds_config.json"
        config.write_text(json.dumps(self.config(bench, folder), indent=2) + "\n")
        tokens = [str(config) if token == str(bench.config_path) else token for token in bench.command]
        port = min(free_port(), 32767 - MOST_PORTS)
        return [tokens[0], "--autotuning", "tune", "--master_port", str(port), *tokens[1:]]

    def config(self, bench: Bench, folder: Path) -> dict[str, object]:
        """Return the user's config as the autotuner wants it."""
        own = json.loads(bench.config_path.read_text())
        section = {
            "enabled": True,
            "fast": self._fast,
            "results_dir": str(folder / "autotuning_results"),
            "exps_dir": str(folder / "autotuning_exps"),
        }
        return {**own, "zero_optimization": {"stage": "all"}, "autotuning": section}


def surroundings(bench: Bench, folder: Path) -> dict[str, str]:
    """Return what it needs in its environment.

    On a CPU DeepSpeed counts a device for each NUMA node unless LOCAL_SIZE says how many there are, and the
    autotuner refuses more ranks than devices.
    """
    found = {"PATH": f"{stand_in(folder)}{os.pathsep}{os.environ['PATH']}"}
    return found if bench.device == "cuda" else {**found, "LOCAL_SIZE": str(bench.ranks)}


def stand_in(folder: Path) -> Path:
    """Return a folder with a ``pdsh`` that does nothing, to be found first.

    After each experiment the autotuner has pdsh run ``pkill -f`` with the experiment's name on every host. On
    one host the experiment's processes have ended by then, pdsh is seldom there, and nobody else's are to be
    killed by name.
    """
    binaries = folder / "bin"
    binaries.mkdir(parents=True, exist_ok=True)
    script = binaries / "pdsh"
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    return binaries


def why_nothing(folder: Path, reason: str) -> str:
    """Return why it recommends nothing, by its own words where there are some."""
    profile = folder / "autotuning_results" / PROFILE / "stderr.log"
    for log in (folder / "stderr.log", profile):
        failed = last_exception(tail(log))
        if failed:
            return f"{failed[0]}: {failed[1]}"
    return reason or "it ended without an experiment that was measured"
