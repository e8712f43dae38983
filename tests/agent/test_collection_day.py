"""Hours of the daemon's life with runs that come and go, in seconds: nothing piles up."""

from tests.benchmarks.agent_day import simulate


def test_memory_threads_and_descriptors_stay_flat_over_simulated_hours() -> None:
    day = simulate(hours=2 / 3, ranks=16)
    assert day.scrapes == 160
    assert day.collections > 2 * 2000
    assert day.runs_seen > 30
    assert day.threads_after == day.threads_before
    assert day.descriptors_after == day.descriptors_before
    assert day.growth < 0.02, f"{day.early_bytes} bytes became {day.late_bytes}"
