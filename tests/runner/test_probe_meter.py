import copy
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.runner.probe_fakes import FakeEngine, read, watched

from flyball.runner.probe import collectives
from flyball.runner.probe.evaluation import watch_module
from flyball.runner.probe.meter import ATTRIBUTE


def one_step(engine: FakeEngine, batch: int = 2, losses: tuple[float, ...] = (1.0,), **backward: Any) -> None:
    for loss in losses:
        engine.forward(input_ids=torch.zeros((batch, 16), dtype=torch.long))
        engine.backward(torch.tensor(loss), **backward)
    engine._take_model_step()


def test_a_step_says_what_was_fed_and_the_mean_loss_of_its_micro_batches(tmp_path: Path) -> None:
    with watched(tmp_path) as (engine, _):
        one_step(engine, batch=3, losses=(1.0, 3.0))
    (step,) = read(tmp_path).steps()
    counted = {
        name: step[name] for name in ("step", "count", "samples", "tokens", "forwards", "skipped", "lr")
    }
    assert counted == {
        "step": 1, "count": 1, "samples": 6, "tokens": 96, "forwards": 2, "skipped": 0, "lr": 0.125,
    }  # fmt: skip
    assert step["loss"] == 2.0
    assert step["seconds"] > 0
    assert "communicated" not in step
    assert "memory" not in step


def test_a_loss_that_the_caller_has_already_divided_is_summed(tmp_path: Path) -> None:
    with watched(tmp_path) as (engine, _):
        one_step(engine, losses=(1.0, 3.0), scale_wrt_gas=False)
    assert read(tmp_path).steps()[0]["loss"] == 4.0


def test_a_loss_that_is_not_finite_reaches_the_reader(tmp_path: Path) -> None:
    with watched(tmp_path) as (engine, _):
        one_step(engine, losses=(math.nan,))
        one_step(engine, losses=(-math.inf,))
    losses = [step["loss"] for step in read(tmp_path).steps()]
    assert math.isnan(losses[0])
    assert losses[1] == -math.inf


def test_a_step_that_the_optimizer_skipped_is_counted_as_skipped(tmp_path: Path) -> None:
    with watched(tmp_path) as (engine, _):
        engine.overflow_at = {2}
        for _ in range(3):
            one_step(engine)
    assert [step["skipped"] for step in read(tmp_path).steps()] == [0, 1, 0]


def test_evaluation_is_neither_counted_nor_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1, 1000))
    monkeypatch.setattr("flyball.runner.probe.meter.monotonic", lambda: float(next(clock)))
    with watched(tmp_path) as (engine, _):
        one_step(engine)
        engine.eval()
        engine.eval()
        with torch.no_grad():
            engine.forward(torch.zeros((100, 4)))
        engine.train()
        engine.train()
        one_step(engine)
    journal = read(tmp_path)
    edges = [(record["phase"], record["edge"]) for record in journal.of_kind("pause")]
    assert edges == [("evaluating", "begin"), ("evaluating", "end")]
    last = journal.steps()[-1]
    # Clock readings from boundary to boundary: begin, end, boundary; the one second inside is taken off.
    assert last["seconds"] == 2.0
    assert last["samples"] == 2


class FrozenNorm(torch.nn.Module):
    """Has a method of its own for the mode, as models with a frozen part have."""

    def train(self, mode: bool = True) -> "FrozenNorm":
        return super().train(mode)


@pytest.mark.parametrize("module", [torch.nn.Linear(2, 2), FrozenNorm()])
def test_an_evaluation_of_the_bare_module_is_neither_counted_nor_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: torch.nn.Module
) -> None:
    clock = iter(range(1, 1000))
    monkeypatch.setattr("flyball.runner.probe.meter.monotonic", lambda: float(next(clock)))
    with watched(tmp_path) as (engine, _):
        holds(engine, module)
        one_step(engine)
        module.train()
        module.eval()
        with torch.no_grad():
            engine.forward(torch.zeros((100, 4)))
        module.train()
        one_step(engine)
    journal = read(tmp_path)
    edges = [(record["phase"], record["edge"]) for record in journal.of_kind("pause")]
    assert edges == [("evaluating", "begin"), ("evaluating", "end")]
    assert [step["samples"] for step in journal.steps()] == [2, 2]
    assert journal.steps()[-1]["seconds"] == 2.0


def holds(engine: FakeEngine, module: torch.nn.Module) -> None:
    """Let the engine train ``module``, as ``begin_engine`` would."""
    engine.module = engine._modules["module"] = module  # type: ignore[assignment]
    watch_module(module, engine.__dict__[ATTRIBUTE])


def test_a_training_forward_ends_an_evaluation_whose_mode_was_put_back_silently(tmp_path: Path) -> None:
    module = torch.nn.Linear(2, 2)
    with watched(tmp_path) as (engine, _):
        holds(engine, module)
        module.eval()
        module.training = True
        engine.forward(torch.zeros((2, 4)))
        assert read(tmp_path).of_kind("pause")[-1]["edge"] == "end"


def test_a_bare_module_trained_in_eval_mode_is_counted(tmp_path: Path) -> None:
    module = torch.nn.Linear(2, 2)
    with watched(tmp_path) as (engine, _):
        holds(engine, module)
        for _ in range(3):
            module.eval()
            one_step(engine)
    journal = read(tmp_path)
    assert [step["samples"] for step in journal.steps()] == [0, 2, 2]
    assert [record["edge"] for record in journal.of_kind("pause")] == ["begin", "end"]


def test_an_evaluation_after_which_nobody_puts_the_mode_back_is_not_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1, 1000))
    monkeypatch.setattr("flyball.runner.probe.meter.monotonic", lambda: float(next(clock)))
    module = torch.nn.Linear(2, 2)
    with watched(tmp_path) as (engine, _):
        holds(engine, module)
        one_step(engine)
        module.eval()
        one_step(engine)
    assert read(tmp_path).steps()[-1]["seconds"] == 2.0


def test_a_watched_module_is_copied_and_pickled_and_its_copy_is_nobodys(tmp_path: Path) -> None:
    module = torch.nn.Linear(2, 2)
    with watched(tmp_path) as (engine, _):
        holds(engine, module)
        copies = [copy.deepcopy(module), pickle.loads(pickle.dumps(module))]
        for each in copies:
            assert set(each.__dict__) == set(torch.nn.Linear(2, 2).__dict__)
            each.eval()
    assert read(tmp_path).of_kind("pause") == []


def test_forwards_without_gradients_are_not_counted(tmp_path: Path) -> None:
    with watched(tmp_path) as (engine, _):
        with torch.no_grad():
            engine.forward(torch.zeros((100, 4)))
        one_step(engine)
    assert read(tmp_path).steps()[0]["samples"] == 2


def test_a_module_trained_in_eval_mode_is_counted_from_its_second_micro_batch(tmp_path: Path) -> None:
    with watched(tmp_path) as (engine, _):
        engine.eval()
        one_step(engine)
        one_step(engine)
    assert [step["samples"] for step in read(tmp_path).steps()] == [0, 2]


def test_fast_boundaries_share_a_record_and_none_is_lost(tmp_path: Path) -> None:
    with watched(tmp_path, max_records_per_second=1e-6) as (engine, probe):
        for _ in range(10):
            one_step(engine)
        engine.forward(input_ids=torch.zeros((50, 16), dtype=torch.long))
        probe.finish("exit")
    steps = read(tmp_path).steps()
    assert [(step["step"], step["count"], step["samples"]) for step in steps] == [(1, 1, 2), (10, 9, 18)]
    assert read(tmp_path).last("end")["steps"] == 10  # type: ignore[index]


def test_memory_is_read_where_asked_for(tmp_path: Path) -> None:
    with watched(tmp_path, memory=True) as (engine, _):
        one_step(engine)
    memory = read(tmp_path).steps()[0]["memory"]
    assert 0 < memory["rss"] <= memory["peak_rss"]


def test_communicated_bytes_go_into_the_next_record(tmp_path: Path) -> None:
    with watched(tmp_path) as (engine, _):
        collectives.COUNTS.add("all_reduce", torch.zeros(8), "group of two", lambda group: 2)
        collectives.COUNTS.add(
            "all_gather", [torch.zeros(8), torch.zeros(8)], "group of two", lambda group: 2
        )
        collectives.COUNTS.add("broadcast", torch.zeros(8), "group of one", lambda group: 1)
        one_step(engine)
        one_step(engine)
    first, second = read(tmp_path).steps()
    assert first["communicated"] == {"all_reduce": 32, "all_gather": 64}
    assert "communicated" not in second


def test_a_probe_that_costs_too_much_switches_itself_off(tmp_path: Path) -> None:
    # These steps do nothing, so all of their time is the probe's.
    with watched(tmp_path, budget_ratio=0.01) as (engine, probe):
        for _ in range(400):
            one_step(engine)
        assert not probe.watching
    (off,) = read(tmp_path).of_kind("probe_off")
    assert "budget of 1.00%" in off["reason"]
    assert read(tmp_path).steps()[-1]["step"] < 400


def test_a_fault_of_the_probe_ends_the_watching_and_nothing_else(tmp_path: Path) -> None:
    with watched(tmp_path) as (engine, _):
        engine.__dict__[ATTRIBUTE].readings = None
        one_step(engine)
        one_step(engine)
        assert engine.steps == 2
    assert [record["kind"] for record in read(tmp_path).records] == ["probe_off"]


def test_a_step_ends_an_evaluation_that_the_script_left_open(tmp_path: Path) -> None:
    with watched(tmp_path) as (engine, _):
        one_step(engine)
        engine.eval()
        engine._take_model_step()
    edges = [record["edge"] for record in read(tmp_path).of_kind("pause")]
    assert edges == ["begin", "end"]


def test_what_a_knob_works_by_goes_on_when_the_probe_is_off(tmp_path: Path) -> None:
    worked: list[int] = []
    with watched(tmp_path) as (engine, probe):
        engine.__dict__[ATTRIBUTE].at_step.append(lambda _: worked.append(engine.steps))
        one_step(engine)
        probe.off("its own cost")
        one_step(engine)
    assert worked == [1, 2]
