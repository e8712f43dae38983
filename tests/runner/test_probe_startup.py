"""Where a worker's start-up goes, each second in one part."""

import importlib
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flyball.runner.probe import startup as module
from flyball.runner.probe.imports import PostImportFinder
from flyball.runner.probe.startup import Startup, timed, timed_import


class Clock:
    """The module's ``monotonic``."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    monkeypatch.setattr(module, "process_started", lambda: 98.0)
    monkeypatch.delitem(sys.modules, "torch._dynamo.utils", raising=False)
    return clock


def test_every_second_is_in_one_part(clock: Clock) -> None:
    startup = Startup()
    clock.now += 4
    startup.turn("script")
    clock.now += 1
    assert startup.enter("process_group")
    clock.now += 2
    assert startup.enter("cuda")
    clock.now += 3
    startup.leave()
    startup.leave()
    clock.now += 1
    startup.turn("engine")
    clock.now += 5
    startup.turn("first_step")
    clock.now += 6
    found = startup.end()
    assert found == {
        "interpreter": 2, "imports": 4, "script": 2, "process_group": 2,
        "cuda": 3, "engine": 5, "first_step": 6,
    }  # fmt: skip
    assert sum(found.values()) == clock.now - 98


def test_what_dynamo_took_is_taken_out_of_the_first_step(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = SimpleNamespace(cumulative_time_spent_ns={"entire_frame_compile": 7e9})
    monkeypatch.setitem(sys.modules, "torch._dynamo.utils", spent)
    startup = Startup()
    startup.turn("first_step")
    clock.now += 10
    assert startup.end() == {"interpreter": 2, "first_step": 3, "compile": 7}


def test_after_the_first_step_and_on_other_threads_nothing_is_counted(clock: Clock) -> None:
    startup = Startup()
    entered: list[bool] = []
    thread = threading.Thread(target=lambda: entered.append(startup.enter("imports")))
    thread.start()
    thread.join()
    startup.end()
    assert entered == [False]
    assert not startup.enter("cuda")
    assert startup.part == ""


def test_a_training_inside_an_import_is_not_the_import(clock: Clock) -> None:
    startup = Startup()
    startup.turn("script")
    around = timed_import(startup)
    assert around is not None

    def execute(_: object) -> None:
        clock.now += 1
        startup.turn("engine")
        clock.now += 8

    around(execute)(None)
    assert startup.part == "engine"
    assert startup.end() == {"interpreter": 2, "imports": 1, "engine": 8}


def test_an_import_inside_an_import_is_left_alone(clock: Clock) -> None:
    startup = Startup()
    assert timed_import(startup) is None  # imports are what runs
    startup.turn("script")
    assert timed_import(startup) is not None
    startup.enter("imports")
    assert timed_import(startup) is None
    assert timed_import(None) is None


def test_a_function_timed_once_is_itself_again(clock: Clock) -> None:
    startup = Startup()
    startup.turn("script")

    def slow(seconds: float) -> float:
        clock.now += seconds
        return seconds

    owner = SimpleNamespace(slow=slow)
    timed(owner, "slow", "cuda", lambda: startup, once=True)
    timed(owner, "missing", "cuda", lambda: startup)
    assert owner.slow is not slow
    assert owner.slow(3.0) == 3.0
    assert owner.slow is slow
    assert startup.end() == {"interpreter": 2, "cuda": 3}


def test_a_fault_of_a_timed_function_is_the_callers(clock: Clock) -> None:
    startup = Startup()
    startup.turn("script")

    def fails() -> None:
        clock.now += 1
        raise LookupError

    owner = SimpleNamespace(fails=fails)
    timed(owner, "fails", "process_group", lambda: startup)
    with pytest.raises(LookupError):
        owner.fails()
    assert startup.part == "script"


def test_the_process_start_is_the_systems() -> None:
    startup = Startup()
    whole = startup.end()["interpreter"]
    assert 0 < whole < time.monotonic()


def test_modules_of_plain_source_are_executed_inside_what_is_put_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outer_of_startup.py").write_text("import inner_of_startup, wave\nVALUE = 1\n")
    (tmp_path / "inner_of_startup.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("outer_of_startup", "inner_of_startup", "wave"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    running: list[str] = []
    seen: list[str] = []

    def around(execute: Callable[[Any], None]) -> Callable[[Any], None]:
        def executed(loaded: Any) -> None:
            running.append(loaded.__name__)
            seen.append("/".join(running))
            execute(loaded)
            running.pop()

        return executed

    finder = PostImportFinder()
    finder.around = lambda: None if running else around
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    loaded = importlib.import_module("outer_of_startup")
    assert (loaded.VALUE, seen) == (1, ["outer_of_startup"])
    assert "exec_module" not in vars(loaded.__spec__.loader)
