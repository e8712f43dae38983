from pathlib import Path

import pytest

from flyball.collectors import catalog
from flyball.collectors.base import Kind, Metric
from flyball.collectors.catalog import METRICS, SIZE_CLASSES, size_class
from flyball.collectors.metrics_page import TITLES, group_of, render
from flyball.collectors.registry import collector_types

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == render()


def test_each_group_is_one_table() -> None:
    assert render().count("\n## ") == len(TITLES) == len({group_of(each) for each in METRICS.values()})


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())
def test_names_follow_the_conventions(metric: Metric) -> None:
    stem = metric.name.removesuffix("_total")
    assert (stem != metric.name) is (metric.kind is Kind.COUNTER)
    if metric.unit:
        assert stem.endswith(metric.unit)
    assert metric.full_name == f"flyball_{metric.name}"
    assert metric.help.endswith(".")
    assert len(set(metric.labels)) == len(metric.labels)
    assert not {"le", "quantile", "job", "instance"} & set(metric.labels)
    assert bool(metric.bounds) is (metric.kind is Kind.HISTOGRAM)
    assert list(metric.bounds) == sorted(set(metric.bounds))


@pytest.mark.parametrize(
    ("size_bytes", "expected"),
    [
        (0, "8KiB"),
        (8192, "8KiB"),
        (8193, "64KiB"),
        (1 << 20, "1MiB"),
        (16 << 20, "16MiB"),
        (1 << 30, "larger"),
    ],
)
def test_the_class_of_a_message(size_bytes: int, expected: str) -> None:
    assert size_class(size_bytes) == expected
    assert expected in SIZE_CLASSES


def test_the_alarm_thresholds_are_bounds_of_their_own() -> None:
    assert 50e-6 in catalog.P2P_LATENCY.bounds


def test_every_kind_of_collector_has_its_own_name_and_words() -> None:
    types = collector_types()
    assert set(types) >= {"nvml", "dcgm", "workload", "allocator", "nccl", "host"}
    assert all(kind.help and kind.settings().interval_seconds > 0 for kind in types.values())
