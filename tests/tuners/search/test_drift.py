import math
import random
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.tuners.fake_job import FakeHandle
from tests.tuners.search.test_sampler import CONFIG, CPU
from tests.tuners.study_bench import Bench, larger_is_faster, micro_of

from flyball.errors import Interrupted
from flyball.runner.outcome import Outcome, OutcomeKind
from flyball.tuners.base import Assignment, Configuration, Interval, Measurement, Phase, TrialReport
from flyball.tuners.interruption import Interruption
from flyball.tuners.options import LATEST
from flyball.tuners.search.drift import Drift, estimate
from flyball.tuners.search.remeasuring import Remeasuring
from flyball.tuners.search.surrogate import Surrogate
from flyball.tuners.space.space import Space, load_space

RUN_SECONDS = 20.0
NOISE = 0.01


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Space:
    path = tmp_path_factory.mktemp("drift") / "space.yaml"
    path.write_text("knobs:\n  micro_batch: [1, 2, 4, 8]\n  zero_stage: [0, 1, 3]\n  threads: [1, 2]\n")
    return load_space(path, CONFIG, CPU)


def report(
    number: int, point: Assignment, rate: float, phase: Phase = Phase.SEARCH, paused: float = 0.0
) -> TrialReport:
    return TrialReport(
        number=number,
        phase=phase,
        configuration=Configuration(assignment=point, ds_config=dict(point)),
        outcome=Outcome(kind=OutcomeKind.COMPLETED, reason="measured"),
        measurement=Measurement(
            samples_per_second=Interval(point=rate, low=rate * 0.99, high=rate * 1.01),
            tokens_per_second=None,
            steps=20,
            warmup_steps=2,
            seconds=RUN_SECONDS,
        ),
        launcher="warm",
        startup_seconds=0.0,
        total_seconds=RUN_SECONDS,
        paused_seconds=paused,
    )


def true_rate(point: Assignment) -> float:
    return 100.0 * float(point["micro_batch"]) ** 0.3 * (1 - 0.1 * float(point["zero_stage"]))


def searched(
    space: Space, lost: float, seed: int, *, again_every: int = 6, runs: int = 20
) -> list[TrialReport]:
    """A search on a machine that loses a share of its speed evenly; one configuration runs now and then."""
    draw = random.Random(seed)
    points = [space.baseline_assignment(), *draw.sample(list(space.enumerate()), runs)]
    made: list[TrialReport] = []
    for number, point in enumerate(points):
        again = number % again_every == again_every - 1
        phase = Phase.REMEASUREMENT if again else Phase.SEARCH if number else Phase.BASELINE
        ran = points[1] if again else point
        speed = 1 - lost * number / runs
        made.append(report(number, ran, true_rate(ran) * speed * math.exp(draw.gauss(0, NOISE)), phase))
    return made


def seen(space: Space, runs: list[TrialReport]) -> Drift:
    return estimate(Surrogate(entries=space.entries), runs, space.completed)


def test_a_machine_that_slows_down_is_seen_and_its_rates_are_mended(space: Space) -> None:
    errors, biased = [], []
    for seed in range(5):
        runs = searched(space, 0.15, seed)
        drift = seen(space, runs)
        assert drift.noticed
        assert drift.now.low < 0.85 < drift.now.high
        late = runs[-1]
        assert late.measurement is not None
        mended = drift.corrected(late).measurement
        assert mended is not None
        truth = true_rate(late.configuration.assignment)
        errors.append(abs(mended.samples_per_second.point / truth - 1))
        biased.append(abs(late.measurement.samples_per_second.point / truth - 1))
    assert max(errors) < 0.05 < min(biased)


def test_a_steady_machine_is_left_alone(space: Space) -> None:
    for seed in range(5):
        drift = seen(space, searched(space, 0.0, seed))
        assert not drift.noticed
        assert drift.now.point == pytest.approx(1.0, abs=0.02)


def test_of_a_few_runs_nothing_is_told(space: Space) -> None:
    runs = searched(space, 0.5, 1)[:3]
    assert seen(space, runs).corrected(runs[-1]) == runs[-1]


def test_a_pause_of_the_study_is_time_in_which_the_machine_may_have_moved(space: Space) -> None:
    """A jump of ten percent is surer drift over a night than within one run."""
    steady = searched(space, 0.0, 2)
    slower = [
        report(
            each.number, each.configuration.assignment, rate * (0.9 if each.number > 12 else 1), each.phase
        )
        for each in steady
        if each.measurement
        for rate in [each.measurement.samples_per_second.point]
    ]
    paused = [replace(each, paused_seconds=36000.0 if each.number == 13 else 0.0) for each in slower]
    at_once, overnight = seen(space, slower), seen(space, paused)
    assert abs(overnight.now.point - 0.9) < 0.02
    assert overnight.now.high - overnight.now.low < 0.5 * (at_once.now.high - at_once.now.low)
    assert overnight.seconds[-1] > 36000


def remeasuring(space: Space, runs: list[TrialReport], share: float = 0.12) -> Remeasuring:
    return Remeasuring(
        history=lambda: runs,
        surrogate=Surrogate(entries=space.entries),
        point_of=space.completed,
        share=share,
    )


@pytest.mark.parametrize(
    ("runs", "early", "share", "due"),
    [
        (10, False, 0.12, True),
        (9, False, 0.12, False),
        (8, True, 0.12, True),
        (3, True, 0.5, False),
        (4, True, 0.5, True),
        (10, False, 0.05, False),
        (20, True, 0.0, False),
    ],
)
def test_when_a_configuration_runs_again(
    space: Space, runs: int, early: bool, share: float, due: bool
) -> None:
    made = searched(space, 0.0, 3, again_every=100)[: runs + 1]
    again = remeasuring(space, made, share).due(early=early)
    assert (again is not None) is due


def test_what_runs_again_is_the_fastest_that_did_not_run_lately(space: Space) -> None:
    made = searched(space, 0.0, 3, again_every=100)[:11]
    again = remeasuring(space, made).due(early=False)
    old = [each for each in made[:-4] if each.measurement]
    assert again is not None
    assert (
        again.configuration
        == max(old, key=lambda each: true_rate(each.configuration.assignment)).configuration
    )


def test_several_runs_of_one_configuration_count_as_their_mean(space: Space) -> None:
    point = space.baseline_assignment()
    runs = [
        report(0, point, 100.0, Phase.BASELINE),
        report(1, point, 121.0, Phase.REMEASUREMENT),
    ]
    rates = [
        each.measurement.samples_per_second.point
        for each in remeasuring(space, runs).corrected()
        if each.measurement
    ]
    assert rates == pytest.approx([110.0, 110.0])


MANY = """knobs:
  micro_batch: [1, 2, 4, 8]
  zero_stage: [0, 1, 2]
  reduce_bucket_size: [100000, 1000000, 500000000]
"""


def slowing_bench(folder: Path, lost: float) -> Bench:
    """A user whose machine loses a share of its speed over two minutes of runs."""
    bench = Bench(folder, larger_is_faster)
    (folder / "space.yaml").write_text(MANY)
    began = bench.clock.now

    def speed(config: Mapping[str, Any], environment: Mapping[str, str]) -> float:
        return larger_is_faster(config, environment) * (1 - lost * min(1.0, (bench.clock.now - began) / 120))

    bench.speed = speed
    return bench


def test_a_study_says_the_drift_and_is_not_misled_by_it(tmp_path: Path) -> None:
    bench = slowing_bench(tmp_path, 0.3)
    bench.run(replace(bench.options, trials=24))
    found = bench.recommendation()["drift"]
    assert found["noticed"]
    last = found["course"][-1]
    true = 1 - 0.3 * min(1.0, last["seconds"] / 120)
    assert true < 0.9
    assert abs(math.log(last["speed"] / true)) < 0.6 * abs(math.log(true))
    assert 0 < found["share"] <= 0.15
    again = [trial for trial in bench.trials() if trial.phase == "remeasurement"]
    assert len(again) == found["remeasurements"] > 0
    assert len([trial for trial in bench.trials() if trial.phase == "search"]) == 24
    assert any(note.startswith("drift: the machine runs at 0.") for note in bench.observer.notes)
    assert "drift: in the search the machine was at" in (tmp_path / "out/summary.txt").read_text()
    assert "Speed of the machine during the search" in (tmp_path / "out/report.html").read_text()
    recommended = bench.recommendation()["recommended"]["ds_config"]
    assert (micro_of(recommended), recommended["zero_optimization"]["stage"]) == (8, 0)


def test_a_study_on_a_steady_machine_has_nothing_to_say(tmp_path: Path) -> None:
    bench = slowing_bench(tmp_path, 0.0)
    bench.run(replace(bench.options, trials=14))
    assert not bench.recommendation()["drift"]["noticed"]
    assert not any("drift" in note for note in bench.observer.notes)
    assert "Speed of the machine" not in (tmp_path / "out/report.html").read_text()


def test_a_resumed_study_counts_the_night_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = slowing_bench(tmp_path, 0.0)

    def stop(handle: FakeHandle, step: int) -> None:
        if handle.request.directory.name == "8" and step == 3:
            bench.interruption.request("test")
            bench.interruption.request("test")
            handle.kill("stopped by the user")

    bench.on_step = stop
    with pytest.raises(Interrupted):
        bench.run()
    bench.on_step, bench.interruption = None, Interruption()
    evening = time.time
    monkeypatch.setattr(time, "time", lambda: evening() + 36000)
    bench.run(replace(bench.options, command=(), resume=LATEST, output=None))
    seconds = {each["trial"]: each["seconds"] for each in bench.recommendation()["drift"]["course"]}
    assert seconds[7] < 1000 < 36000 < seconds[9] < 37000
