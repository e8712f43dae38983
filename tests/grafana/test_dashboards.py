"""The dashboards on disk: current, whole, and about metrics that exist."""

import json
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from tests.grafana.dashboards import FILES, load, panels, queries

from flyball.collectors import catalog
from flyball.collectors.base import Kind, Metric

ROOT = Path(__file__).parents[2]
HISTOGRAM_PARTS = ("_bucket", "_sum", "_count")
SERIES: dict[str, Metric] = {
    metric.full_name + part: metric
    for metric in catalog.METRICS.values()
    for part in (HISTOGRAM_PARTS if metric.kind is Kind.HISTOGRAM else ("",))
}
NAME = re.compile(r"flyball_\w+")
SELECTOR = re.compile(r"(flyball_\w+)(?:\{([^}]*)\})?")
MATCHED = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"')
GROUPED = re.compile(r"\b(?:by|on|group_left|group_right|without|ignoring)\s*\(([^)]*)\)")
VARIABLE = re.compile(r"\$\{?(\w+)")
LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")
ADDED_BY_PROMETHEUS = {"instance", "job", "le"}
BUILT_IN_VARIABLES = {"__rate_interval", "__range", "__value", "__url_time_range"}

boards = pytest.mark.parametrize("name", FILES)


def build(*arguments: str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "grafana", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_the_dashboards_on_disk_are_current() -> None:
    done = build("--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_stale_dashboard_is_told_and_rebuilt(tmp_path: Path) -> None:
    for path in (ROOT / "grafana").rglob("*"):
        if path.suffix in (".py", ".json"):
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    stale = tmp_path / "grafana" / "dashboards" / "run.json"
    stale.write_text(stale.read_text().replace("Stragglers", "Late ones"))
    done = build("--check", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"{stale}: not current; write it with: python -m grafana\n"
    assert build(cwd=tmp_path).returncode == 0
    assert stale.read_text() == (ROOT / "grafana" / "dashboards" / "run.json").read_text()


@boards
def test_every_metric_and_its_labels_exist(name: str) -> None:
    for place, query in queries(load(name)):
        assert NAME.findall(query), place
        for series, matchers in SELECTOR.findall(query):
            assert series in SERIES, place
            known = {*SERIES[series].labels, *ADDED_BY_PROMETHEUS}
            assert set(MATCHED.findall(matchers)) <= known, place


@boards
def test_every_label_grouped_or_joined_on_is_one_of_the_querys_metrics(name: str) -> None:
    for place, query in queries(load(name)):
        known = set(ADDED_BY_PROMETHEUS)
        for series in NAME.findall(query):
            known |= set(SERIES[series].labels)
        used = {label.strip() for listed in GROUPED.findall(query) for label in listed.split(",")}
        assert used - {""} <= known, place


@boards
def test_a_query_names_no_other_metric(name: str) -> None:
    for place, query in queries(load(name)):
        bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]', "", GROUPED.sub("", query))
        words = set(re.findall(r"[a-zA-Z_:][\w:]*(?!\w*\s*\()", bare)) - {"and", "or", "unless"}
        functions = set(re.findall(r"([a-z_]+)\s*\(", bare))
        aggregations = {"sum", "max", "min", "avg", "count"}
        assert {word for word in words if word not in functions | aggregations} <= set(SERIES), place


@boards
def test_every_variable_used_is_defined(name: str) -> None:
    board = load(name)
    defined = {variable["name"] for variable in board["templating"]["list"]} | BUILT_IN_VARIABLES
    text = (ROOT / "grafana" / "dashboards" / name).read_text()
    assert set(VARIABLE.findall(text)) - {"var"} <= defined


@boards
def test_the_choices_come_from_labels_that_exist(name: str) -> None:
    asked = [v["query"]["query"] for v in load(name)["templating"]["list"] if v["type"] == "query"]
    assert asked
    for query in asked:
        found = re.fullmatch(r"label_values\((flyball_\w+)(?:\{([^}]*)\})?, (\w+)\)", query)
        assert found, query
        labels = SERIES[found[1]].labels
        assert {found[3], *MATCHED.findall(found[2] or "")} <= set(labels)


@boards
def test_every_panel_says_what_it_shows(name: str) -> None:
    for panel in panels(load(name)):
        assert panel["title"], panel
        assert re.fullmatch(r"[A-Z0-9].{15,}\.", panel["description"]), panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        assert panel["targets"], panel["title"]


@boards
def test_every_number_has_a_unit(name: str) -> None:
    for panel in panels(load(name)):
        defaults = panel["fieldConfig"]["defaults"]
        overridden = [p["id"] for o in panel["fieldConfig"]["overrides"] for p in o["properties"]]
        assert defaults.get("unit") or defaults.get("mappings") or "unit" in overridden, panel["title"]


@boards
def test_a_legend_names_labels_that_the_query_keeps(name: str) -> None:
    for panel in panels(load(name)):
        for target in panel["targets"]:
            for label in LEGEND.findall(target.get("legendFormat", "")):
                kept = f"{target['expr']} "
                assert re.search(rf"\((?:[\w, ]*\b)?{label}\b[\w, ]*\)", kept), (panel["title"], label)


@boards
def test_panels_fill_the_grid_and_do_not_overlap(name: str) -> None:
    board = load(name)
    places = [(panel["title"], panel["gridPos"]) for panel in board["panels"]]
    assert all(place["x"] + place["w"] <= 24 for _, place in places)
    for (title, one), (other, two) in combinations(places, 2):
        beside = one["x"] + one["w"] <= two["x"] or two["x"] + two["w"] <= one["x"]
        above = one["y"] + one["h"] <= two["y"] or two["y"] + two["h"] <= one["y"]
        assert beside or above, (title, other)


@boards
def test_ids_are_unique(name: str) -> None:
    board = load(name)
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels(board):
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)


def test_the_dashboards_have_addresses_of_their_own() -> None:
    assert len({load(name)["uid"] for name in FILES}) == len(FILES)


def through_the_models(board: dict[str, Any]) -> dict[str, Any]:
    """What is left of a dashboard when Grafana's own types have read it."""
    again: dict[str, Any] = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
    return again


@boards
def test_grafanas_types_know_every_field(name: str) -> None:
    assert through_the_models(load(name)) == load(name)


@boards
def test_a_field_that_grafana_does_not_know_would_be_seen(name: str) -> None:
    broken = load(name)
    broken["panels"][1]["desription"] = "misspelt"
    assert through_the_models(broken) != broken


@pytest.mark.parametrize(
    ("title", "value"),
    [
        ("SM utilization", 0.70),
        ("Fragmentation, peak", 0.30),
        ("P2P latency of small messages, p99", 50e-6),
    ],
)
def test_the_policies_limits_are_drawn(title: str, value: float) -> None:
    found = [p for p in panels(load("run.json")) if p["title"] == title and p["type"] == "timeseries"]
    assert len(found) == 1
    defaults = found[0]["fieldConfig"]["defaults"]
    assert [step["value"] for step in defaults["thresholds"]["steps"]] == [None, value]
    assert defaults["custom"]["thresholdsStyle"]["mode"] == "dashed"
