"""Half an hour of the daemon's life with runs that come and go, in seconds: nothing piles up."""

import json
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.agent_day import Day

MOST_BYTES_A_SCRAPE = 200
"""Over the 5,760 scrapes of a day this is 2% of the 60 MB that a daemon takes."""
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_memory_threads_and_descriptors_stay_flat_over_half_a_simulated_hour() -> None:
    # In a process of its own: other tests' threads allocate, too.
    alone = [sys.executable, BENCHMARKS, "agent_day", "--hours", "0.5", "--json"]
    day = Day(**json.loads(subprocess.run(alone, stdout=subprocess.PIPE, check=True).stdout))
    assert day.scrapes == 120
    assert day.collections > 2 * 1800
    assert day.runs_seen == 30
    assert day.ranks_seen >= 6
    assert day.threads_after == day.threads_before
    assert day.descriptors_after == day.descriptors_before
    grown = (day.late_bytes - day.early_bytes) / (day.scrapes / 4)
    assert grown < MOST_BYTES_A_SCRAPE, f"{day.early_bytes} bytes became {day.late_bytes}"
