"""The smallest DeepSpeed job, two ranks on CPU: cold by the launcher itself, then forked."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.patience import PATIENCE_SECONDS

from flyball.collectors.journal import RankJournal
from flyball.runner.base import Limits, Placement, TrialRequest, TrialResult
from flyball.runner.command import parse_command
from flyball.runner.launch_cold import ColdLauncher
from flyball.runner.launch_warm import WarmLauncher
from flyball.runner.outcome import OutcomeKind

pytestmark = pytest.mark.live

SCRIPT = Path(__file__).parent / "scripts" / "tiny.py"
CONFIG = {
    "train_batch_size": 16,
    "train_micro_batch_size_per_gpu": 4,
    "optimizer": {"type": "AdamW", "params": {"lr": 0.001, "torch_adam": True}},
    "zero_optimization": {"stage": 1},
}
STEPS = 6


def losses(result: TrialResult) -> dict[int, list[tuple[int, float]]]:
    return {
        rank: [(step["step"], step["loss"]) for step in journal.steps()[:STEPS]]
        for rank, journal in result.journals.items()
    }


def enough(journals: Mapping[int, RankJournal]) -> str | None:
    made = [len(journal.steps()) for journal in journals.values()]
    return "enough" if len(made) == 2 and min(made) >= STEPS else None


def test_warm_equals_cold_and_each_outcome_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    (tmp_path / "ds.json").write_text(json.dumps(CONFIG))
    tokens = ["deepspeed", "--num_gpus", "2", str(SCRIPT), "--deepspeed_config", "ds.json"]
    command = parse_command(tokens, cwd=tmp_path)
    launcher = WarmLauncher(command, ColdLauncher(cwd=tmp_path))
    buffers = {path.name for path in Path("/dev/shm").glob("deepspeed_allreduce_buffer_*")}

    def run(
        name: str, config: Mapping[str, object], arguments: Mapping[str, str], threads: int = 0
    ) -> TrialResult:
        directory = tmp_path / "trials" / name
        request = TrialRequest(
            directory=directory,
            command=command.render(
                trial_dir=directory, config_path=directory / "ds_config.json", arguments=arguments
            ),
            ds_config=config,
            environment={"OMP_NUM_THREADS": str(threads)} if threads else {},
            placement=Placement(ranks=2),
            limits=Limits(startup_seconds=2 * PATIENCE_SECONDS, total_seconds=3 * PATIENCE_SECONDS),
        )
        return launcher.launch(request).wait(enough)

    try:
        cold = run("cold", CONFIG, {"--steps": "1000"})
        assert (cold.launcher, cold.outcome.kind) == ("cold", OutcomeKind.COMPLETED), cold
        warm = run("warm", CONFIG, {"--steps": "1000"})
        assert (warm.launcher, warm.outcome.kind) == ("warm", OutcomeKind.COMPLETED), warm
        assert losses(warm) == losses(cold)
        assert threads_of(warm) == threads_of(cold)
        own = run("threads", CONFIG, {"--steps": "4"}, threads=1)
        assert (own.outcome.kind, own.outcome.reason) == (
            OutcomeKind.COMPLETED,
            "the script ended by itself after 4 steps",
        )
        assert threads_of(own) == [1, 1]
        for name, config, arguments, kind, says in (
            ("batch", CONFIG, {"--feed": "2"}, OutcomeKind.INVALID_CONFIG, "--map train_micro"),
            ("nan", CONFIG, {"--nan-at": "1", "--steps": "1000"}, OutcomeKind.DIVERGED, "nan"),
            (
                "refused",
                {**CONFIG, "train_batch_size": 15},
                {},
                OutcomeKind.INVALID_CONFIG,
                "train_batch_size",
            ),
        ):
            result = run(name, config, arguments)
            assert result.launcher == "warm", result.notes
            assert (result.outcome.kind, says in result.outcome.reason) == (kind, True), result.outcome
    finally:
        launcher.close()
    left = {path.name for path in Path("/dev/shm").glob("deepspeed_allreduce_buffer_*")} - buffers
    assert not [name for name in left if any(port in name for port in ports(tmp_path))]


def threads_of(result: TrialResult) -> list[int]:
    return [journal.header["threads"] for journal in result.journals.values() if journal.header]


def ports(folder: Path) -> set[str]:
    """The rendezvous ports that our own trials used, as their logs show them."""
    text = "".join(path.read_text(errors="replace") for path in folder.rglob("std*.log"))
    return {word.partition("=")[2] for word in text.split() if word.startswith("--master_port=")}
