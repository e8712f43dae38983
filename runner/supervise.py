"""Watches one running trial until it has said enough, failed or overrun, and leaves nothing of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flyball.clock import Clock
from flyball.collectors.journal import RankJournal, Record
from flyball.runner.base import StopRule, TrialRequest, TrialResult
from flyball.runner.classify import Ended, Evidence, classify
from flyball.runner.faults import fault
from flyball.runner.full_disk import room_bytes
from flyball.runner.kernel_kills import kernel_kills
from flyball.runner.limits import Overrun, overrun
from flyball.runner.outcome import OutcomeKind
from flyball.runner.process_tree import read_process
from flyball.runner.signatures import tail

_POLL_SECONDS = 0.02
_STEPPING_POLL_SECONDS = 0.1
"""Once every rank has an engine: looking more often would take time from the ranks where cores are few."""
_CHECK_SECONDS = 0.25
"""How often limits and faults are looked at; both read all records so far."""
_OBSERVE_SECONDS = 1.0
_STEPPING_OBSERVE_SECONDS = 5.0
"""What ranks share in memory may come late, and one that is killed takes the knowledge of it along."""


class Processes(Protocol):
    """The processes of one trial, as the supervisor sees them."""

    def poll(self) -> int | None:
        """The exit status once the trial has ended by itself or one rank has failed, else None."""
        ...

    def rank_statuses(self) -> Mapping[int, int]:
        """Exit statuses of single ranks where the launcher is their parent."""
        ...

    def observe(self) -> None:
        """Note what the living processes will leave behind."""
        ...

    def end(self) -> Sequence[str]:
        """End them all and clean up after them; return what could not be kept of them, in words."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Verdict:
    ended: Ended
    text: str = ""
    overrun: Overrun | None = None
    status: int | None = None


class JournalFolder:
    """The journals of a trial's folder; ranks appear as their files do."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.by_rank: dict[int, RankJournal] = {}

    def refresh(self, *, look_for_new: bool = True) -> int:
        """Read on; return how many records came."""
        if look_for_new:
            for path in self._directory.glob("rank-*.jsonl"):
                number = path.stem.removeprefix("rank-")
                if number.isdigit():
                    self.by_rank.setdefault(int(number), RankJournal(path=path))
            self.by_rank = dict(sorted(self.by_rank.items()))
        return sum(journal.refresh() for journal in self.by_rank.values())


class Supervision:
    """A running trial; implements ``runner.base.Handle``."""

    def __init__(
        self,
        request: TrialRequest,
        processes: Processes,
        clock: Clock,
        *,
        launcher: str,
        called: float,
        waited_seconds: float = 0.0,
        notes: Iterable[str] = (),
        on_header: Callable[[int, Record], None] = lambda rank, header: None,
        on_end: Callable[
            [Mapping[int, RankJournal], float | None], Sequence[str]
        ] = lambda journals, seconds: (),
    ) -> None:
        """Start watching; ``called`` is when the launch was asked for, on the clock's monotonic time."""
        self._request, self._processes, self._clock = request, processes, clock
        self._launcher, self._called, self._spawned = launcher, called, clock.monotonic()
        self._waited_seconds = waited_seconds
        self._notes = list(notes)
        self._on_header, self._on_end = on_header, on_end
        self._journals = JournalFolder(request.directory)
        self._headers: dict[int, Record] = {}
        self._rank_statuses: dict[int, int] = {}
        self._kill_reason: str | None = None
        self._next_check = self._next_observation = 0.0
        self._kills_before = kernel_kills()

    @property
    def _ranks(self) -> int:
        """Ranks to wait for: as many as the command starts, or as a job has whose script starts its own."""
        worlds = (int(header.get("world_size") or 0) for header in self._headers.values())
        return max(self._request.placement.ranks, 1, *worlds)

    def kill(self, reason: str) -> None:
        """End the trial now; safe in a signal handler and from another thread."""
        self._kill_reason = reason

    def wait(self, stop: StopRule) -> TrialResult:
        """Supervise to the end and clean up; the processes are gone when this returns or raises."""
        try:
            verdict = self._watch(stop)
        finally:
            self._notes += self._processes.end()
        self._refresh(final=True)
        evidence = Evidence(
            ended=verdict.ended,
            text=verdict.text,
            overrun=verdict.overrun,
            status=verdict.status,
            rank_statuses={**self._rank_statuses, **self._processes.rank_statuses()},
            journals=self._journals.by_rank,
            output=tail(self._request.directory / "stdout.log")
            + tail(self._request.directory / "stderr.log"),
            kernel_kills=kernel_kills() - self._kills_before,
            directory=self._request.directory,
            room_bytes=room_bytes(self._request.directory),
        )
        return self._result(evidence)

    def _watch(self, stop: StopRule) -> _Verdict:
        while True:
            if self._kill_reason is not None:
                return _Verdict(ended=Ended.KILLED, text=self._kill_reason)
            self._watch_ranks()
            status = self._processes.poll()  # before the journals: what a dead process wrote is complete
            fresh = self._refresh()
            verdict = self._checked() or self._stopped(stop, fresh)
            if verdict is None and status is not None:
                verdict = _Verdict(ended=Ended.ITSELF, status=status)
            if verdict is not None:
                return verdict
            started = len(self._headers) >= self._ranks
            self._clock.sleep(_STEPPING_POLL_SECONDS if started else _POLL_SECONDS)

    def _refresh(self, *, final: bool = False) -> int:
        complete = bool(self._headers) and len(self._headers) >= self._ranks
        fresh = self._journals.refresh(look_for_new=final or not complete)
        if fresh:
            for rank, journal in self._journals.by_rank.items():
                header = journal.header
                if header is not None and rank not in self._headers:
                    self._headers[rank] = header
                    self._on_header(rank, header)
        return fresh

    def _watch_ranks(self) -> None:
        """Catch the status of a dead rank while it is a zombie: its launcher will keep it to itself."""
        for rank, header in self._headers.items():
            process = read_process(header["pid"]) if rank not in self._rank_statuses else None
            if process is not None and process.exit_status is not None:
                self._rank_statuses[rank] = process.exit_status

    def _stopped(self, stop: StopRule, fresh: int) -> _Verdict | None:
        text = stop(self._journals.by_rank) if fresh else None
        return _Verdict(ended=Ended.STOPPED, text=text) if text is not None else None

    def _checked(self) -> _Verdict | None:
        now = self._clock.monotonic()
        if now < self._next_check:
            return None
        self._next_check = now + _CHECK_SECONDS
        if now >= self._next_observation:
            started = len(self._headers) >= self._ranks
            self._next_observation = now + (_STEPPING_OBSERVE_SECONDS if started else _OBSERVE_SECONDS)
            self._processes.observe()
        if fault(self._journals.by_rank, final=False) is not None:
            return _Verdict(ended=Ended.FAULTY)
        passed = overrun(
            self._journals.by_rank,
            self._request.limits,
            ranks=self._ranks,
            started=self._spawned,
            now=now,
        )
        return _Verdict(ended=Ended.OVERRUN, overrun=passed) if passed is not None else None

    def _result(self, evidence: Evidence) -> TrialResult:
        outcome = classify(evidence)
        if outcome.kind is OutcomeKind.COMPLETED and evidence.ended is not Ended.STOPPED:
            self._notes.append(outcome.reason)
        startup_seconds = self._startup_seconds()
        self._notes += self._on_end(self._journals.by_rank, startup_seconds)
        return TrialResult(
            outcome=outcome,
            journals=self._journals.by_rank,
            launcher=self._launcher,
            startup_seconds=startup_seconds,
            total_seconds=self._clock.monotonic() - self._called,
            waited_seconds=self._waited_seconds,
            notes=tuple(self._notes),
        )

    def _startup_seconds(self) -> float | None:
        """Spawn to the first step of the slowest rank, None unless every rank made one."""
        firsts = [
            steps[0] for journal in self._journals.by_rank.values() if (steps := journal.of_kind("step"))
        ]
        if len(firsts) < self._ranks:
            return None
        return max(float(step["clock"]) for step in firsts) - self._spawned
