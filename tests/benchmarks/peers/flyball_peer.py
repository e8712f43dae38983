"""flyball itself: a whole study (``autotune``) of the same command, in a process of its own."""

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks._runs import autotune
from tests.benchmarks.peers.base import FAILED, MEASURED, OUT_OF_MEMORY, Bench, Found, Pick, Trial

SEARCH_PHASES = ("baseline", "search", "play_off")
"""Counted as search; the play-off too, since it is what chooses."""
CURVE_PHASES = ("baseline", "search")


class FlyballPeer:
    """``autotune`` with the bench's space, seed and budget."""

    name = "flyball"
    summary = "autotune: the whole study within the budget, search and verification told apart"

    def unavailable(self, bench: Bench) -> str | None:
        """It runs wherever the script does."""
        del bench
        return None

    def search(self, bench: Bench, folder: Path, *, seed: int, budget_seconds: float) -> Found:
        """Run the study to its verdict."""
        options = ["--seed", str(seed), "--budget", f"{budget_seconds:.0f}s"]
        options += ["--memory-limit-ratio", str(bench.memory_limit_ratio)]
        options += ["--space", str(bench.space_file)] if bench.space_file else []
        options += ["--trials", str(bench.most_trials)] if bench.most_trials else []
        options += ["--allow-global-batch"] if bench.allow_global_batch else []
        began = time.time()
        try:
            document = autotune(folder, bench.command, *options)
        except subprocess.CalledProcessError as error:
            return Found(
                peer=self.name,
                seed=seed,
                budget_seconds=budget_seconds,
                search_seconds=time.time() - began,
                reason=f"autotune ended with status {error.returncode}: {last_line(folder / 'log')}",
            )
        return read_study(
            folder / "out",
            document,
            Span(began=began, ended=time.time()),
            seed=seed,
            budget_seconds=budget_seconds,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Of the process, in seconds since the epoch."""

    began: float
    ended: float


def read_study(
    results: Path, document: dict[str, Any], span: Span, *, seed: int, budget_seconds: float
) -> Found:
    """Return a study from its recommendation.json and the folders of its runs."""
    runs = sorted(_runs(results), key=lambda run: run[0])
    searched = [ended for ended, metrics in runs if metrics["phase"] in SEARCH_PHASES]
    search_seconds = max(searched, default=span.ended) - span.began
    verdict, speedup = document["verdict"], document["speedup"]
    gain = f", {speedup['point']:.3f} ({speedup['low']:.3f} to {speedup['high']:.3f})" if speedup else ""
    return Found(
        peer="flyball",
        seed=seed,
        budget_seconds=budget_seconds,
        trials=tuple(
            _trial(metrics, ended - span.began) for ended, metrics in runs if metrics["phase"] in CURVE_PHASES
        ),
        search_seconds=search_seconds,
        verification_seconds=span.ended - span.began - search_seconds,
        ended="by itself",
        pick=_pick(results, document["recommended"]),
        notes=(
            f"verdict: {verdict}{gain}",
            f"all its runs, verification included: {sum(document['trials'].values())}",
        ),
    )


def _runs(results: Path) -> list[tuple[float, dict[str, Any]]]:
    """When each run's metrics were written, and what they say."""
    files = results.glob("trials/*/metrics.json")
    return [(path.stat().st_mtime, json.loads(path.read_text())) for path in files]


def _trial(metrics: dict[str, Any], at_seconds: float) -> Trial:
    measured = metrics["measurement"]
    outcome = MEASURED if measured else FAILED
    return Trial(
        at_seconds=at_seconds,
        outcome=OUT_OF_MEMORY if metrics["outcome"] == "out_of_memory" else outcome,
        samples_per_second=measured["samples_per_second"]["point"] if measured else None,
        settings=metrics["assignment"],
        reason=metrics["reason"] or "",
    )


def _pick(results: Path, side: dict[str, Any]) -> Pick:
    config, script = results / "ds_config_optimal.json", (results / "cmd_optimal.txt").read_text()
    return Pick(
        ds_config=side["ds_config"],
        arguments=side["arguments"],
        environment=side["environment"],
        probe=side["probe"],
        script=script if str(config) in script else "",
        config_path=str(config),
    )


def last_line(log: Path) -> str:
    """Return what was printed last."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "nothing was printed")
