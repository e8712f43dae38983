"""Hours of the daemon's life with runs that come and go, in seconds: nothing piles up."""

from tests.benchmarks.agent_day import simulate

MOST_BYTES_A_SCRAPE = 200
"""Over the 5,760 scrapes of a day this is 2% of the 60 MB that a daemon takes."""


def test_memory_threads_and_descriptors_stay_flat_over_simulated_hours() -> None:
    day = simulate(hours=0.5, ranks=2)
    assert day.scrapes == 120
    assert day.collections > 2 * 1800
    assert day.runs_seen == 30
    assert day.ranks_seen >= 6
    assert day.threads_after == day.threads_before
    assert day.descriptors_after == day.descriptors_before
    grown = (day.late_bytes - day.early_bytes) / (day.scrapes / 2)
    assert grown < MOST_BYTES_A_SCRAPE, f"{day.early_bytes} bytes became {day.late_bytes}"
