"""Journals of runs that there are not, in the name of the process that writes them."""

import json
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyball.collectors.processes import pid_namespace, process_started

COMMAND = ["/usr/bin/python", "-u", "train.py", "--deepspeed", "--deepspeed_config", "ds.json"]


@dataclass(frozen=True)
class OwnJournal:
    """One rank's."""

    root: Path
    run: str
    purpose: str = "run"

    def begin(self) -> None:
        """As a rank does that has just made its engine."""
        (self.root / self.run).mkdir(parents=True)
        self.write(
            "header",
            schema=1,
            purpose=self.purpose,
            rank=0,
            world_size=1,
            host=platform.node(),
            pid=os.getpid(),
            pid_namespace=pid_namespace(),
            started=process_started(os.getpid()),
            device="cpu",
            gpu_uuid=None,
            engine=0,
            command=COMMAND,
            working_directory="/srv/job",
            config={"train_micro_batch_size_per_gpu": 4},
        )

    def step(self, number: int, **fields: Any) -> None:
        """One step, 0.1 s long."""
        known = {
            "engine": 0,
            "count": 1,
            "seconds": 0.1,
            "samples": 4,
            "tokens": 64,
            "skipped": 0,
            "loss": 1.0,
        }
        self.write("step", step=number, **{**known, **fields})

    def write(self, kind: str, **fields: Any) -> None:
        """Append one record as of now."""
        record = {"kind": kind, "time": time.time(), "clock": time.monotonic(), **fields}
        with (self.root / self.run / "rank-0.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
