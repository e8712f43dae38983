"""Communication between ranks, from the journals: latencies, bytes, operations, and what does not end."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from flyball.collectors import catalog
from flyball.collectors.base import Sample, Unavailable
from flyball.collectors.distribution import Tally
from flyball.collectors.registry import CollectorSettings, CollectorType, Surroundings
from flyball.collectors.run_state import RankState


class NcclCollector:
    """Reads the ``communication`` and ``pending`` records and the bytes of the steps."""

    name = "nccl"

    def __init__(self, surroundings: Surroundings, *, interval_seconds: float) -> None:
        self.interval_seconds = interval_seconds
        self._surroundings = surroundings
        self._preflights: set[str] = set()

    def collect(self) -> Iterable[Sample]:
        """All that the journals say of communication, trials left out; of ``flyball p2p`` the links.

        A preflight's links come all at once, so they are shown empty first: of a histogram that appears with
        its observations in it nobody sees that it grew.
        """
        ranks = self._surroundings.runs.refresh()
        now = self._surroundings.clock.time()
        for state in ranks:
            if state.purpose == "run":
                yield from _rank_samples(state, now)
        known, self._preflights = (
            self._preflights,
            {state.run for state in ranks if state.purpose == "preflight" and state.p2p},
        )
        linked = [state for state in ranks if state.purpose in ("run", "preflight")]
        yield from _pair_samples(linked, now, empty=self._preflights - known)

    def close(self) -> None:
        """Hold nothing: the journals belong to ``Runs``."""


def communication_samples(ranks: Sequence[RankState], now: float) -> Iterator[Sample]:
    """What these ranks say of communication, whatever their runs are for."""
    for state in ranks:
        yield from _rank_samples(state, now)
    yield from _pair_samples(ranks, now)


def _pair_samples(ranks: Iterable[RankState], now: float, *, empty: Collection[str] = ()) -> Iterator[Sample]:
    pairs: dict[tuple[str, ...], Tally] = {}
    for state in ranks:
        # Both ends of a link may have timed it.
        for pair, tally in state.p2p.items():
            series = (state.run, *map(str, pair), _backend(state))
            merged = pairs.setdefault(series, Tally(catalog.P2P_LATENCY))
            merged.add(tally.bounds, tally.counts, tally.sum)
    for labels, tally in pairs.items():
        if labels[0] in empty:
            tally = Tally(catalog.P2P_LATENCY)
        yield Sample(metric=catalog.P2P_LATENCY, labels=labels, value=tally.distribution(), time=now)


def _rank_samples(state: RankState, now: float) -> Iterator[Sample]:
    labels = (state.run, str(state.rank))
    for op, count in state.communicated.items():
        yield Sample(metric=catalog.COMMUNICATED_BYTES, labels=(*labels, op), value=float(count), time=now)
    for op, count in state.operations.items():
        yield Sample(metric=catalog.COLLECTIVES, labels=(*labels, op), value=float(count), time=now)
    for key, tally in state.collectives.items():
        series = (*labels, *key)
        yield Sample(metric=catalog.COLLECTIVE_LATENCY, labels=series, value=tally.distribution(), time=now)
    if state.pending_seconds is not None:
        value: float | Unavailable = state.pending_seconds
    elif state.operations or state.phase == "finished":
        return
    else:
        detail = "no NCCL operation was seen: gloo has no recorder, and it may be off (TORCH_FR_BUFFER_SIZE)"
        value = Unavailable(reason="no_flight_recorder", detail=detail)
    yield Sample(metric=catalog.COLLECTIVE_PENDING, labels=labels, value=value, time=now)


def _backend(state: RankState) -> str:
    """What carries its messages: DeepSpeed takes NCCL for GPUs and gloo for CPUs."""
    return "nccl" if state.device.startswith("cuda") else "gloo"


def _make(settings: CollectorSettings, surroundings: Surroundings) -> NcclCollector:
    return NcclCollector(surroundings, interval_seconds=settings.interval_seconds)


TYPE = CollectorType(
    name="nccl",
    help="latency, bytes, counts and stalls of communication between ranks",
    settings=CollectorSettings,
    make=_make,
    shares_thread=True,
)
