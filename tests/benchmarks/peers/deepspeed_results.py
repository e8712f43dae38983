"""What DeepSpeed's autotuner leaves in its results folder, whether it came to its end or was stopped.

``profile_model_info`` is its first run; every other folder is one experiment: ``ds_config.json``,
``stderr.log`` and, where it came to its last profiled step, ``metrics.json``. ``ds_config_optimal.json`` is
written at the very end. See ``deepspeed/autotuning/scheduler.py`` and ``autotuner.py``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.peers.base import CUT_OFF, FAILED, MEASURED, OUT_OF_MEMORY, Trial

from flyball.runner.signatures import is_memory, last_exception, tail

PROFILE = "profile_model_info"
METRIC = "throughput"
BATCH_KEYS = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")


@dataclass(frozen=True, kw_only=True, slots=True)
class Experiment:
    """One run of the autotuner."""

    name: str
    ended: float
    """Seconds since the epoch, by the newest of its files."""
    outcome: str
    throughput: float | None
    """Samples a second by DeepSpeed's own timers; more than what a run makes end to end."""
    reason: str
    ds_config: Mapping[str, Any]

    def trial(self, began: float) -> Trial:
        """Return it as any other peer's trial."""
        zero = dict(self.ds_config.get("zero_optimization", {}))
        batch = {key: self.ds_config[key] for key in BATCH_KEYS if key in self.ds_config}
        return Trial(
            at_seconds=max(0.0, self.ended - began),
            outcome=self.outcome,
            samples_per_second=self.throughput,
            settings={**batch, **zero},
            reason=self.reason,
        )


def read_experiments(results: Path) -> list[Experiment]:
    """Return the experiments in the order in which they ended; none where it never came to one."""
    folders = [path.parent for path in results.glob("*/ds_config.json") if path.parent.name != PROFILE]
    return sorted((_experiment(folder) for folder in folders), key=lambda experiment: experiment.ended)


def read_pick(results: Path) -> dict[str, Any] | None:
    """Return the config that it recommends, or where it was stopped, would recommend by what it had."""
    optimal = _json(results / "ds_config_optimal.json")
    if optimal is not None:
        return optimal
    measured = [each for each in read_experiments(results) if each.throughput is not None]
    if not measured:
        return None
    best = max(measured, key=lambda each: each.throughput or 0.0)
    return {key: value for key, value in best.ds_config.items() if key != "autotuning"}


def _experiment(folder: Path) -> Experiment:
    metrics = _json(folder / "metrics.json")
    throughput = (metrics or {}).get(METRIC)
    files = [folder / name for name in ("metrics.json", "stderr.log", "stdout.log", "ds_config.json")]
    ended = max((path.stat().st_mtime for path in files if path.exists()), default=0.0)
    outcome, reason = (MEASURED, "") if throughput is not None else _failure(folder)
    return Experiment(
        name=folder.name,
        ended=(folder / "metrics.json").stat().st_mtime if throughput is not None else ended,
        outcome=outcome,
        throughput=float(throughput) if throughput is not None else None,
        reason=reason,
        ds_config=_json(folder / "ds_config.json") or {},
    )


def _failure(folder: Path) -> tuple[str, str]:
    failed = last_exception(tail(folder / "stderr.log"))
    if failed is None:
        return CUT_OFF, "no metrics and no exception: it was running when the budget ended"
    kind, message, _ = failed
    return OUT_OF_MEMORY if is_memory(kind, message) else FAILED, f"{kind}: {message}"


def _json(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where the file is not there or torn."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
