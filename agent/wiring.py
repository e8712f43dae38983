"""What the commands are connected to: handed in, so that a test can connect them to something else."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn, TextIO

from flyball.agent.history_records import Past
from flyball.clock import Clock, SystemClock
from flyball.tuners.base import StudyObserver
from flyball.tuners.interruption import Interruption
from flyball.tuners.options import RunStudy, StudyOptions, StudyResult, nothing

if TYPE_CHECKING:
    from flyball.collectors.registry import CollectorType


def run_real_study(
    options: StudyOptions,
    *,
    observer: StudyObserver,
    interruption: Interruption,
    begin: Callable[[], None] = nothing,
) -> StudyResult:
    """Run ``tuners.study.run_study``, imported only now: ``--help`` must not wait for Optuna."""
    from flyball.tuners.study.study import run_study

    return run_study(options, observer=observer, interruption=interruption, begin=begin)


@contextmanager
def open_real_history(url: str) -> Iterator[Past]:
    """Yield what ``agent.history_reader`` reads at ``url``; SQLAlchemy is imported only now."""
    from flyball.agent.history_reader import open_history

    with open_history(url) as history:
        yield history


def real_collector_types() -> "Mapping[str, CollectorType]":
    """Return ``collectors.registry.collector_types``'s; what they need is imported only now."""
    from flyball.collectors.registry import collector_types

    return collector_types()


def count_real_gpus() -> int:
    """Return how many NVIDIA GPUs this host has, by NVML."""
    from flyball.collectors.nvml_inventory import list_gpus

    return len(list_gpus()[0])


def real_driver_version() -> str:
    """Return the version of the NVIDIA driver, by NVML; empty where there is none."""
    from flyball.collectors.nvml_inventory import list_gpus

    return next((gpu.driver for gpu in list_gpus()[0]), "")


@dataclass(kw_only=True, slots=True)
class Wiring:
    """One invocation of the command line."""

    run_study: RunStudy = run_real_study
    open_history: Callable[[str], AbstractContextManager[Past]] = open_real_history
    collector_types: "Callable[[], Mapping[str, CollectorType]]" = real_collector_types
    count_gpus: Callable[[], int] = count_real_gpus
    driver_version: Callable[[], str] = real_driver_version
    clock: Clock = field(default_factory=SystemClock)
    become: Callable[[Sequence[str]], NoReturn] | None = None
    """Makes this process the daemon's, which holds nothing of the command line; None where it must stay."""
    command: tuple[str, ...] | None = None
    """What stood after ``--``; None where there was no ``--``."""
    debug: bool = False
    """Set by ``--debug``: tracebacks are shown."""

    interrupted: bool = False
    """Set when the user asked a study to finish early: it reported, and can be resumed."""

    @property
    def out(self) -> TextIO:
        """Where results go."""
        return sys.stdout

    @property
    def err(self) -> TextIO:
        """Where errors go, and progress when the result is JSON."""
        return sys.stderr
