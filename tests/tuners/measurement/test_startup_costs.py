"""What starting runs cost, and what forking them saved."""

from dataclasses import replace

import pytest
from tests.tuners.recommendation_fakes import recommended
from tests.tuners.statistics_fakes import trial

from flyball.tuners.base import TrialReport
from flyball.tuners.measurement.startup_costs import saved_seconds, startup_costs
from flyball.tuners.results.report import render_report


def started(launcher: str, seconds: float, waited: float = 0.0, **parts: float) -> TrialReport:
    report = trial(rate=100.0)
    assert report.measurement is not None
    measured = replace(report.measurement, telemetry={"startup": parts} if parts else {})
    return replace(
        report, launcher=launcher, startup_seconds=seconds, waited_seconds=waited, measurement=measured
    )


RUNS = [
    started("cold", 12.0, imports=6.0, engine=1.0),
    started("cold", 14.0, imports=9.0, engine=1.0),
    started("cold", 16.0),
    started("warm", 2.0, waited=5.0, engine=1.0, first_step=0.5),
    started("warm", 2.0, engine=1.0, first_step=1.5),
]


def test_medians_by_launcher_and_cause() -> None:
    cold, warm = startup_costs(RUNS)
    assert (cold.launcher, cold.runs, cold.seconds) == ("cold", 3, 14.0)
    assert cold.causes == (("imports", 7.5), ("the launcher", 4.5), ("deepspeed.initialize", 1.0))
    assert (warm.launcher, warm.runs, warm.seconds) == ("warm", 2, 2.0)
    assert warm.causes == (("deepspeed.initialize", 1.0), ("the first step", 1.0), ("the launcher", 0.25))


def test_what_forking_saved_is_less_what_was_waited_for() -> None:
    assert saved_seconds(startup_costs(RUNS)) == pytest.approx(2 * 12.0 - 5.0)
    assert saved_seconds(startup_costs(RUNS[:3])) == 0
    assert saved_seconds([]) == 0


def test_a_run_without_a_first_step_has_no_start_up() -> None:
    assert startup_costs([replace(RUNS[0], startup_seconds=None)]) == []


def test_the_report_shows_it() -> None:
    page = render_report(recommended(), RUNS, use="sh cmd_optimal.txt", command="deepspeed train.py")
    assert "Forking runs saved 19 s." in page
    assert "<td>cold</td>" in page
    assert "imports&nbsp;7.50" in page
