"""Reads an agent instead of the machine."""

from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from flyball.agent.daemon.api_models import CollectorAnswer, GpuAnswer, RunAnswer, StatusAnswer
from flyball.agent.rank_facts import RankFacts
from flyball.agent.top.agent_client import AgentClient, NoAgent
from flyball.agent.top.agent_page import missing_allocators, missing_samples, samples_of, silent_sources
from flyball.agent.top.asked import Asked
from flyball.agent.top.snapshot import EVERYTHING, Snapshot
from flyball.clock import Clock
from flyball.collectors import catalog
from flyball.collectors.base import CollectorFailed, Sample, Unavailable
from flyball.errors import OptionError

_COLLECTORS = TypeAdapter(tuple[CollectorAnswer, ...])
_GPUS = TypeAdapter(tuple[GpuAnswer, ...])
_RUNS = TypeAdapter(tuple[RunAnswer, ...])
_FACTS = tuple(RankFacts.__dataclass_fields__)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Read:
    samples: tuple[Sample, ...]
    ranks: tuple[RankFacts, ...]
    silent: tuple[tuple[str, Unavailable], ...]


class AgentSource:
    """A Source that shows what an agent knows.

    Args:
        client: asks it.
        clock: wall and monotonic time.
        answered: called by some thread whenever the agent has answered.

    Raises:
        OptionError: no agent answers.
    """

    def __init__(
        self, client: AgentClient, *, clock: Clock, answered: Callable[[], None] = lambda: None
    ) -> None:
        self._client, self._clock = client, clock
        mend = "start `flyball agent` there, or leave out --url: this machine needs none"
        try:
            self._host = StatusAnswer.model_validate_json(client.get("/api/v1/status")).host
        except (NoAgent, ValidationError) as error:
            why = (
                "it answers as no agent of this version does" if isinstance(error, ValidationError) else error
            )
            raise OptionError(f"{client.url}: {why}", where="--url", mend=mend) from error
        self._asked = Asked("agent", self._read, answered)
        self._first: _Read | None = None

    def ask(self) -> None:
        """See Source."""
        self._asked.ask(self._clock.monotonic())

    def wait(self, seconds: float) -> bool:
        """See Source."""
        waiting = self._asked.waiting
        return waiting is None or not futures.wait([waiting], timeout=seconds).not_done

    def snapshot(self) -> Snapshot:
        """See Source."""
        now = self._clock.monotonic()
        read = self._asked.answer(now)
        if isinstance(read, Unavailable):
            read = _Read(samples=(), ranks=(), silent=((EVERYTHING, read),))
        self._first = self._first or read
        return Snapshot(
            host=self._host,
            time=self._clock.time(),
            monotonic=now,
            driver="",
            samples=read.samples,
            ranks=read.ranks,
            silent=read.silent,
        )

    def settled(self) -> bool:
        """See Source. The agent reads some of its sources less often than it is asked."""
        read = self._asked.answer(self._clock.monotonic())
        if isinstance(read, Unavailable) or self._first is None:
            return True
        return _processors(read) != _processors(self._first) or not _processors(read)

    def close(self) -> None:
        """See Source."""
        self._asked.stop(lambda: None)

    def _read(self) -> _Read:
        time = self._clock.time()
        try:
            collectors = _COLLECTORS.validate_json(self._client.get("/api/v1/collectors"))
            gpus = _GPUS.validate_json(self._client.get("/api/v1/gpus"))
            runs = _RUNS.validate_json(self._client.get("/api/v1/runs"))
            samples = tuple(samples_of(self._client.get("/metrics"), time=time))
        except NoAgent as error:
            raise CollectorFailed("agent_gone", str(error)) from error
        except ValueError as error:  # pydantic's and the parser's
            raise CollectorFailed("agent_of_another_version", type(error).__name__) from error
        ranks = tuple(_ranks(runs, samples))
        missing = (
            *missing_samples(gpus, collectors, time=time),
            *missing_allocators(ranks, samples, collectors, time=time),
        )
        return _Read(
            samples=(*samples, *missing),
            ranks=ranks,
            silent=tuple(silent_sources(collectors)),
        )


def _processors(read: _Read) -> dict[tuple[str, ...], object]:
    return {each.labels: each.value for each in read.samples if each.metric is catalog.HOST_CPU}


def _ranks(runs: Iterable[RunAnswer], samples: Iterable[Sample]) -> Iterator[RankFacts]:
    # A loss that is NaN is null in JSON, and itself in a scrape.
    losses = {each.labels: each.value for each in samples if each.metric is catalog.LOSS}
    for run in runs:
        if run.purpose == "run":
            known = {name: getattr(run, name) for name in _FACTS}
            yield RankFacts(**{**known, "loss": losses.get((run.run, str(run.rank)), run.loss)})
