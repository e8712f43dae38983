"""Logs every change of a collector's state once, and one that keeps coming back not every second."""

from typing import Protocol

from flyball.agent.daemon.states import State, Up, reasons
from flyball.clock import Clock

QUIET_SECONDS = 600.0
"""A change that was logged is not logged again within this time."""


class Log(Protocol):
    """Where lines go; see flyball.agent.daemon.logs."""

    def info(self, event: str, **values: object) -> object:
        """Something is as it should be."""
        ...

    def warning(self, event: str, **values: object) -> object:
        """Something needs attention."""
        ...


class StateLog:
    """Remembers what was said of each collector."""

    def __init__(self, log: Log, clock: Clock) -> None:
        self._log, self._clock = log, clock
        self._said: dict[tuple[str, str], float] = {}
        self._open: set[tuple[str, str]] = set()
        """What was logged as wrong and not yet as over."""

    def note(self, collector: str, before: State, after: State) -> None:
        """Log what is new in ``after``."""
        was, now = set(reasons(before)), set(reasons(after))
        for reason in sorted(now - was):
            self._begin(collector, reason, after)
        for reason in sorted(was - now - {"starting"}):
            self._end(collector, reason)
        if before.name == "starting" and isinstance(after, Up):
            self._log.info("collector up", collector=collector)

    def forget(self, collector: str) -> None:
        """A collector is gone."""
        for key in [key for key in self._said if key[0] == collector]:
            del self._said[key]
        self._open = {key for key in self._open if key[0] != collector}

    def _begin(self, collector: str, reason: str, state: State) -> None:
        key, now = (collector, reason), self._clock.monotonic()
        if now - self._said.get(key, -QUIET_SECONDS) < QUIET_SECONDS:
            return
        self._said[key] = now
        self._open.add(key)
        detail, event = state.detail, f"collector {state.name}"
        if isinstance(state, Up):
            event = "collector cannot know everything"
            detail = next(item.detail for item in state.unavailable if item.reason == reason)
        self._log.warning(event, collector=collector, reason=reason, detail=detail)

    def _end(self, collector: str, reason: str) -> None:
        if (collector, reason) in self._open:
            self._open.discard((collector, reason))
            self._log.info("collector recovered", collector=collector, reason=reason)
