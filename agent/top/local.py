"""Reads this machine by the daemon's own collectors, each in a thread of its own."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent import futures
from typing import Any

from flyball.agent.daemon.readings import Reading, take
from flyball.agent.rank_facts import RankFacts, rank_facts
from flyball.agent.top.asked import Asked
from flyball.agent.top.snapshot import RUNS, Snapshot
from flyball.clock import Clock
from flyball.collectors.base import Collector, Sample, Unavailable
from flyball.collectors.registry import OWN, CollectorType, Surroundings
from flyball.collectors.runs import JournalFault, Runs

CATCHING_UP = "journal_catching_up"
_MOST_SERIES = 200_000
_CLOSE_SECONDS = 1.0


class LocalSource:
    """A Source that needs no agent, and no rights beyond the user's.

    Args:
        types: collectors by name; those that are not flyball's own have no place in the view.
        runs: the journals to follow.
        clock: wall and monotonic time.
        host: this machine's name.
        driver: asks for the version of the NVIDIA driver; empty where there is none.
        answered: called by some thread whenever something has answered.
    """

    def __init__(
        self,
        types: Mapping[str, CollectorType],
        runs: Runs,
        *,
        clock: Clock,
        host: str,
        driver: Callable[[], str],
        answered: Callable[[], None] = lambda: None,
    ) -> None:
        self._runs, self._clock, self._host = runs, clock, host
        around = Surroundings(host=host, clock=clock, runs=runs)
        self._collectors = {
            name: _Collecting(types[name], around)
            for name in OWN
            if name in types and types[name].settings().enabled  # dcgm needs to be told where to look
        }
        self._readings = {
            name: Asked(name, collecting.read, answered) for name, collecting in self._collectors.items()
        }
        self._journals = Asked("journals", self._read_journals, answered)
        self._driver = Asked("driver", driver, answered)
        self._driver.ask(clock.monotonic())

    def ask(self) -> None:
        """See Source."""
        now = self._clock.monotonic()
        self._journals.ask(now)
        for asked in self._readings.values():
            asked.ask(now)

    def wait(self, seconds: float) -> bool:
        """See Source."""
        asked = (
            self._journals.waiting,
            self._driver.waiting,
            *(one.waiting for one in self._readings.values()),
        )
        waiting: list[futures.Future[Any]] = [one for one in asked if one is not None]
        return not futures.wait(waiting, timeout=seconds).not_done

    def snapshot(self) -> Snapshot:
        """See Source."""
        now = self._clock.monotonic()
        silent: list[tuple[str, Unavailable]] = []
        samples: list[Sample] = []
        for name, asked in self._readings.items():
            reading = asked.answer(now)
            if isinstance(reading, Unavailable):
                silent.append((name, reading))
            else:
                samples += (*reading.samples, *reading.missing)
        ranks: tuple[RankFacts, ...] = ()
        read = self._journals.answer(now)
        if isinstance(read, Unavailable):
            silent.append((RUNS, read))
        else:
            ranks = read[0]
            silent += _faults(read[1])
        driver = self._driver.answer(now)
        return Snapshot(
            host=self._host,
            time=self._clock.time(),
            monotonic=now,
            driver=driver if isinstance(driver, str) else "",
            samples=tuple(samples),
            ranks=ranks,
            silent=tuple(silent),
        )

    def settled(self) -> bool:
        """See Source."""
        read = self._journals.answer(self._clock.monotonic())
        return isinstance(read, Unavailable) or all(fault.reason != CATCHING_UP for fault in read[1])

    def close(self) -> None:
        """See Source."""
        closing = [self._readings[name].stop(one.close) for name, one in self._collectors.items()]
        closing += [self._journals.stop(self._runs.close), self._driver.stop(lambda: None)]
        futures.wait(closing, timeout=_CLOSE_SECONDS)

    def _read_journals(self) -> tuple[tuple[RankFacts, ...], tuple[JournalFault, ...]]:
        states = self._runs.refresh()
        time, monotonic = self._clock.time(), self._clock.monotonic()
        watched = (state for state in states if state.purpose == "run")
        facts = tuple(rank_facts(state, time=time, monotonic=monotonic) for state in watched)
        return facts, tuple(self._runs.faults())


class _Collecting:
    """One collector; used by its own thread only."""

    def __init__(self, kind: CollectorType, around: Surroundings) -> None:
        self._kind, self._around = kind, around
        self._collector: Collector | None = None

    def read(self) -> Reading:
        if self._collector is None:
            self._collector = self._kind.make(self._kind.settings(), self._around)
        return take(self._collector.collect(), max_series=_MOST_SERIES, elapsed=lambda: 0.0)

    def close(self) -> None:
        if self._collector is not None:
            self._collector.close()


def _faults(faults: Iterable[JournalFault]) -> Iterator[tuple[str, Unavailable]]:
    """One for each reason, with the first place where it holds and how many there are."""
    found: dict[str, list[JournalFault]] = {}
    for fault in faults:
        found.setdefault(fault.reason, []).append(fault)
    for reason, alike in found.items():
        rank = "" if alike[0].rank is None else f" rank {alike[0].rank}"
        more = f" (and {len(alike) - 1} more)" if len(alike) > 1 else ""
        where = f"{alike[0].run}{rank}: " if alike[0].run else ""
        yield "some journals", Unavailable(reason=reason, detail=f"{where}{alike[0].detail}{more}")
