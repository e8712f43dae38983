"""Runs a pick as its user would: DeepSpeed's launcher from cold, a config file, variables in front."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks._outside_run import Marks, OutsideRun, run_outside
from tests.benchmarks.peers.base import Pick

from flyball.runner.command import Command
from flyball.runner.ports import free_port, with_port
from flyball.tuners.base import Configuration

_LAUNCHER = re.compile(r"(?<=\s)deepspeed(?=\s)")


@dataclass(frozen=True, kw_only=True, slots=True)
class ColdRuns:
    """Cold runs of one job; implements ``base.Measure``."""

    command: Command
    marks: Marks

    def __call__(self, configuration: Configuration, folder: Path, limit_seconds: float) -> OutsideRun:
        """Run the user's command with another config, arguments and variables, without a probe."""
        config = written(configuration.ds_config, folder)
        tokens = self.command.render_optimal(config, configuration.arguments)
        port = free_port()
        tokens = with_port(tokens, port, cwd=self.command.cwd)
        return self._run(tokens, dict(configuration.environment), port, folder, limit_seconds)

    def pick(
        self, pick: Pick, ds_config: Mapping[str, Any], folder: Path, limit_seconds: float
    ) -> OutsideRun:
        """Run a pick's own command where it has one, with ``ds_config`` in the place of its config."""
        if not pick.script:
            changed = Configuration(
                assignment={}, ds_config=ds_config, arguments=pick.arguments, environment=pick.environment
            )
            return self(changed, folder, limit_seconds)
        config, port = written(ds_config, folder), free_port()
        script = folder / "command.sh"
        script.write_text(on_port(pick.script.replace(pick.config_path, str(config)), port))
        return self._run(["sh", str(script)], {}, port, folder, limit_seconds)

    def _run(
        self, tokens: list[str], environment: dict[str, str], port: int, folder: Path, limit_seconds: float
    ) -> OutsideRun:
        rendezvous = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(self.command.ranks),
        }
        return run_outside(
            tokens,
            cwd=self.command.cwd,
            folder=folder,
            marks=self.marks,
            limit_seconds=limit_seconds,
            environment=environment,
            rendezvous=rendezvous,
        )


def on_port(script: str, port: int) -> str:
    """Return a command's text with a rendezvous of its own: another run may hold the default port."""
    return _LAUNCHER.sub(f"deepspeed --master_port={port}", script, count=1)


def written(ds_config: Mapping[str, Any], folder: Path) -> Path:
    """Write a config into a run's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "ds_config.json"
    path.write_text(json.dumps(dict(ds_config), indent=2) + "\n")
    return path
