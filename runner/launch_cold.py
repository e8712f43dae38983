"""Starts a trial by the user's command as it is, in a session of its own."""

import itertools
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from flyball.clock import Clock, SystemClock
from flyball.collectors.journal import RankJournal, Record
from flyball.runner.base import TrialRequest
from flyball.runner.bounded_log import LogPump
from flyball.runner.kept_process import KeptProcess, clear_orphans
from flyball.runner.leftovers import Leftovers
from flyball.runner.ports import free_port, with_port
from flyball.runner.process_tree import MARKER, environment_of, own_marker
from flyball.runner.supervise import Supervision
from flyball.runner.trial_folder import prepare, trial_environment

_serial = itertools.count()

HeaderHook = Callable[[int, Record], None]
EndHook = Callable[[Mapping[int, RankJournal], float | None], Sequence[str]]


class _ColdProcesses:
    """A launcher and all that it starts, below a reaper."""

    def __init__(self, kept: KeptProcess, pump: LogPump, leftovers: Leftovers, grace_seconds: float) -> None:
        self._kept, self._pump, self._leftovers = kept, pump, leftovers
        self._grace_seconds = grace_seconds

    def poll(self) -> int | None:
        return self._kept.poll()

    def rank_statuses(self) -> Mapping[int, int]:
        return {}

    def observe(self) -> None:
        self._leftovers.observe(process.pid for process in self._kept.tree())
        self._leftovers.break_stale_locks()

    def note_worker(self, pid: int) -> None:
        environment = environment_of(pid)
        self._leftovers.observe_environment(environment)
        self._kept.register(environment)

    def end(self) -> Sequence[str]:
        pids = [process.pid for process in self._kept.tree()]
        self._leftovers.observe(pids)
        self._leftovers.observe_files(pids)
        self._kept.end(grace_seconds=self._grace_seconds)
        self._kept.close()
        lost = self._pump.finish()
        self._leftovers.clean()
        return lost


class ColdLauncher:
    """Implements ``runner.base.Launcher``."""

    name = "cold"

    def __init__(
        self, *, clock: Clock | None = None, cwd: Path | None = None, grace_seconds: float = 3.0
    ) -> None:
        """Take the clock, the folder the command runs in (ours by default) and the time between signals."""
        self._clock = clock or SystemClock()
        self._cwd = cwd or Path.cwd()
        self._grace_seconds = grace_seconds
        clear_orphans()

    def launch(
        self,
        request: TrialRequest,
        *,
        notes: Iterable[str] = (),
        on_header: HeaderHook = lambda rank, header: None,
        on_end: EndHook = lambda journals, startup_seconds: (),
    ) -> Supervision:
        """Start the command.

        Raises:
            LaunchError: it cannot be executed.
        """
        called = self._clock.monotonic()
        port = free_port()
        environment = trial_environment(prepare(request), os.environ)
        environment[MARKER] = own_marker(next(_serial))
        environment["MASTER_PORT"] = str(port)
        leftovers = Leftovers(started=time.time() - 1.0)
        pump = LogPump(request.directory / "stdout.log", request.directory / "stderr.log")
        kept = KeptProcess(*pump.write_ends)
        pump.release()
        try:
            kept.spawn(with_port(request.command, port, cwd=self._cwd), environment, self._cwd)
        except BaseException:
            kept.close()
            pump.finish()
            raise
        processes = _ColdProcesses(kept, pump, leftovers, self._grace_seconds)

        def header_seen(rank: int, header: Record) -> None:
            processes.note_worker(header["pid"])
            on_header(rank, header)

        return Supervision(
            request,
            processes,
            self._clock,
            launcher=self.name,
            called=called,
            notes=notes,
            on_header=header_seen,
            on_end=on_end,
        )

    def close(self) -> None:
        """Nothing outlives a cold trial."""
