"""An alert that persists and names knobs asks for a tuning of its run, once."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.history.alert_fakes import alert, pending

from flyball.agent.daemon.readings import Reading
from flyball.agent.daemon.tuning_asks import TuningAsks, asks
from flyball.collectors import catalog
from flyball.collectors.base import Distribution, Metric, Sample
from flyball.collectors.run_origin import Origin
from flyball.collectors.run_state import RankState
from flyball.history.alert_records import Alert

ORIGIN = Origin(
    command=("python", "train.py"),
    launcher=("deepspeed", "--num_gpus", "2", "train.py"),
    working_directory="/srv/job",
    config={"train_batch_size": 8},
)


def firing(fired_time: float = 100.0, **labels: str) -> Alert:
    made = alert("a", fired_time=fired_time)
    return replace(made, labels={**made.labels, **labels}, suggests=("micro_batch",))


def sample(metric: Metric, labels: tuple[str, ...], value: float | Distribution = 1.0) -> Sample:
    return Sample(metric=metric, labels=labels, value=value, time=0.0)


def reading(*samples: Sample) -> Reading:
    return Reading(samples=samples, missing=(), unavailable=(), duration_seconds=0.0)


def rank(
    number: int = 0, *, run: str = "mine", purpose: str = "run", origin: Origin | None = ORIGIN
) -> RankState:
    return RankState(run=run, rank=number, folder=Path("runs"), purpose=purpose, origin=origin, world_size=2)


INFO = sample(catalog.RUN_INFO, ("mine", "0", "here", "0", "GPU-a", "stepping", ""))


def test_it_asks_when_it_has_fired_for_long_enough_and_only_once() -> None:
    waiting = TuningAsks(after_seconds=60.0)
    one = firing(fired_time=100.0)
    assert waiting.due([one], now=159.0) == []
    assert waiting.due([one], now=160.0) == [one]
    waiting.asked(one)
    assert waiting.due([one], now=500.0) == []
    again = replace(one, active_time=one.active_time + 1000.0)
    assert waiting.due([again], now=2000.0) == [again]


@pytest.mark.parametrize(
    "one", [replace(firing(), suggests=()), replace(pending("a"), suggests=("compile",))]
)
def test_what_names_no_knob_or_does_not_fire_asks_for_nothing(one: Alert) -> None:
    assert TuningAsks(after_seconds=0.0).due([one], now=1e9) == []


def test_a_request_holds_how_the_run_was_started_and_what_was_seen_of_it() -> None:
    steps = Distribution(counts=(0, 4, *(0 for _ in catalog.STEP_SECONDS.bounds[1:])), sum=2.0)
    seen = reading(
        INFO,
        sample(catalog.LOSS, ("mine", "0"), 2.5),
        sample(catalog.LOSS, ("other", "0"), 9.0),
        sample(catalog.STEP_SECONDS, ("mine", "0"), steps),
        sample(catalog.GPU_POWER, ("here", "0", "GPU-a"), 300.0),
        sample(catalog.GPU_POWER, ("here", "1", "GPU-b"), 700.0),
        sample(catalog.HOST_LOAD, ("here",), 1.0),
    )
    (ask,) = asks([firing(run="mine")], [rank(1), rank(0)], [seen], host="here")
    assert ask.run == "mine"
    assert ask.document["command"] == ["deepspeed", "--num_gpus", "2", "train.py"]
    assert ask.document["working_directory"] == "/srv/job"
    assert ask.document["config"] == {"train_batch_size": 8}
    assert ask.document["world_size"] == 2
    assert ask.document["alert"]["suggests"] == ["micro_batch"]
    assert ask.document["telemetry"] == {
        'flyball_loss{run="mine",rank="0"}': 2.5,
        'flyball_step_seconds{run="mine",rank="0"}': 0.5,
        'flyball_gpu_power_watts{host="here",gpu="0",uuid="GPU-a"}': 300.0,
    }


def test_an_alert_of_a_gpu_asks_for_the_run_that_works_there() -> None:
    (ask,) = asks([firing(uuid="GPU-a")], [rank()], [reading(INFO)], host="here")
    assert ask.run == "mine"


@pytest.mark.parametrize(
    ("ranks", "labels"),
    [
        ([rank(purpose="trial")], {"run": "mine"}),
        ([rank(origin=None)], {"run": "mine"}),
        ([rank(run="other")], {"run": "mine"}),
        ([rank()], {"uuid": "GPU-b"}),
        ([rank()], {"host": "here"}),
    ],
)
def test_without_a_run_that_can_be_started_again_there_is_no_request(
    ranks: list[RankState], labels: dict[str, str]
) -> None:
    assert list(asks([firing(**labels)], ranks, [reading(INFO)], host="here")) == []
