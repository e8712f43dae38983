"""A receiver, a log, and time that passes when a test says so."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.history.alert_fakes import change, told
from tests.history.fakes import FakeClock

from flyball.database import Database, open_database
from flyball.errors import StorageFailed
from flyball.history.alert_log import AlertLog
from flyball.history.alert_records import Alert, Notification
from flyball.history.mute_log import MuteLog
from flyball.history.outbox import Outbox
from flyball.policies.notification.backoff import Backoff
from flyball.policies.notification.base import Answer, Delivered, Receiver, Retry
from flyball.policies.notification.deliverer import Deliverer, Target
from flyball.policies.notification.tally import Tally

T = TypeVar("T")
LONGEST = Backoff(draw=lambda low, high: high)
"""Without jitter: each wait is as long as it may be."""
DOWN = Retry(reason="unreachable", detail="connection refused")
UP = Delivered(status=200)


@dataclass
class PassingTime(FakeClock):
    """A clock that whoever pauses waits for."""

    sleepers: list[tuple[float, "asyncio.Future[None]"]] = field(default_factory=list)
    set_by: float = 0.0
    """How far somebody has moved the wall clock."""

    def time(self) -> float:
        return self.now + self.set_by

    async def pause(self, event: asyncio.Event, seconds: float) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (self.now + seconds, over)
        self.sleepers.append(entry)
        set_ = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait((over, set_), return_when=asyncio.FIRST_COMPLETED)
        finally:
            set_.cancel()
            self.sleepers.remove(entry)

    async def settle(self) -> None:
        """Let everything happen that can happen now."""
        for _ in range(100):
            await asyncio.sleep(0)

    async def pass_(self, seconds: float) -> None:
        """Let so much time go by, with all that happens meanwhile."""
        end = self.now + seconds
        await self.settle()
        while early := [entry for entry in self.sleepers if entry[0] <= end and not entry[1].done()]:
            deadline, over = min(early, key=lambda entry: entry[0])
            self.now = max(self.now, deadline)
            over.set_result(None)
            await self.settle()
        self.now = end


@dataclass
class FakeReceiver:
    """Answers as told: the next of ``answers``, or the last for ever."""

    name: str = "pager"
    answers: Sequence[Answer | Exception] = (UP,)
    sent: list[Notification] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    gate: asyncio.Event | None = None
    """A send waits for it."""
    at_once: int = 0
    most_at_once: int = 0
    closed: bool = False
    clock: FakeClock | None = None

    async def send(self, notification: Notification) -> Answer:
        self.sent.append(notification)
        self.times.append(self.clock.now if self.clock else 0.0)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.at_once -= 1
        answer, *rest = self.answers
        self.answers = rest or [answer]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        self.closed = True

    def heard(self) -> list[tuple[str, str]]:
        """Fingerprint and status of each try."""
        return [(each.alert.fingerprint, str(each.alert.status)) for each in self.sent]


_: type[Receiver] = FakeReceiver


@dataclass
class FakeLog:
    lines: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def info(self, event: str, **values: object) -> None:
        self.lines.append(("info", event, values))

    def warning(self, event: str, **values: object) -> None:
        self.lines.append(("warning", event, values))

    def events(self) -> list[str]:
        return [event for _, event, _ in self.lines]


@dataclass
class Bench:
    """A whole chain over a real database, with everything else made up."""

    database: Database
    clock: PassingTime
    log: FakeLog = field(default_factory=FakeLog)
    tally: Tally = field(default_factory=Tally)
    storage_fails: bool = False
    storage_hangs: bool = False

    def __post_init__(self) -> None:
        self.alerts = AlertLog(self.database, clock=self.clock, agent="node-1")
        self.outbox = Outbox(self.database, clock=self.clock, agent="node-1")
        self.mutes = MuteLog(self.database, clock=self.clock)
        self.deliverer = self._deliverer()

    def _deliverer(self) -> Deliverer:
        return Deliverer(
            self.alerts,
            self.outbox,
            self.mutes,
            run=self.run,
            log=self.log,
            tally=self.tally,
            clock=self.clock,
            backoff=LONGEST,
            pause=self.clock.pause,
        )

    async def restart(self) -> None:
        """Go on as a new process does, which has only the database."""
        await self.deliverer.stop()
        self.deliverer = self._deliverer()

    async def run(self, job: Callable[[], T], /) -> T:
        await asyncio.sleep(0)
        if self.storage_hangs:
            await asyncio.Event().wait()
        if self.storage_fails:
            raise StorageFailed("is locked by another process", where="agent.db")
        return job()

    def tell(self, *alerts: Alert, receivers: Sequence[str] = ("pager",)) -> None:
        """Record alerts, each after the other, as the engine would."""
        for each in alerts:
            new = [told(each, receiver, self.clock.time()) for receiver in receivers]
            self.alerts.record([change(each, self.clock.time())], new)
        self.deliverer.wake()

    def outcomes(self, fingerprint: str = "a") -> list[str]:
        shown = self.alerts.show(fingerprint)
        return [str(one.outcome) for one, _ in shown.notifications] if shown else []


@asynccontextmanager
async def delivering(folder: Path, *receivers: FakeReceiver, **options: Any) -> AsyncIterator[Bench]:
    """A chain that delivers to these receivers."""
    with open_database(f"sqlite:///{folder / 'agent.db'}", busy_timeout_seconds=0.05) as database:
        bench = Bench(database=database, clock=PassingTime())
        for each in receivers:
            each.clock = bench.clock
        await bench.deliverer.apply([Target(receiver=each, **options) for each in receivers])
        await bench.clock.settle()
        try:
            yield bench
        finally:
            await bench.deliverer.stop()


def play(
    folder: Path, story: Callable[[Bench], Awaitable[None]], *receivers: FakeReceiver, **options: object
) -> None:
    """Run a story over a chain that delivers to these receivers."""

    async def run() -> None:
        async with delivering(folder, *receivers, **options) as bench:
            await story(bench)

    asyncio.run(run())


def target(receiver: FakeReceiver) -> Target:
    return Target(receiver=receiver)
