"""What the probe says of communication in real runs on two gloo ranks: timed calls, and the in-band ping."""

from pathlib import Path
from typing import Any

import pytest
from tests.live.test_probe_live import CONFIG, PIPELINE, TRAIN, launch

from flyball.collectors import catalog
from flyball.collectors.journal import RankJournal

pytestmark = pytest.mark.live


def observed(journal: RankJournal, what: str, *labels: str) -> dict[tuple[Any, ...], int]:
    """Observations by labels, over all records."""
    counts: dict[tuple[Any, ...], int] = {}
    for record in journal.of_kind("communication"):
        assert tuple(record["bounds"]) == catalog.LATENCY_BOUNDS
        for found in record[what]:
            key = tuple(found[label] for label in labels)
            counts[key] = counts.get(key, 0) + sum(found["counts"])
    return counts


def test_collectives_are_timed_and_the_links_of_a_live_job_are_measured(tmp_path: Path) -> None:
    journals = launch(tmp_path, TRAIN, CONFIG, ranks=2, ping_every_steps=2)
    assert sorted(journals) == [0, 1]
    for journal in journals.values():
        assert journal.of_kind("probe_off") == []
        # Six steps are three pings; the second one is led by the other rank.
        timed = observed(journal, "collectives", "op", "source")
        assert timed["all_reduce", "timed"] > 0
        assert all(step["grad_norm"] > 0 for step in journal.steps())
        assert "operations" not in journal.of_kind("communication")[0]
        assert journal.of_kind("witness")[0]["value"] == {"every_steps": 2, "ranks": 2}
    links = [observed(journal, "p2p", "src", "dst", "size_class", "source") for journal in journals.values()]
    assert links == [{(0, 1, "8KiB", "in_band"): 40}, {(1, 0, "8KiB", "in_band"): 20}]


def test_messages_between_the_stages_of_a_pipeline_are_timed_and_pinged_between(tmp_path: Path) -> None:
    config = {key: value for key, value in CONFIG.items() if key not in ("bf16", "zero_optimization")}
    journals = launch(tmp_path, PIPELINE, config, ranks=2, ping_every_steps=1)
    for rank, journal in journals.items():
        assert journal.of_kind("probe_off") == []
        links = observed(journal, "p2p", "src", "dst", "source")
        assert links[1 - rank, rank, "timed"] > 0
        assert links[rank, 1 - rank, "in_band"] == 40
        assert len(journal.steps()) == 4
