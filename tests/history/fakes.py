"""Stand-ins for the store's tests."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flyball.history.owner import Owner
from flyball.history.store import History


@dataclass
class FakeClock:
    now: float = 1_000_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass(frozen=True)
class FakeFingerprint:
    digest: str = "machine-a"
    content: Mapping[str, Any] = field(default_factory=lambda: {"cpu_model": "test"})

    def document(self) -> dict[str, Any]:
        return dict(self.content)


def living() -> Owner:
    """This process."""
    return Owner.current()


def dead() -> Owner:
    """A process with this one's pid that was started at another time: its pid was used again."""
    own = Owner.current()
    return Owner(host=own.host, pid=os.getpid(), started=own.started.rpartition("/")[0] + "/1")


def elsewhere() -> Owner:
    """A process in another container of this machine, which cannot be seen from here."""
    boot = Owner.current().started.partition("/")[0]
    return Owner(host="another", pid=1, started=f"{boot}/pid:[1]/1")


def new_experiment(history: History, name: str = "first", **changes: Any) -> int:
    given: dict[str, Any] = {
        "name": name,
        "command": ["deepspeed", "train.py"],
        "base_config": {"train_batch_size": 8},
        "space": {"stage": [0, 1]},
        "seed": 2**40,
        "budget_seconds": 600.0,
        "options": {"cwd": "/job"},
        "fingerprint": FakeFingerprint(),
        "output_directory": f"/results/{name}",
    }
    return history.create_experiment(**{**given, **changes})


def new_configuration(history: History, experiment_id: int, digest: str = "c0", **changes: Any) -> int:
    given: dict[str, Any] = {
        "digest": digest,
        "assignment": {"stage": 1, "micro_batch": 4, "overlap": True},
        "ds_config": {"zero_optimization": {"stage": 1}, "train_batch_size": 8},
        "arguments": {"--batch": "4"},
        "environment": {"OMP_NUM_THREADS": "1"},
        "probe": {"compile": False},
    }
    return history.add_configuration(experiment_id, **{**given, **changes})


def new_trial(history: History, experiment_id: int, number: int, **changes: Any) -> int:
    given: dict[str, Any] = {"number": number, "phase": "search", "owner": living(), **changes}
    if "configuration_id" not in given:
        given["configuration_id"] = new_configuration(history, experiment_id, f"c{number}")
    return history.start_trial(experiment_id, **given)


def measured(rate: float, **changes: Any) -> dict[str, Any]:
    return {
        "samples_per_second": {"point": rate, "low": rate - 1, "high": rate + 1},
        "tokens_per_second": rate * 128,
        "steps": 20,
        "seconds": 2.0,
        "step_seconds_median": 0.1,
        "peak_reserved_bytes": 2**33,
        "losses": [[2.0, 5.5], [4.0, 5.25]],
        **changes,
    }


def complete(history: History, trial_id: int, rate: float, **changes: Any) -> bool:
    given = {
        "outcome": "completed",
        "reason": "measured",
        "total_seconds": 10.0,
        "measurement": measured(rate),
    }
    return history.finish_trial(trial_id, **{**given, **changes})
