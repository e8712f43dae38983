"""A database that is removed under whoever writes to it: what is not over goes on in a new one."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.history.alert_fakes import alert, change, done, pending, resolved, told
from tests.history.fakes import FakeClock

from flyball.database import Database, open_database
from flyball.errors import StorageFailed
from flyball.history.alert_log import AlertLog
from flyball.history.alert_records import AlertStatus
from flyball.history.carrying_over import Carried
from flyball.history.lasting_database import LastingDatabase
from flyball.history.mute_log import MuteLog
from flyball.history.outbox import Outbox
from flyball.history.tuning_requests import TuningRequests

Removal = Callable[[Path], object]
REMOVALS: dict[str, Removal] = {
    "the file": lambda path: path.unlink(),
    "its log too": lambda path: [each.unlink() for each in path.parent.iterdir()],
    "its folder": lambda path: shutil.rmtree(path.parent),
    "moved away": lambda path: path.rename(path.parent.parent / "aside.db"),
}


class Keeper:
    """An agent's records in a file that may be removed."""

    def __init__(self, path: Path) -> None:
        self.path, self.clock = path, FakeClock()
        self.begun: list[Carried | None] = []
        self.database = LastingDatabase(self.open, begun=self.begun.append, clock=self.clock)
        self.alerts = AlertLog(self.database, clock=self.clock)
        self.outbox = Outbox(self.database, clock=self.clock)
        self.mutes = MuteLog(self.database, clock=self.clock)
        self.requests = TuningRequests(self.database, clock=self.clock)

    def open(self) -> Database:
        return open_database(f"sqlite:///{self.path}", busy_timeout_seconds=0.05)

    def waiting(self, receiver: str = "pager") -> list[tuple[str, str]]:
        """What would be sent next: fingerprint and status."""
        due = self.outbox.due(receiver, self.clock.time(), 100)
        return [(one.alert.fingerprint, str(one.alert.status)) for one in due]


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    (tmp_path / "state").mkdir()
    keeper = Keeper(tmp_path / "state" / "agent.db")
    try:
        yield keeper
    finally:
        keeper.database.close()


def record_all_kinds(keeper: Keeper) -> None:
    """An alert of each kind: told that it fires, not told, over and told, over and not told, pending."""
    fired = {name: told(alert(name)) for name in ("told", "untold", "over", "unheard")}
    keeper.alerts.record([change(one.alert) for one in fired.values()], list(fired.values()))
    keeper.alerts.record([change(pending("young"))], evaluated_time=50.0)
    due = {one.alert.fingerprint: one for one in keeper.outbox.due("pager", keeper.clock.time(), 100)}
    keeper.outbox.finish([done(due[name]) for name in ("told", "over", "unheard")])
    ends = [told(resolved(name)) for name in ("over", "unheard")]
    keeper.alerts.record([change(one.alert) for one in ends], ends)
    (over,) = (
        one
        for one in keeper.outbox.due("pager", keeper.clock.time(), 100)
        if (one.alert.fingerprint, one.alert.status) == ("over", AlertStatus.RESOLVED)
    )
    keeper.outbox.finish([done(over)])


@pytest.mark.parametrize("removal", REMOVALS.values(), ids=list(REMOVALS))
def test_what_is_not_over_goes_on_in_a_new_file(keeper: Keeper, removal: Removal) -> None:
    record_all_kinds(keeper)
    mute = keeper.mutes.add({"gpu": "7"}, until_time=None, comment="known")
    keeper.mutes.end(keeper.mutes.add({"gpu": "8"}, until_time=None).id)
    request = keeper.requests.add(alert("told"), "job", {"command": ["python"]})
    ids = {name: keeper.alerts.show(name).notifications[0][0].webhook_id for name in ("told", "untold")}  # type: ignore[union-attr]
    removal(keeper.path)

    assert [each.fingerprint for each in keeper.alerts.open_alerts()] == ["told", "untold", "young"]
    assert keeper.begun == [Carried(alerts=4, notifications=2, mutes=1)]
    assert keeper.waiting() == [("untold", "firing"), ("unheard", "resolved")]
    assert [(one.matchers, one.comment) for one in keeper.mutes.active()] == [({"gpu": "7"}, mute.comment)]
    assert keeper.requests.all() == (request,)
    assert keeper.alerts.last_heartbeat() == 50.0
    for name, webhook_id in ids.items():
        shown = keeper.alerts.show(name)
        assert shown is not None
        ((notification, tries),) = shown.notifications
        assert notification.webhook_id == webhook_id
        assert len(tries) == (name == "told")
    assert keeper.alerts.show("over") is None, "it was over and told"


def test_what_was_told_is_not_told_again_and_its_end_is(keeper: Keeper) -> None:
    record_all_kinds(keeper)
    keeper.path.unlink()
    keeper.alerts.record([change(alert("told"))], [told(alert("told"))])
    assert keeper.waiting() == [("untold", "firing"), ("unheard", "resolved")]
    keeper.alerts.record([change(resolved("told"))], [told(resolved("told"))])
    assert ("told", "resolved") in keeper.waiting()
    assert all(one.told for one in keeper.outbox.due("pager", keeper.clock.time(), 100))


def test_an_answer_that_came_meanwhile_is_of_the_same_notification(keeper: Keeper) -> None:
    """Its number is another in the new file, its webhook-id the same."""
    gone = [told(alert(str(number))) for number in range(5)]
    keeper.alerts.record([change(one.alert) for one in gone], gone)
    keeper.outbox.finish([done(one) for one in keeper.outbox.due("pager", keeper.clock.time(), 5)])
    ends = [told(resolved(str(number))) for number in range(5)]
    keeper.alerts.record([change(one.alert) for one in ends], ends)
    keeper.outbox.finish([done(one) for one in keeper.outbox.due("pager", keeper.clock.time(), 5)])
    keeper.alerts.record([change(alert("a")), change(alert("b"))], [told(alert("a")), told(alert("b"))])
    under_way, _ = keeper.outbox.due("pager", keeper.clock.time(), 2)
    keeper.path.unlink()
    assert keeper.waiting() == [("a", "firing"), ("b", "firing")]
    keeper.outbox.finish([done(under_way)])
    assert keeper.waiting() == [("b", "firing")]


def test_the_new_file_keeps_its_log_when_the_removed_one_is_closed(keeper: Keeper) -> None:
    record_all_kinds(keeper)
    keeper.path.unlink()
    keeper.alerts.record([change(alert("later"))])
    log = keeper.path.with_name("agent.db-wal")
    assert log.stat().st_size > 0
    with closing(sqlite3.connect(f"file:{keeper.path}?mode=ro", uri=True)) as other:
        (found,) = other.execute("select count(*) from flyball_alert where fingerprint = 'later'").fetchone()
    assert found == 1


def test_one_that_is_put_back_is_taken_with_what_came_meanwhile(keeper: Keeper) -> None:
    record_all_kinds(keeper)
    aside = keeper.path.with_name("aside.db")
    keeper.path.rename(aside)
    keeper.outbox.finish([done(keeper.outbox.due("pager", keeper.clock.time(), 1)[0])])
    keeper.alerts.record([change(resolved("told"))], [told(resolved("told"))])
    aside.replace(keeper.path)
    assert [each.fingerprint for each in keeper.alerts.open_alerts()] == ["untold", "young"]
    assert sorted(keeper.waiting()) == [("told", "resolved"), ("unheard", "resolved")]
    assert keeper.alerts.show("over") is not None, "its history is back"
    assert len(keeper.begun) == 2


def test_an_empty_file_in_its_place_is_begun_anew(keeper: Keeper) -> None:
    record_all_kinds(keeper)
    keeper.path.rename(keeper.path.with_name("aside.db"))
    keeper.path.touch()
    assert len(keeper.alerts.open_alerts()) == 3


def test_where_no_new_one_can_be_made_it_says_so_and_loses_nothing(keeper: Keeper) -> None:
    record_all_kinds(keeper)
    folder = keeper.path.parent
    shutil.rmtree(folder)
    folder.touch()
    for _ in range(2):
        with pytest.raises(StorageFailed, match="its folder cannot be made"):
            keeper.alerts.open_alerts()
    assert keeper.begun == []
    folder.unlink()
    assert len(keeper.alerts.open_alerts()) == 3


def test_a_receiver_that_is_away_still_learns_what_ended(keeper: Keeper) -> None:
    record_all_kinds(keeper)
    keeper.outbox.disable("pager", "it is not in the configuration any more")
    keeper.clock.now += 10
    keeper.alerts.record([change(resolved("told"), keeper.clock.time())])
    keeper.path.unlink()
    since = keeper.outbox.enable("pager")
    assert since is not None
    assert [each.fingerprint for each in keeper.outbox.ends_unheard("pager", since)] == ["told"]


def test_a_removed_file_that_nobody_can_read_is_followed_by_an_empty_one(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "agent.db")
    record_all_kinds(keeper)
    keeper.database.close()  # the pool holds nothing that has it open
    keeper.path.unlink()
    assert keeper.alerts.open_alerts() == ()
    assert keeper.begun == [None]
    keeper.database.close()
