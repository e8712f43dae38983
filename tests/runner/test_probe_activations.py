"""What a forward pass leaves allocated, with an allocator made up."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.runner.probe_fakes import FakeEngine, read, watched

from flyball.runner.probe.meter import ATTRIBUTE
from flyball.runner.probe.readings import HostReadings


class Allocator(HostReadings):
    """Answers with what it is told, one reading after the other."""

    def __init__(self, answers: list[int]) -> None:
        super().__init__()
        self.answers, self.asked = answers, 0

    def allocated(self) -> int | None:
        self.asked += 1
        return self.answers.pop(0)


def step(engine: FakeEngine, passes: int = 1, forwards: int = 1) -> None:
    for _ in range(passes):
        for _ in range(forwards):
            loss = engine.forward(torch.ones(2, 3)).sum()
        engine.backward(loss)
    engine._take_model_step()


def play(folder: Path, answers: list[int], *, steps: int = 6, **options: Any) -> tuple[Any, Allocator]:
    """The record that some steps wrote, or None."""
    allocator = Allocator(answers)
    with watched(folder, memory=options.pop("memory", True)) as (engine, _):
        engine.forward(torch.ones(2, 3))
        engine.__dict__[ATTRIBUTE].readings = allocator
        for _ in range(steps):
            step(engine, **options)
    return read(folder).last("activations"), allocator


def test_the_most_that_was_left_in_steps_two_to_four_is_told_once(tmp_path: Path) -> None:
    found, allocator = play(tmp_path, [10, 40, 10, 60, 11, 51])
    assert (found["bytes"], found["passes"], found["engine"]) == (50, 3, 0)
    assert len(read(tmp_path).of_kind("activations")) == 1
    assert allocator.asked == 6


def test_every_micro_batch_is_looked_at(tmp_path: Path) -> None:
    found, allocator = play(tmp_path, [0, 1, 0, 2, 0, 3, 0, 4, 0, 9, 0, 5], passes=2)
    assert (found["bytes"], found["passes"], allocator.asked) == (9, 6, 12)


def test_several_forward_passes_before_one_backward_pass_count_together(tmp_path: Path) -> None:
    found, allocator = play(tmp_path, [5, 25, 5, 25, 5, 25], forwards=2)
    assert (found["bytes"], allocator.asked) == (20, 6)


def test_a_run_that_ends_before_tells_nothing(tmp_path: Path) -> None:
    found, _ = play(tmp_path, [10, 40, 10, 60], steps=3)
    assert found is None


def test_where_memory_is_not_to_be_read_the_allocator_is_not_asked(tmp_path: Path) -> None:
    found, allocator = play(tmp_path, [], memory=False)
    assert (found, allocator.asked) == (None, 0)


@pytest.mark.parametrize("steps", [1, 6])
def test_on_cpu_nothing_is_told(tmp_path: Path, steps: int) -> None:
    with watched(tmp_path, memory=True) as (engine, _):
        for _ in range(steps):
            step(engine)
    assert read(tmp_path).last("activations") is None
    assert read(tmp_path).last("probe_off") is None
