"""Reads the journals of a run that is over as the collectors would have read them while it ran."""

from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter

from flyball.collectors.allocator import allocator_samples
from flyball.collectors.base import Reading
from flyball.collectors.journal import RankJournal, Record
from flyball.collectors.nccl import communication_samples
from flyball.collectors.record_fields import WrongField, real_of
from flyball.collectors.run_state import RankState
from flyball.collectors.workload import workload_samples


def journal_readings(
    journals: Mapping[int, RankJournal],
    *,
    run: str,
    times: Iterable[float],
    over_time: float,
    gpu_indices: Mapping[str, str],
) -> Iterator[Reading]:
    """Yield what workload, allocator and nccl would have given, whatever the run is for.

    Args:
        journals: by rank, whole.
        run: its name.
        times: when they are read, ascending, seconds since the epoch.
        over_time: from this time on the run's processes are known to have ended.
        gpu_indices: UUID of each GPU to its index.
    """
    ranks = [_Rank(run, rank, journal) for rank, journal in sorted(journals.items())]
    for time in times:
        for rank in ranks:
            rank.read_to(time, over=time >= over_time)
        states = [rank.state for rank in ranks]
        # One machine, one monotonic clock: any rank's will do.
        clock = max((rank.clock(time) for rank in ranks), default=0.0)
        samples = (
            *workload_samples(states, gpu_indices, time, clock),
            *allocator_samples(states, time),
            *communication_samples(states, time),
        )
        yield Reading(time=time, samples=samples)


class _Rank:
    def __init__(self, run: str, rank: int, journal: RankJournal) -> None:
        self.state = RankState(run=run, rank=rank, folder=journal.path.parent)
        timed = ((_time(record), record) for record in journal.records)
        # Threads of the probe write too: the order in the file is almost that of time.
        self._records = sorted((each for each in timed if each[0] >= 0), key=itemgetter(0))
        self._next = 0

    def read_to(self, time: float, *, over: bool) -> None:
        while self._next < len(self._records) and self._records[self._next][0] <= time:
            self.state.feed(self._records[self._next][1])
            self._next += 1
        self.state.now_clock = self.clock(time)
        if over and self.state.finished_time is None:
            self.state.finish(time, self.state.outcome or "end")

    def clock(self, time: float) -> float:
        return max(0.0, time - self.state.last_time + self.state.last_clock)


def _time(record: Record) -> float:
    try:
        return real_of(record, "time")
    except WrongField:
        return -1.0
