"""What is written of a comparison: tables, document and drawing."""

import json
from dataclasses import replace
from xml.etree import ElementTree

from tests.benchmarks._outside_run import OutsideRun
from tests.benchmarks.peers.base import MEASURED, OUT_OF_MEMORY, Found, Pick, Trial
from tests.benchmarks.peers.candidates import candidates
from tests.benchmarks.peers.curves import best_so_far, drawing
from tests.benchmarks.peers.peer_fakes import CONFIG, bench
from tests.benchmarks.peers.remeasure import Memory, remeasure, rows_of
from tests.benchmarks.peers.results import Comparison
from tests.benchmarks.peers.tables import tables


def trial(at: float, rate: float | None) -> Trial:
    return Trial(at_seconds=at, outcome=MEASURED if rate else OUT_OF_MEMORY, samples_per_second=rate)


SEARCH = Found(
    peer="random",
    seed=0,
    budget_seconds=60.0,
    trials=(trial(10, 100.0), trial(20, None), trial(30, 90.0), trial(40, 130.0)),
    search_seconds=55.0,
    ended="budget",
    pick=Pick(
        ds_config={
            **CONFIG,
            "train_micro_batch_size_per_gpu": 8,
            "zero_optimization": {"stage": 2, "overlap_comm": True},
        },
        environment={"OMP_NUM_THREADS": "1"},
    ),
)
ABSENT = Found(peer="deepspeed-fast", seed=0, budget_seconds=60.0, reason="needs a GPU")


def compared(tmp_path, *searches: Found, memory: Memory = Memory()) -> Comparison:  # noqa: B008
    made = bench(tmp_path)
    again = candidates(made, searches)
    measured = remeasure(
        again, lambda candidate, number: OutsideRun(steps_per_second=1.0 + number / 100), rounds=2
    )
    return Comparison(
        bench=made,
        machine={"cores": 2},
        own=CONFIG,
        searches=searches,
        rows=[replace(row, memory=memory) for row in rows_of(again, measured)],
        rounds=2,
        summaries={"random": "draws"},
        scripts={("random", 0): "/out/random-0/recommended.sh"},
    )


def line_of(text: str, start: str) -> list[str]:
    """Cells of the first table line that begins so."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_best_so_far_rises_only():
    assert best_so_far(SEARCH) == [(10, 100.0), (40, 130.0)]
    assert best_so_far(replace(SEARCH, trials=SEARCH.trials[::-1])) == [(10, 100.0), (40, 130.0)]
    assert best_so_far(ABSENT) == []


def test_a_search_is_a_line_with_what_it_changed(tmp_path):
    cells = line_of(tables(compared(tmp_path, SEARCH)), "random")
    assert cells[1:8] == ["4, 3 measured", "1", "0", "55 s of 60", "none", "budget", "130.0 after 40 s"]
    assert "train_micro_batch_size_per_gpu 2 -> 8" in cells[8]
    assert "zero_optimization.overlap_comm absent -> True" in cells[8]
    assert "OMP_NUM_THREADS=1" in cells[8]


def test_what_runs_a_pick_is_named(tmp_path):
    comparison = compared(tmp_path, SEARCH, ABSENT)
    assert "- random (seed 0): run its pick with `sh /out/random-0/recommended.sh`" in tables(comparison)
    scripts = [search["script"] for search in comparison.document()["searches"]]
    assert scripts == ["/out/random-0/recommended.sh", None]


def test_a_peer_that_cannot_run_is_a_line_with_its_reason(tmp_path):
    text = tables(compared(tmp_path, SEARCH, ABSENT))
    assert line_of(text, "deepspeed-fast")[-1] == "did not run: needs a GPU"


def test_memory_over_the_limit_is_said(tmp_path):
    full = Memory(peak_reserved_bytes=131 * 2**30, device_bytes=143 * 2**30)
    text = tables(compared(tmp_path, replace(SEARCH, trials=()), memory=full))
    assert line_of(text.partition("## Measured again")[2], "random")[-2:] == ["131.0 GiB (92%)", "no"]


def test_the_document_is_json_and_holds_the_curves(tmp_path):
    document = json.loads(json.dumps(compared(tmp_path, SEARCH, ABSENT).document(), allow_nan=False))
    assert document["searches"][0]["best_so_far"] == [[10, 100.0], [40, 130.0]]
    assert document["searches"][1]["reason"] == "needs a GPU"
    assert document["remeasured"][1]["rates"] == [16.0, 16.16]
    assert document["ratios"][1]["name"] == "yours"


def test_without_rounds_there_are_searches_only(tmp_path):
    comparison = replace(compared(tmp_path, SEARCH), rows=[], rounds=0)
    assert "Measured again" not in tables(comparison)
    assert comparison.document()["remeasured"] == []


def test_the_drawing_has_a_line_for_each_search_and_a_name_for_each_peer():
    other = replace(SEARCH, peer="tpe <1>")
    svg = ElementTree.fromstring(drawing([SEARCH, replace(SEARCH, seed=1), other, ABSENT]))
    space = "{http://www.w3.org/2000/svg}"
    assert len(svg.findall(f"{space}polyline")) == 3
    names = [text.text for text in svg.findall(f"{space}text")]
    assert names[-2:] == ["random", "tpe <1>"]


def test_without_a_measured_trial_there_is_no_drawing():
    assert drawing([ABSENT]) == ""
