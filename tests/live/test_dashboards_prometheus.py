"""Every query of the dashboards, asked of a real Prometheus that scraped every metric there is."""

import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.grafana.dashboards import FILES, load, panels, put_in, queries
from tests.grafana.fake_agent import RUN, FakeAgent
from tests.grafana.prometheus_server import Prometheus, prometheus
from tests.patience import PATIENCE_SECONDS

from flyball.collectors import catalog

pytestmark = pytest.mark.live

VARIABLES = {"run": RUN, "rank": ".*", "host": ".*", "__rate_interval": "10s", "__range": "1m"}
CASES = [
    pytest.param(expression, id=f"{name}: {place}")
    for name in FILES
    for place, expression in queries(load(name))
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has scraped often enough for rates."""
    command = shutil.which("prometheus")
    if command is None:
        pytest.skip("no prometheus: install Debian's package prometheus")
    with FakeAgent() as agent, prometheus(command, agent.address, tmp_path_factory.mktemp("tsdb")) as started:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not started.query(f"rate({catalog.SAMPLES.full_name}[10s]) > 0"):
            assert time.monotonic() < deadline, "Prometheus did not scrape twice"
        yield started


@pytest.mark.parametrize("expression", CASES)
def test_a_query_finds_something(server: Prometheus, expression: str) -> None:
    found = server.query(put_in(expression, VARIABLES))
    assert found
    assert [series for series in found if series["value"][1] == "NaN"] == []


def test_a_run_that_is_not_there_has_nothing_to_show(server: Prometheus) -> None:
    others = {**VARIABLES, "run": "another"}
    shown = [place for place, query in queries(load("run.json")) if server.query(put_in(query, others))]
    assert shown == []


def test_ranks_are_joined_to_their_gpus(server: Prometheus) -> None:
    found = server.query(put_in(query_of("run.json", "SM utilization", "timeseries"), VARIABLES))
    assert sorted((series["metric"]["rank"], series["value"][1]) for series in found) == [
        ("0", "0.5"),
        ("1", "0.5"),
    ]


def test_a_step_is_as_long_as_the_buckets_say(server: Prometheus) -> None:
    found = server.query(put_in(query_of("run.json", "Step time", "timeseries"), VARIABLES))
    lower, upper = catalog.STEP_SECONDS.bounds[4:6]
    assert all(lower <= float(series["value"][1]) <= upper for series in found)
    assert len(found) == 2


def test_phases_are_numbered(server: Prometheus) -> None:
    found = server.query(put_in(query_of("run.json", "Phases", "state-timeline"), VARIABLES))
    assert {series["metric"]["rank"]: series["value"][1] for series in found} == {"0": "2", "1": "4"}


def test_what_a_collector_cannot_know_is_told(server: Prometheus) -> None:
    found = server.query(query_of("fleet.json", "What is unknown, and why", "table"))
    assert [series["metric"]["reason"] for series in found] == ["unreachable"]


def test_firing_alerts_are_counted_by_severity(server: Prometheus) -> None:
    found = server.query(query_of("fleet.json", "Firing alerts", "timeseries"))
    assert {series["metric"]["severity"]: series["value"][1] for series in found} == {
        "critical": "1",
        "info": "1",
        "warning": "1",
    }


def query_of(name: str, title: str, kind: str) -> str:
    found: list[dict[str, Any]] = [
        panel for panel in panels(load(name)) if (panel["title"], panel["type"]) == (title, kind)
    ]
    assert len(found) == 1
    return str(found[0]["targets"][0]["expr"])
