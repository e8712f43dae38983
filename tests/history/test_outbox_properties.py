"""Whatever happens in whatever order: each alert's news arrives whole and in order, and the bound holds."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.history.alert_fakes import alert, change, done, resolved, told
from tests.history.fakes import FakeClock

from flyball.database import Database, open_database
from flyball.history.alert_log import AlertLog
from flyball.history.alert_records import Alert, AlertStatus, Notification
from flyball.history.outbox import Outbox

RECEIVERS = ("pager", "chat")
CHANGES = [("change", name) for name in "abc"]
EVENTS = [
    *[("repeat", name) for name in "abc"],
    *[
        (event, receiver)
        for receiver in RECEIVERS
        for event in ("begin", "end", "deliver", "fail", "gone", "enable", "back")
    ],
    ("set clock", "-4000"),
    ("set clock", "900"),
]
STEPS = st.lists(st.sampled_from([*CHANGES, *EVENTS]), max_size=60)
FLOOD = st.lists(st.sampled_from([*8 * CHANGES, *EVENTS]), min_size=10, max_size=60)
_AGENTS = itertools.count()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One file for all examples, each an agent of its own."""
    with open_database(f"sqlite:///{tmp_path_factory.mktemp('outbox') / 'agent.db'}") as database:
        yield database


@dataclass
class Play:
    """What was raised, and what arrived."""

    log: AlertLog
    outbox: Outbox
    clock: FakeClock
    latest: dict[str, Alert] = field(default_factory=dict)
    news: list[tuple[str, float, str]] = field(default_factory=list)
    arrived: list[Notification] = field(default_factory=list)
    under_way: list[Notification] = field(default_factory=list)

    def change(self, name: str) -> None:
        before = self.latest.get(name)
        if before is None or before.status is AlertStatus.RESOLVED:
            after = alert(name, active_time=1000.0 * len(self.news) + 100.0)
        else:
            after = resolved(name, active_time=before.active_time)
        self.latest[name] = after
        self.news.append((name, after.active_time, str(after.status)))
        self.repeat(name)

    def repeat(self, name: str) -> None:
        if name in self.latest:
            one = self.latest[name]
            self.log.record(
                [change(one, self.clock.now)], [told(one, receiver, self.clock.now) for receiver in RECEIVERS]
            )

    def due(self, receiver: str) -> list[Notification]:
        busy = {one.id for one in self.under_way}
        return [one for one in self.outbox.due(receiver, self.clock.now, 4) if one.id not in busy]

    def begin(self, receiver: str) -> None:
        """Send: the receiver has heard of it, and the database not yet."""
        begun = self.due(receiver)
        self.arrived += begun
        self.under_way += begun

    def end(self, receiver: str) -> None:
        """Write down what was sent."""
        self.outbox.finish([done(one) for one in self.under_way if one.receiver == receiver])
        self.under_way = [one for one in self.under_way if one.receiver != receiver]

    def deliver(self, receiver: str) -> None:
        self.begin(receiver)
        self.end(receiver)

    def fail(self, receiver: str) -> None:
        for one in self.due(receiver):
            self.outbox.finish([done(one, next_time=self.clock.now + 30)])

    def step(self, what: str, which: str) -> None:
        if what == "gone":
            self.end(which)
            self.outbox.disable(which, "410 Gone")
        elif what == "enable":
            self.outbox.enable(which)
        elif what == "back":
            self.outbox.hasten(which)
        elif what == "set clock":
            self.clock.now += float(which)
        else:
            getattr(self, what)(which)

    def drain(self) -> None:
        for receiver in RECEIVERS:
            self.end(receiver)
            self.outbox.enable(receiver)
            while self.outbox.next_due(receiver, 0.0) is not None:
                self.outbox.hasten(receiver)
                self.deliver(receiver)

    def heard(self, receiver: str, name: str) -> list[tuple[str, float, str]]:
        return [
            (name, each.alert.active_time, str(each.alert.status))
            for each in self.arrived
            if (each.receiver, each.alert.fingerprint) == (receiver, name)
        ]


def play(shared: Database, steps: list[tuple[str, str]], most: int) -> Play:
    agent, clock = f"agent-{next(_AGENTS)}", FakeClock()
    log = AlertLog(shared, clock=clock, agent=agent, max_waiting=most)
    one = Play(log=log, outbox=Outbox(shared, clock=clock, agent=agent), clock=clock)
    for what, which in steps:
        one.step(what, which)
        assert one.outbox.depth() <= most
    return one


@given(steps=STEPS)
@settings(max_examples=20)
def test_all_news_arrives_in_order_and_once(shared: Database, steps: list[tuple[str, str]]) -> None:
    one = play(shared, steps, most=1000)
    one.drain()
    for receiver, name in itertools.product(RECEIVERS, "abc"):
        assert one.heard(receiver, name) == [each for each in one.news if each[0] == name]
    assert len({each.webhook_id for each in one.arrived}) == len(one.arrived)


@given(steps=FLOOD, most=st.sampled_from([4, 6, 8]))
@settings(max_examples=40)
def test_where_there_is_no_room_what_arrives_is_in_order_and_ends_as_it_began(
    shared: Database, steps: list[tuple[str, str]], most: int
) -> None:
    one = play(shared, steps, most=most)
    one.drain()
    for receiver, name in itertools.product(RECEIVERS, "abc"):
        heard, news = one.heard(receiver, name), [each for each in one.news if each[0] == name]
        assert heard == [each for each in news if each in heard]
        for _, active_time, status in news:
            fired = (name, active_time, "firing") in heard
            over = (name, active_time, "resolved") in heard
            if status == "resolved":
                assert fired == over, "whoever hears of an alert hears of its end"
