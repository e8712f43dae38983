"""Picks measured again: what is run, how often, and what is held against what."""

import pytest
from tests.benchmarks._outside_run import OutsideRun
from tests.benchmarks.peers.base import Found, Pick
from tests.benchmarks.peers.candidates import OWN, SAME, candidates
from tests.benchmarks.peers.peer_fakes import CONFIG, bench
from tests.benchmarks.peers.remeasure import Memory, ratios, remeasure, row_at, rows_of
from tests.benchmarks.peers.same_batch import at_global_batch


def found(peer: str, micro: int, batch: int, **parts) -> Found:
    config = {**CONFIG, "train_micro_batch_size_per_gpu": micro, "train_batch_size": batch}
    return Found(peer=peer, seed=0, budget_seconds=60.0, pick=Pick(ds_config=config, **parts))


FLYBALL = found("flyball", 8, 16, environment={"OMP_NUM_THREADS": "1"})
DEEPSPEED = found("deepspeed-fast", 273, 546)


def measured(tmp_path, searches, rate=lambda candidate: 1.0, rounds=3):
    """Rows of the searches' candidates, and what was run for them."""
    ran = []

    def run(candidate, number):
        ran.append((number, candidate.identity))
        steps = rate(candidate)
        return OutsideRun(steps_per_second=steps, reason="" if steps else "CUDA out of memory")

    again = candidates(bench(tmp_path), searches)
    return rows_of(again, remeasure(again, run, rounds=rounds)), ran


def test_every_configuration_runs_once_a_round(tmp_path):
    rows, ran = measured(tmp_path, [FLYBALL, DEEPSPEED])
    identities = {row.candidate.identity for row in rows}
    assert len(identities) == 5  # yours, flyball, its JSON alone, DeepSpeed's pick at both batches
    for number in range(3):
        assert sorted(identity for made, identity in ran if made == number) == sorted(identities)


def test_rounds_go_in_an_order_of_their_own(tmp_path):
    _, ran = measured(tmp_path, [FLYBALL, DEEPSPEED], rounds=6)
    orders = {tuple(identity for made, identity in ran if made == number) for number in range(6)}
    assert len(orders) > 1


def test_one_configuration_of_several_peers_is_run_for_all_of_them(tmp_path):
    rows, ran = measured(tmp_path, [found("random", 8, 16), found("tpe", 8, 16)], rounds=1)
    assert len(ran) == 2
    assert row_at(rows, "random", 0, OWN).rates == row_at(rows, "tpe", 0, OWN).rates


def test_rates_are_samples_at_each_ones_own_batch_and_again_at_the_users(tmp_path):
    rows, _ = measured(tmp_path, [FLYBALL, DEEPSPEED])
    assert row_at(rows, "deepspeed-fast", 0, OWN).samples_per_second.point == pytest.approx(546)
    same = row_at(rows, "deepspeed-fast", 0, SAME)
    assert same.samples_per_second.point == pytest.approx(16)
    assert same.candidate.ds_config["train_micro_batch_size_per_gpu"] == 8
    assert row_at(rows, "flyball", 0, SAME) is row_at(rows, "flyball", 0, OWN)


def test_ratios_are_paired_at_the_same_kind_of_batch(tmp_path):
    def rate(candidate):
        return 3.0 if candidate.pick.environment else 2.0

    rows, _ = measured(tmp_path, [FLYBALL, DEEPSPEED], rate)
    own, same = (ratios(rows, "deepspeed-fast", 0, batch) for batch in (OWN, SAME))
    assert own.flyball_over.point == pytest.approx(3 * 16 / (2 * 546))
    assert same.flyball_over.point == pytest.approx(1.5)
    assert same.json_over.point == pytest.approx(1.0)
    assert same.over_baseline.point == pytest.approx(1.0)
    assert ratios(rows, "flyball", 0, OWN).over_baseline.point == pytest.approx(1.5)
    assert ratios(rows, "yours", None, OWN).over_baseline is None


def test_a_pick_that_does_not_run_again_has_a_reason_and_no_ratio(tmp_path):
    rows, _ = measured(
        tmp_path, [FLYBALL, DEEPSPEED], lambda candidate: None if candidate.global_batch == 546 else 1.0
    )
    row = row_at(rows, "deepspeed-fast", 0, OWN)
    assert row.samples_per_second is None
    assert row.reason == "CUDA out of memory"
    assert ratios(rows, "deepspeed-fast", 0, OWN).flyball_over is None


def test_a_search_without_a_pick_has_no_row(tmp_path):
    nothing = Found(peer="tpe", seed=0, budget_seconds=1.0, reason="no time")
    rows, _ = measured(tmp_path, [nothing])
    assert [row.candidate.name for row in rows] == ["yours"]


@pytest.mark.parametrize(
    ("micro", "batch", "replicas", "expected"),
    [(273, 64, 1, (64, 1)), (8, 64, 2, (8, 4)), (3, 64, 1, (2, 32)), (7, 12, 2, (6, 1)), (1, 5, 1, (1, 5))],
)
def test_another_global_batch_keeps_the_micro_batch_as_far_as_it_divides(micro, batch, replicas, expected):
    changed = at_global_batch({"bf16": {}}, micro, batch, replicas)
    kept, accumulation = changed["train_micro_batch_size_per_gpu"], changed["gradient_accumulation_steps"]
    assert (kept, accumulation) == expected
    assert kept * accumulation * replicas == changed["train_batch_size"] == batch
    assert changed["bf16"] == {}


def test_memory_is_a_share_where_both_are_known():
    assert Memory(peak_reserved_bytes=131, device_bytes=143).share == pytest.approx(0.916, abs=0.001)
    assert Memory(reason="not on a CPU").share is None
