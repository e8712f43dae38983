import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.patience import PATIENCE_SECONDS

from flyball.runner.probe.powersgd import loss_scale, matrices, split_sends_less, unfit

TWO_RANKS = Path(__file__).parent / "powersgd_two_ranks.py"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two gloo ranks saw of torch's hook behind ``allreduce_bucket``."""
    folder = tmp_path_factory.mktemp("powersgd")
    ranks = [
        subprocess.Popen(
            [sys.executable, str(TWO_RANKS), str(rank), str(folder)], stderr=subprocess.PIPE, text=True
        )
        for rank in (0, 1)
    ]
    errors = [process.communicate(timeout=PATIENCE_SECONDS)[1] for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0], errors
    results: dict[str, Any] = json.loads((folder / "rank-0.json").read_text())
    results["other"] = json.loads((folder / "rank-1.json").read_text())
    return results


def test_the_first_steps_are_dense_averages(found: dict[str, Any]) -> None:
    assert found["dense_average"] == pytest.approx(0.0, abs=1e-6)
    assert found["bytes"][0] == found["bytes"][1] == [found["model_bytes"]] * 2


def test_then_fewer_bytes_go_through_the_collective(found: dict[str, Any]) -> None:
    sent, dense = found["bytes"][-1]
    assert dense == found["model_bytes"]
    # Eight experts of 64 x 32 and one matrix of 64 x 64 at rank 1, and a bias that is sent whole.
    assert sent == 4 * (8 * (64 + 32) + (64 + 64) + 64)


def test_the_ranks_agree_on_every_gradient(found: dict[str, Any]) -> None:
    assert found["sums"] == found["other"]["sums"]


def test_a_gradient_of_rank_one_passes_unharmed(found: dict[str, Any]) -> None:
    assert found["low_rank_error"] < 1e-4


def test_a_skipped_step_leaves_no_trace(found: dict[str, Any]) -> None:
    assert found["after_skip_finite"]
    assert found["error_restored"]


def test_an_unused_expert_does_not_divide_by_zero(found: dict[str, Any]) -> None:
    assert found["zero_gradient_finite"]


def test_the_error_follows_the_loss_scale(found: dict[str, Any]) -> None:
    assert found["error_ratio"] == pytest.approx(4.0)


def test_deepspeeds_scaling_is_applied_once(found: dict[str, Any]) -> None:
    # Experts are divided by the whole data-parallel size, whatever the size of their own group.
    assert found["scaled_by_four"] == pytest.approx(0.5)
    assert found["summed"] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("shape", "views"),
    [((8, 64, 32), 8), ((64, 64), 1), ((64,), 1), ((), 1), ((512, 256, 3), 1)],
    ids=["experts", "a matrix", "a bias", "a scalar", "a convolution"],
)
def test_experts_become_one_matrix_each(shape: tuple[int, ...], views: int) -> None:
    size = torch.Size(shape)
    flat = torch.arange(float(size.numel()))
    made = list(matrices(flat, [size], rank=1))
    assert len(made) == views
    made[-1].zero_()
    assert flat[-1] == 0
    assert split_sends_less(8, 64, 32, rank=2)


def test_where_powersgd_cannot_act_it_says_why() -> None:
    sharded = SimpleNamespace(zero_optimization_stage=lambda: 1, dp_world_size=2)
    alone = SimpleNamespace(zero_optimization_stage=lambda: 0, dp_world_size=1)
    fit = SimpleNamespace(zero_optimization_stage=lambda: 0, dp_world_size=2)
    assert "stage 0" in str(unfit(sharded))
    assert "one data-parallel rank" in str(unfit(alone))
    assert unfit(fit) is None


def test_the_loss_scale_is_found_where_deepspeed_keeps_it() -> None:
    config = SimpleNamespace(cur_scale=512)
    assert loss_scale(SimpleNamespace(optimizer=SimpleNamespace(loss_scale_config=config))) == 512.0
    assert loss_scale(SimpleNamespace(optimizer=SimpleNamespace(cur_scale=8.0))) == 8.0
    assert loss_scale(SimpleNamespace(optimizer=SimpleNamespace())) == 1.0
