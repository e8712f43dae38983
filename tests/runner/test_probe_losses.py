"""The loss of a script that calls ``loss.backward()``, as DeepSpeed's hooks let it be seen."""

from pathlib import Path

import pytest
import torch
from tests.runner.probe_fakes import FakeEngine, read, watched


def output(engine: FakeEngine, value: float, forwards: int = 1) -> torch.Tensor:
    """What forward returns, with the hook that DeepSpeed puts on it; added up over several forwards."""
    total = torch.zeros(())
    for _ in range(forwards):
        engine.forward(torch.zeros((2, 4)))
        one = torch.tensor(value, requires_grad=True)
        one.register_hook(lambda _: engine._backward_prologue())
        total = total + one
    return total


def losses(folder: Path) -> list[float | None]:
    return [step["loss"] for step in read(folder).steps()]


def test_a_plain_backward_says_its_loss(tmp_path: Path) -> None:
    with watched(tmp_path) as (engine, _):
        for value in (1.0, 3.0):
            output(engine, value).backward()
        engine._take_model_step()
    assert losses(tmp_path) == [2.0]


def test_a_scaled_loss_is_told_unscaled(tmp_path: Path) -> None:
    with watched(tmp_path) as (engine, _):
        engine.scale(output(engine, 3.0)).backward()
        engine._take_model_step()
        output(engine, 5.0).backward()
        engine._take_model_step()
    assert losses(tmp_path) == [3.0, 5.0]


def test_two_forwards_in_one_loss_are_one_loss(tmp_path: Path) -> None:
    with watched(tmp_path) as (engine, _):
        output(engine, 2.0, forwards=2).backward()
        engine._take_model_step()
    assert losses(tmp_path) == [4.0]


def test_a_backward_of_the_engine_is_counted_once(tmp_path: Path) -> None:
    with watched(tmp_path) as (engine, _):
        loss = output(engine, 2.0)
        engine.backward(loss)
        engine._running_engine_backward = True
        (loss * 8).backward()
        engine._take_model_step()
    assert losses(tmp_path) == [2.0]


def test_a_backward_of_something_else_is_no_loss_of_the_engine(tmp_path: Path) -> None:
    with watched(tmp_path) as (engine, _):
        torch.tensor(7.0, requires_grad=True).backward()
        outputs = torch.ones(3, requires_grad=True)
        outputs.register_hook(lambda _: engine._backward_prologue())
        outputs.backward(torch.ones(3))
        engine._take_model_step()
    assert losses(tmp_path) == [None]


def test_a_fault_in_the_hook_is_not_the_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with watched(tmp_path) as (engine, probe):
        monkeypatch.setitem(engine.__dict__, "_modules", {})
        output(engine, 1.0).backward()
        assert not probe.watching
