"""Durations of communication: counted into the catalog's buckets, and written once a second at most."""

from pathlib import Path

import pytest
import torch
from tests.runner.probe_fakes import read, watched

from flyball.collectors import catalog
from flyball.collectors.distribution import Tally
from flyball.runner.probe import latency
from flyball.runner.probe.latency import LATENCIES, Latencies


@pytest.fixture(autouse=True)
def forgotten() -> None:
    LATENCIES.clear()


def test_the_buckets_are_the_catalogs() -> None:
    assert latency.BOUNDS == catalog.LATENCY_BOUNDS


@pytest.mark.parametrize("limit", [limit for limit, _ in latency.SIZE_CLASSES])
def test_the_size_classes_are_the_catalogs(limit: int) -> None:
    for size in (0, limit - 1, limit, limit + 1):
        assert latency.size_class(size) == catalog.size_class(size)
    assert latency.size_class(1 << 40) == catalog.size_class(1 << 40)


@pytest.mark.parametrize("seconds", [0.0, 2e-6, 2.1e-6, 50e-6, 5.0, 99.0])
def test_a_duration_falls_into_the_bucket_that_the_exported_histogram_has_for_it(seconds: float) -> None:
    ours, theirs = latency.Histogram(), Tally(catalog.P2P_LATENCY)
    ours.observe(seconds)
    theirs.observe(seconds)
    assert ours.counts == theirs.counts


def test_a_record_holds_what_came_since_the_last_one() -> None:
    latencies = Latencies()
    latencies.collective("all_reduce", 1 << 20, "timed", 3e-3)
    latencies.message(0, 1, 8, "in_band", 4e-6)
    latencies.begun("all_reduce", 2)
    fields = latencies.take(10.0)
    assert fields is not None
    assert fields["collectives"] == [
        {"op": "all_reduce", "size_class": "1MiB", "source": "timed", "sum": 3e-3,
         "counts": [int(bound == 5e-3) for bound in (*latency.BOUNDS, None)]}
    ]  # fmt: skip
    (message,) = fields["p2p"]
    assert (message["src"], message["dst"], message["size_class"]) == (0, 1, "8KiB")
    assert fields["operations"] == {"all_reduce": 2}
    assert latencies.take(11.0) is None


def test_records_are_a_second_apart() -> None:
    latencies = Latencies()
    assert not latencies.due(5.0)
    latencies.begun("send", 1)
    assert latencies.due(5.0)
    latencies.take(5.0)
    latencies.begun("send", 1)
    assert not latencies.due(5.9)
    assert latencies.due(6.0)


def test_steps_write_what_was_observed_and_the_end_writes_the_rest(tmp_path: Path) -> None:
    with watched(tmp_path) as (engine, probe):
        LATENCIES.collective("all_reduce", 8, "timed", 1e-3)
        engine._take_model_step()
        LATENCIES.message(1, 0, 8, "timed", 1e-3)
        engine._take_model_step()
        assert len(read(tmp_path).of_kind("communication")) == 1
        probe.finish("exit")
    first, last = read(tmp_path).of_kind("communication")
    assert [histogram["op"] for histogram in first["collectives"]] == ["all_reduce"]
    assert first["engine"] == 0
    assert [histogram["src"] for histogram in last["p2p"]] == [1]


@pytest.mark.parametrize(
    ("known", "written"),
    [(1.5, 1.5), (torch.tensor(2.5), 2.5), (torch.tensor([3.5]), 3.5), (None, None), (torch.zeros(2), None)],
)
def test_the_gradient_norm_is_written_where_it_is_known(
    known: object, written: float | None, tmp_path: Path
) -> None:
    with watched(tmp_path) as (engine, _):
        engine.__dict__["_global_grad_norm"] = known
        engine._take_model_step()
    (step,) = read(tmp_path).steps()
    assert step.get("grad_norm") == written
