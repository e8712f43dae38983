from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.runner.probe_fakes import read, watched
from tests.runner.test_probe_meter import one_step

from flyball.runner.probe.loss_scale import loss_scale, scales_loss
from flyball.runner.probe.meter import ATTRIBUTE


class Raises:
    """An engine, and an optimizer, whose every name is a fault."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


def test_the_scale_is_written_when_it_is_first_known_and_when_it_changes(tmp_path: Path) -> None:
    with watched(tmp_path) as (engine, _):
        engine.__dict__[ATTRIBUTE].scales_loss = True
        for scale in (65536.0, 65536.0, 32768.0, 32768.0):
            engine.optimizer.loss_scale = scale
            one_step(engine)
    assert [step.get("loss_scale") for step in read(tmp_path).steps()] == [65536.0, None, 32768.0, None]


def test_a_change_in_steps_that_share_a_record_is_in_it(tmp_path: Path) -> None:
    with watched(tmp_path, max_records_per_second=0.001) as (engine, probe):
        engine.__dict__[ATTRIBUTE].scales_loss = True
        for scale in (65536.0, 32768.0, 16384.0):
            engine.optimizer.loss_scale = scale
            one_step(engine)
        probe.finish("exit")
    assert [(step["count"], step["loss_scale"]) for step in read(tmp_path).steps()] == [
        (1, 65536.0),
        (2, 16384.0),
    ]


def test_an_engine_that_does_not_train_in_fp16_has_none(tmp_path: Path) -> None:
    with watched(tmp_path) as (engine, _):
        engine.optimizer.loss_scale = 1.0
        one_step(engine)
    assert "loss_scale" not in read(tmp_path).steps()[0]


@pytest.mark.parametrize(
    "found", [None, torch.tensor(2.0), "2", True], ids=["none", "a tensor", "a text", "a truth"]
)
def test_what_is_no_number_of_the_hosts_is_not_known(found: Any) -> None:
    assert loss_scale(SimpleNamespace(optimizer=SimpleNamespace(loss_scale=found))) is None


@pytest.mark.parametrize(
    "engine",
    [Raises(), SimpleNamespace(optimizer=Raises()), SimpleNamespace(optimizer=None), SimpleNamespace()],
    ids=["that raises", "whose optimizer raises", "without optimizer", "without anything"],
)
def test_an_engine_of_another_kind_is_no_fault(engine: Any) -> None:
    assert (scales_loss(engine), loss_scale(engine)) == (False, None)
