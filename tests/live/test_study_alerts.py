"""A whole study of a real job: what fires in its runs is kept with them, and nobody is notified."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, func, select

from flyball.database import open_database
from flyball.history.alert_tables import ALERTS, NOTIFICATIONS
from flyball.history.store import History

pytestmark = pytest.mark.live

BINARIES = Path(sys.executable).parent
SCRIPT = Path(__file__).parent / "scripts" / "tiny.py"
CONFIG = {
    "train_batch_size": 64,
    "train_micro_batch_size_per_gpu": 2,
    "optimizer": {"type": "Adam", "params": {"lr": 1e-3, "torch_adam": True}},
    "zero_optimization": {"stage": 1},
}
POLICIES = """policies:
  - alert: StepsTakeTime
    metric: step_seconds
    while: stepping
    aggregate: avg
    window: 5m
    above: 1us
    for: 10m
    severity: critical
    annotations: {summary: "Steps of rank {{ labels.rank }} take {{ value | duration }}."}
    suggests: [zero_stage]
"""
"""Any run fires it, and none for as long as it says."""
SPACE = "knobs:\n  micro_batch: [2, 1]\n  zero_stage: [1, 3]\n"
"""Stage 3 is much slower with so many micro-batches a step, so that the study ends with its search."""


def count(database: Any, table: Table) -> int:
    with database.querying() as connection:
        return int(connection.scalar(select(func.count()).select_from(table)))


def test_alerts_are_kept_with_the_runs_lead_the_search_and_reach_nobody(tmp_path: Path) -> None:
    (tmp_path / "ds.json").write_text(json.dumps(CONFIG))
    (tmp_path / "policies.yaml").write_text(POLICIES)
    (tmp_path / "space.yaml").write_text(SPACE)
    options = ["--policies", "default", "--policies", "policies.yaml", "--space", "space.yaml"]
    options += ["--trials", "1", "--budget", "240s", "--seed", "1", "--output", "results"]
    command = ["deepspeed", "--num_gpus", "2", str(SCRIPT), "--steps", "100000"]
    command += ["--deepspeed", "--deepspeed_config", "ds.json"]
    done = subprocess.run(
        [str(BINARIES / "autotune"), *options, "--", *command],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{BINARIES}{os.pathsep}{os.environ['PATH']}",
            "FLYBALL_STATE_DIR": str(tmp_path / "state"),
            "DS_ACCELERATOR": "cpu",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "StepsTakeTime fired in your own run: Steps of rank 0 take" in done.stdout
    assert "; tried first: zero_stage" in done.stdout

    with open_database(f"sqlite:///{tmp_path / 'state' / 'history.db'}", for_reading=True) as database:
        assert count(database, ALERTS) == count(database, NOTIFICATIONS) == 0
        history = History(database)
        (experiment,) = history.experiments()
        trials = history.trials(experiment.experiment.id)
    fired = {trial.number: [alert["rule"] for alert in trial.alerts or ()] for trial in trials}
    assert set(map(tuple, fired.values())) == {("StepsTakeTime", "StepsTakeTime")}, (
        "of a healthy job no other"
    )
    assert trials[0].phase == "baseline"
    assert trials[1].configuration.assignment["zero_stage"] == 3
    metrics = json.loads((tmp_path / "results/trials/0/metrics.json").read_text())
    for alert, rank in zip(metrics["alerts"], ("0", "1"), strict=True):
        assert alert["labels"]["rank"] == rank
        assert alert["status"] == "firing"
        median = metrics["measurement"]["step_seconds_median"]
        assert 0.2 * median < float(alert["value"]) < 5 * median
    recommendation = json.loads((tmp_path / "results/recommendation.json").read_text())
    assert {alert["rule"] for alert in recommendation["alerts"]} == {"StepsTakeTime"}
