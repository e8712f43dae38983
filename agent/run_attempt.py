"""One start of the command of ``flyball run``: its folder, its watch, its end."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from flyball.agent.recovery_options import Recovering
from flyball.agent.run_recovery import RecoveredRun
from flyball.agent.run_study_watch import FirstStepWatch, LeaseWatch
from flyball.agent.run_watch import RunWatch, write_promise
from flyball.clock import SystemClock
from flyball.errors import CommandError
from flyball.runner.foreground import Ending, Terminal, run_in_place
from flyball.runner.kernel_kills import kernel_kills
from flyball.runner.watched_folder import make_watched_folder
from flyball.settings import state_folder
from flyball.tuners.between_runs.turn import Ended, Turn


@dataclass(kw_only=True)
class Attempt:
    """The command as a study wants it run this once, or as it was typed."""

    command: Sequence[str]
    name: str | None
    ping_every_steps: int
    database_url: str
    turn: Turn
    recovering: Recovering | None = None
    err: TextIO | None = None
    first_step_seconds: float | None = None
    """How long a configuration that is tried may take to its first step; None where it may for ever."""
    ending: Ending = field(init=False, default_factory=Ending)
    watch: RunWatch = field(init=False)
    recovered: RecoveredRun | None = field(init=False, default=None)
    recorded: bool = field(init=False, default=False)
    """Whether its study was told how it ended."""
    _pid: int = field(init=False, default=0)
    _kills: int = field(init=False, default=0)
    _first_step: FirstStepWatch | None = field(init=False, default=None)
    _lease: LeaseWatch | None = field(init=False, default=None)
    _on_terminal: bool = field(init=False, default=False)

    def run(self) -> Ending:
        """Run it to its end; see ``run_in_place``.

        Raises:
            CommandError: there is no such program.
        """
        tokens = self.turn.tokens or self.command
        self.watch = RunWatch(
            folder=None,
            command=tokens,
            database_url=self.database_url,
            clock=SystemClock(),
            is_of_study=bool(self.turn.study),
        )
        self._make_folder(tokens)
        folder = self.watch.folder
        if folder is None and not self.turn.is_own:
            # Without the probe nothing would be known of a configuration that is tried.
            self.turn, tokens = Turn(study=""), self.command
            self.watch.command = tokens
        environment: Mapping[str, str] = {
            **(folder.environment if folder else os.environ),
            **self.turn.environment,
        }
        terminal = Terminal()
        self._on_terminal = terminal.is_held_by(os.getpgrp())
        terminal.close()
        self._kills = kernel_kills()
        try:
            self.ending = self._run(tokens, environment)
        except CommandError:
            if folder is not None:
                shutil.rmtree(folder.path, ignore_errors=True)
            raise
        for watch in (self._first_step, self._lease):
            if watch is not None:
                watch.stop()
        return self.ending

    def _run(self, tokens: Sequence[str], environment: Mapping[str, str]) -> Ending:
        folder = self.watch.folder
        if self.recovering is None or folder is None:
            return run_in_place(tokens, environment, started=self._begin)
        self.recovered = RecoveredRun(
            asked=self.recovering, folder=folder, clock=SystemClock(), err=self.err or sys.stderr
        )
        return self.recovered.to_the_end(tokens, environment, self._begin)

    def _make_folder(self, tokens: Sequence[str]) -> None:
        try:
            self.watch.folder = make_watched_folder(
                state_folder() / "runs",
                self.name,
                tokens,
                ping_every_steps=self.ping_every_steps,
                probe=self.turn.probe,
            )
            if self.turn.promise is not None:
                write_promise(self.watch.folder.path, self.turn.promise)
        except OSError as error:
            self.watch.faults.append(f"the run is not watched: {error.filename}: {error.strerror}")

    def _begin(self, pid: int) -> None:
        self._pid = pid
        self.watch.begin(pid)
        folder, turn = self.watch.folder, self.turn
        if folder is not None and not turn.is_own and self.first_step_seconds is not None:
            self._first_step = FirstStepWatch(folder=folder.path, pid=pid, seconds=self.first_step_seconds)
            self._first_step.start()
        if turn.experiment_id is not None and turn.trial_id is not None:
            self._lease = LeaseWatch(database_url=self.database_url, experiment_id=turn.experiment_id)
            self._lease.start()

    def ended(self, known: Mapping[str, Any] | None) -> Ended | None:
        """Return what the study is told; None where the run is no part of one.

        Args:
            known: the run's summary, where it was made already.
        """
        if self.turn.trial_id is None or self.watch.folder is None:
            return None
        gpu = (known or {}).get("gpu")
        return Ended(
            trial_id=self.turn.trial_id,
            is_own=self.turn.is_own,
            folder=str(self.watch.folder.path),
            exit_status=self.ending.exit_status,
            signal=self.ending.signal,
            told=self.ending.told,
            hung=self._first_step.hung if self._first_step else None,
            seconds=self.watch.seconds(),
            kernel_kills=kernel_kills() - self._kills,
            pid=self._pid,
            on_terminal=self._on_terminal,
            telemetry={"gpu": gpu} if gpu else None,
            energy=(known or {}).get("samples_per_joule"),
        )
