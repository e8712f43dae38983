"""Starts trials by forking a process that has already imported what the training script imports.

The first trial of a study is the user's command as it is; the journals name its workers, and /proc shows how
their launcher started them. Every later trial forks one process a rank from a fork server and runs the script
in that same environment. What cannot be forked safely runs cold, and the trial's notes say why.
"""

import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from flyball.clock import Clock, SystemClock
from flyball.collectors.journal import RankJournal, Record
from flyball.runner.base import StopRule, TrialRequest, TrialResult
from flyball.runner.bounded_log import LogPump
from flyball.runner.command import Command
from flyball.runner.fork_client import ForkServerClient
from flyball.runner.kept_process import LaunchError
from flyball.runner.launch_cold import ColdLauncher
from flyball.runner.learned import Learned, UnforkableError, Worker, learn, see_worker
from flyball.runner.leftovers import Leftovers
from flyball.runner.outcome import OutcomeKind
from flyball.runner.ports import free_port
from flyball.runner.process_tree import own_marker
from flyball.runner.supervise import Supervision
from flyball.runner.trial_folder import prepare

_serial = itertools.count()
_IMPORT_SECONDS = 300.0
_PROOF_FACTOR = 3.0
_PROOF_FLOOR_SECONDS = 30.0
_SUSPICIOUS = (OutcomeKind.CRASHED, OutcomeKind.HUNG, OutcomeKind.TIMED_OUT)


class _WarmProcesses:
    """The ranks of one trial, forked from a server that outlives them."""

    def __init__(
        self,
        server: ForkServerClient,
        pump: LogPump,
        ranks: Sequence[Mapping[str, object]],
        leftovers: Leftovers,
        grace_seconds: float,
    ) -> None:
        self._server, self._pump, self._leftovers = server, pump, leftovers
        self._count, self._grace_seconds = len(ranks), grace_seconds
        self._final: dict[int, int] | None = None

    def poll(self) -> int | None:
        statuses = self._server.rank_statuses()
        failed = [status for status in statuses.values() if status != 0]
        if failed:
            # the launchers end the other ranks when one fails, and so does the supervisor on this
            self._final = {rank: status for rank, status in statuses.items() if status}
            return failed[0]
        return 0 if len(statuses) == self._count else None

    def rank_statuses(self) -> Mapping[int, int]:
        return self._final or {}

    def observe(self) -> None:
        self._leftovers.memory.observe(process.pid for process in self._server.tree())
        self._leftovers.break_stale_locks()

    def end(self) -> Sequence[str]:
        pids = [process.pid for process in self._server.tree()]
        self._leftovers.memory.observe(pids)
        self._leftovers.observe_files(pids)
        self._server.end_trial(self._grace_seconds)
        lost = self._pump.finish()
        self._leftovers.clean()
        return lost


class _Proving:
    """The first warm trial: if it fails before a step it runs again cold, and that decides for the study."""

    def __init__(self, launcher: "WarmLauncher", request: TrialRequest, warm: Supervision) -> None:
        self._launcher, self._request, self._current = launcher, request, warm
        self._killed: str | None = None

    def kill(self, reason: str) -> None:
        self._killed = reason
        self._current.kill(reason)

    def _hand_on_kill(self) -> None:
        """End the cold trial too where the kill came between the two."""
        if self._killed is not None:
            self._current.kill(self._killed)

    def wait(self, stop: StopRule) -> TrialResult:
        warm = self._current.wait(stop)
        if (
            warm.startup_seconds is not None
            or warm.outcome.kind not in _SUSPICIOUS
            or self._killed is not None
        ):
            self._launcher.note_proof(warm.startup_seconds is not None)
            return warm
        self._current = self._launcher.fallback.launch(
            self._request, notes=[f"cold: the forked trial made no step ({warm.outcome.reason})"]
        )
        self._hand_on_kill()
        cold = self._current.wait(stop)
        if cold.startup_seconds is not None:
            self._launcher.give_up(f"a forked trial made no step where a cold one did: {warm.outcome.reason}")
        return replace(cold, total_seconds=warm.total_seconds + cold.total_seconds)


class WarmLauncher:
    """Implements ``runner.base.Launcher``."""

    name = "warm"

    def __init__(
        self,
        command: Command,
        fallback: ColdLauncher,
        *,
        clock: Clock | None = None,
        servers: int = 2,
        grace_seconds: float = 2.0,
    ) -> None:
        """Take the command, the launcher of what cannot be forked, and how many servers to keep."""
        self.fallback = fallback
        self._command = command
        self._clock = clock or SystemClock()
        self._most_servers, self._grace_seconds = servers, grace_seconds
        self._servers: dict[tuple[tuple[str, str], ...], ForkServerClient] = {}
        self._learned: Learned | None = None
        self._reason: str | None = None
        self._proven = False

    def launch(self, request: TrialRequest) -> Supervision | _Proving:
        """Start a trial, forked if that is possible and cold if not.

        Raises:
            LaunchError: a cold launch was needed and the command cannot be executed.
        """
        if self._reason is not None:
            return self.fallback.launch(request, notes=[f"cold: {self._reason}"])
        if self._learned is None:
            return self._launch_to_learn(request)
        try:
            return self._fork(self._learned, request)
        except UnforkableError as reason:
            return self.fallback.launch(request, notes=[f"cold: {reason}"])

    def give_up(self, reason: str) -> None:
        """Run everything cold from here on."""
        self._reason = reason
        self.close()

    def note_proof(self, made_a_step: bool) -> None:
        """Take note that a forked trial has trained."""
        self._proven = self._proven or made_a_step

    def close(self) -> None:
        """End the fork servers."""
        while self._servers:
            self._servers.popitem()[1].close()

    def _launch_to_learn(self, request: TrialRequest) -> Supervision:
        workers: dict[int, Worker] = {}

        def see(rank: int, header: Record) -> None:
            worker = see_worker(header)
            if worker is not None:
                workers[rank] = worker

        def conclude(journals: Mapping[int, RankJournal], startup_seconds: float | None) -> Sequence[str]:
            return self._conclude(request, workers, journals, startup_seconds)

        notes = ["cold: the first trial shows how the workers are started"]
        return self.fallback.launch(request, notes=notes, on_header=see, on_end=conclude)

    def _conclude(
        self,
        request: TrialRequest,
        workers: Mapping[int, Worker],
        journals: Mapping[int, RankJournal],
        startup_seconds: float | None,
    ) -> Sequence[str]:
        header = journals[0].header if 0 in journals else None
        if header is None:
            return ()  # nothing was learned: the next trial tries again
        late = journals[0].last("modules")
        names = list(late.get("names") or ()) if late else []
        try:
            self._learned = learn(request, workers, header, startup_seconds, late_modules=names)
            self._server(self._learned, request)  # it imports while the study thinks
        except (UnforkableError, LaunchError) as reason:
            self._reason = str(reason)
            return (f"later trials run cold: {reason}",)
        return ()

    def _server(self, learned: Learned, request: TrialRequest) -> ForkServerClient:
        key = learned.import_key(request)
        server = self._servers.pop(key, None)
        if server is not None and not server.alive:
            server.close()
            server = None
        if server is None:
            while len(self._servers) >= self._most_servers:
                self._servers.pop(next(iter(self._servers))).close()
            server = ForkServerClient(
                [learned.program.interpreter, *learned.program.options],
                learned.import_environment(request),
                Path(learned.workers[0].cwd),
                modules=[*learned.modules, *learned.late_modules],
                paths=learned.module_paths,
            )
        self._servers[key] = server  # the last one used stands last
        return server

    def _ready_server(self, learned: Learned, request: TrialRequest) -> tuple[Learned, ForkServerClient]:
        """Return a server that has imported, and what it stands for.

        Raises:
            UnforkableError: the imports leave a process that must not be forked, late ones left out.
        """
        server = self._server(learned, request)
        try:
            server.wait_ready(_IMPORT_SECONDS)
        except UnforkableError as reason:
            if learned.late_modules:
                self.close()
                self._learned = replace(learned, late_modules=())
                return self._ready_server(self._learned, request)
            self.give_up(str(reason))
            raise
        return learned, server

    def _fork(self, learned: Learned, request: TrialRequest) -> Supervision | _Proving:
        called = self._clock.monotonic()
        prepare(request)
        learned, server = self._ready_server(learned, request)
        waited = self._clock.monotonic() - called
        port, marker = free_port(), own_marker(next(_serial))
        ranks = learned.plan(request, port=port, marker=marker, cwd=self._command.cwd)
        leftovers = Leftovers(started=time.time() - 1.0)
        for rank in ranks:
            leftovers.observe_environment(rank["environment"])
            server.register(rank["environment"])
        pump = LogPump(request.directory / "stdout.log", request.directory / "stderr.log")
        try:
            server.fork(ranks, pump.write_ends)
        finally:
            pump.release()
        watched = request if self._proven else self._proof_request(learned, request)
        supervision = Supervision(
            watched,
            _WarmProcesses(server, pump, ranks, leftovers, self._grace_seconds),
            self._clock,
            launcher=self.name,
            called=called,
            waited_seconds=waited,
            notes=_notes(waited, server),
        )
        return supervision if self._proven else _Proving(self, request, supervision)

    def _proof_request(self, learned: Learned, request: TrialRequest) -> TrialRequest:
        known = learned.startup_seconds
        if known is None or request.probe.get("compile"):
            return request  # a compilation may take longer than everything that was seen so far
        seconds = max(_PROOF_FLOOR_SECONDS, _PROOF_FACTOR * known)
        limits = replace(request.limits, startup_seconds=min(request.limits.startup_seconds, seconds))
        return replace(request, limits=limits)


def _notes(waited_seconds: float, server: ForkServerClient) -> Iterable[str]:
    if waited_seconds > 1.0:
        yield f"waited {waited_seconds:.1f} s for the fork server's imports"
    if server.failed_imports:
        yield "not imported beforehand: " + ", ".join(sorted(server.failed_imports)[:10])
