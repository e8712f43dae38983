"""What ``flyball run`` does beside the command: samples the GPUs, keeps the run, sums it up. Never raises."""

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyball.clock import Clock
from flyball.collectors.gpu_recorder import GpuRecorder, nvml_collector
from flyball.runner.foreground import Ending
from flyball.runner.probe.promise import NAME as PROMISE
from flyball.runner.watched_folder import WatchedFolder

if TYPE_CHECKING:
    from flyball.collectors.fingerprint import Fingerprint
    from flyball.database import Database

_START_SECONDS = 10.0
"""How long the end of a run waits until its beginning is in the history."""


def write_promise(folder: Path, promise: Mapping[str, Any]) -> None:
    """Write ``promise.json`` into a run's folder, whole or not at all, for its probe."""
    new = folder / f".{PROMISE}"
    new.write_text(json.dumps(dict(promise)) + "\n", encoding="utf-8")
    new.replace(folder / PROMISE)


def host_name() -> str:
    """This machine's name."""
    return os.uname().nodename


@dataclass(kw_only=True)
class RunWatch:
    """One run, from beside it."""

    folder: WatchedFolder | None
    """None where it could not be made: then nothing is watched."""
    command: Sequence[str]
    database_url: str
    clock: Clock
    is_of_study: bool = False
    """Whether a study said already what the run was promised, if anything."""
    faults: list[str] = field(default_factory=list)
    """What went wrong with us, a line each."""
    _started_time: float = 0.0
    _started: float = 0.0
    _ended: tuple[float, float] | None = None
    """On the wall clock and on the monotonic one."""
    _run_id: int | None = None
    _gpus: GpuRecorder | None = None
    _beginning: threading.Thread | None = None

    def begin(self, pid: int) -> None:
        """The command runs: start watching, in threads that nobody waits for."""
        del pid
        self._started_time, self._started = self.clock.time(), self.clock.monotonic()
        self._guarded("the GPUs are not watched", self._watch_gpus)
        self._beginning = threading.Thread(
            target=lambda: self._guarded("the run is not in the history", self._keep_beginning), daemon=True
        )
        self._guarded("the run is not in the history", self._beginning.start)

    def stop(self) -> None:
        """The command has ended; ``end`` may come later."""
        self._ended = self._ended or (self.clock.time(), self.clock.monotonic())
        if self._gpus is not None:
            self._gpus.stop()

    def seconds(self) -> float:
        """How long the command ran, or has run so far."""
        return (self._ended[1] if self._ended else self.clock.monotonic()) - self._started

    def seen(self) -> dict[str, Any]:
        """The command has ended: return what was seen of the run; empty where that cannot be said."""
        found: dict[str, Any] = {}
        self._guarded("the run is not summed up", lambda: found.update(self._summary()))
        return found

    def end(self, ending: Ending, **more: Any) -> dict[str, Any]:
        """The command has ended: return all that is known of it, ``more`` included."""
        self.stop()
        seconds = self.seconds()
        if self._beginning is not None and self._beginning.ident is not None:
            self._beginning.join(_START_SECONDS)
        known: dict[str, Any] = {
            "run": self.folder.name if self.folder else None,
            "host": host_name(),
            "folder": str(self.folder.path) if self.folder else None,
            "exit_status": ending.exit_status,
            "signal": ending.signal,
            "seconds": seconds,
            **more,
        }
        known |= self.seen()
        self._guarded("the end of the run is not in the history", lambda: self._keep_end(ending, known))
        return known

    def _guarded(self, what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # whatever breaks here is ours, and no business of the command's
            self.faults.append(f"{what}: {error or type(error).__name__}")

    def _watch_gpus(self) -> None:
        self._gpus = GpuRecorder(lambda: nvml_collector(self.clock))
        self._gpus.start()

    def _keep_beginning(self) -> None:
        from flyball.collectors.fingerprint import fingerprint
        from flyball.database import open_database
        from flyball.history.run_log import RunLog

        machine = fingerprint()
        with open_database(self.database_url) as database:
            self._run_id = RunLog(database).start_run(
                name=self.folder.name if self.folder else "unwatched",
                host=host_name(),
                folder=self.folder.path if self.folder else "",
                command=self.command,
                started_time=self._started_time,
                fingerprint=machine,
            )
            self._guarded("the run is held against no promise", lambda: self._promise(database, machine))

    def _promise(self, database: "Database", machine: "Fingerprint") -> None:
        """Tell the probe what a recommendation promised that this command uses, before it makes an engine."""
        from flyball.history.store import History

        history = History(database)
        if self.folder is None or self.is_of_study or not history.recommending(machine.digest, limit=1):
            return
        # Imported only where there is something to find: it brings NumPy along.
        from flyball.tuners.results.promise_match import find_promise

        found = find_promise(
            history,
            self.command,
            cwd=Path.cwd(),
            environment=os.environ,
            fingerprint_digest=machine.digest,
        )
        if found is not None:
            write_promise(self.folder.path, found)

    def _keep_end(self, ending: Ending, known: dict[str, Any]) -> None:
        if self._run_id is None:  # said already
            return
        from flyball.database import open_database
        from flyball.history.run_log import RunLog

        with open_database(self.database_url) as database:
            RunLog(database).finish_run(
                self._run_id,
                finished_time=self._ended[0] if self._ended else self.clock.time(),
                exit_status=ending.exit_status,
                signal=ending.signal,
                summary=known,
            )

    def _summary(self) -> dict[str, Any]:
        from flyball.tuners.measurement.run_summary import summarize_run

        return summarize_run(self.folder.path, self._gpus) if self.folder else {}
