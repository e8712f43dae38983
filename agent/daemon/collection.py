"""All collectors together: started, stopped, changed by a reload."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flyball.agent.daemon.shared_thread import SharedThread
from flyball.agent.daemon.state_log import StateLog
from flyball.agent.daemon.states import Failing, Stalled, Starting
from flyball.agent.daemon.store import Store
from flyball.agent.daemon.watched import Limits, Watched
from flyball.agent.daemon.worker import ThreadWorker, Worker
from flyball.collectors.registry import CollectorSettings, CollectorType, Surroundings


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """One collector as the configuration has it."""

    kind: CollectorType
    settings: CollectorSettings


class Collection:
    """The collectors that run. All methods are the event loop's.

    ``begins`` is called before each collection, with the worker that it is handed to.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        store: Store,
        log: StateLog,
        make_worker: Callable[[str], Worker] = ThreadWorker,
        shared: SharedThread | None = None,
        begins: Callable[[Worker], object] = lambda _: None,
    ) -> None:
        self._begins = begins
        self._surroundings, self._store, self._log = surroundings, store, log
        self._shared = shared
        self._make_worker = make_worker
        self._watched: dict[str, Watched] = {}

    @property
    def watched(self) -> Mapping[str, Watched]:
        """Those that run, by name."""
        return dict(self._watched)

    def apply(self, wanted: Mapping[str, Wanted], limits: Limits) -> None:
        """Start what is new, stop what is gone or changed; what stayed as it was runs on undisturbed."""
        for name, running in self.watched.items():
            if name not in wanted or running.settings != wanted[name].settings:
                self._watched.pop(name)
                running.stop().add_done_callback(_heard)
                self._log.forget(name)
        for name, one in wanted.items():
            if name in self._watched:
                self._watched[name].limits = limits
            else:
                self._watched[name] = self._start(one, limits)

    def _worker(self, kind: CollectorType) -> Worker:
        if not kind.shares_thread or self._shared is None:
            return self._make_worker(kind.name)
        return self._shared.worker(kind.name)

    def _start(self, one: Wanted, limits: Limits) -> Watched:
        watched = Watched(
            one.kind,
            one.settings,
            self._surroundings,
            store=self._store,
            limits=limits,
            worker=self._worker(one.kind),
            log=self._log,
            begins=self._begins,
        )
        watched.start()
        return watched

    async def stop(self, timeout_seconds: float) -> None:
        """Close all; one that hangs is left behind after ``timeout_seconds``."""
        closing = [watched.stop() for watched in self._watched.values()]
        self._watched.clear()
        if closing:
            done, _ = await asyncio.wait(closing, timeout=timeout_seconds)
            for future in done:
                _heard(future)

    def tried(self) -> bool:
        """Whether every collector has answered, failed or stalled once."""
        return not any(isinstance(watched.state, Starting) for watched in self._watched.values())

    def unready(self) -> tuple[str, ...]:
        """Why the agent is not ready yet or any more, one line each; empty when it is."""
        lines = []
        for name, watched in self._watched.items():
            state = watched.state
            if isinstance(state, Starting):
                lines.append(f"{name}: waiting for the first reading")
            elif watched.settings.required and isinstance(state, Failing | Stalled):
                lines.append(f"{name}: {state.name}: {state.reason}")
        return tuple(lines)


def _heard(future: "asyncio.Future[None]") -> None:
    # A collector that fails while it is closed has nothing left to lose.
    if not future.cancelled():
        future.exception()
