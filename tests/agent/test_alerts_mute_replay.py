"""``flyball alerts mute``, ``mutes``, ``unmute`` and ``replay`` over a database of an agent's making."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Pool, event
from tests.agent.alerts_fakes import HOT, NOW, alerts, raised, record, refused, shown
from tests.agent.fakes import FakeClock

from flyball.database import Database
from flyball.history.alert_log import AlertLog
from flyball.history.mute_log import MuteLog
from flyball.history.outbox import Outbox

pytestmark = pytest.mark.usefixtures("state")


def test_a_mute_is_made_listed_and_ended(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    log = MuteLog(database, clock=FakeClock(now=NOW))
    assert shown(capsys, "mutes") == "nothing is muted\n"
    made = shown(capsys, "mute", "alertname=GpuHot", "host=a=b", "--for", "90m", "--comment", "new fan")
    assert made.startswith("mute 1: alertname=GpuHot host=a=b\nfor 1h30m, until 20")
    assert "the running agent takes it within 5 s" in made
    (mute,) = log.active()
    assert mute.matchers == {"alertname": "GpuHot", "host": "a=b"}
    assert (mute.created_time, mute.until_time, mute.comment) == (NOW, NOW + 5400, "new fan")
    header, row = shown(capsys, "mutes").splitlines()
    assert header.split() == ["no", "left", "made", "mutes", "comment"]
    assert row.split()[:2] + row.split()[4:] == ["1", "1h30m", "alertname=GpuHot", "host=a=b", "new", "fan"]
    assert shown(capsys, "unmute", "1").startswith("mute 1 has ended; the running agent sends what")
    assert log.active() == ()
    assert shown(capsys, "mutes") == "nothing is muted\n"
    assert [each["until_time"] for each in json.loads(shown(capsys, "mutes", "--all", "--json"))] == [NOW]
    assert " ended " in shown(capsys, "mutes", "--all")


@pytest.mark.usefixtures("six")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["gpu=3"], "it matches one alert that fires or is pending"),
        (["host=node-7"], "it matches 4 alerts that fire or are pending"),
        (["alertname=GpuHto"], "it matches no alert that fires or is pending"),
        (["uuid=", "host=node-7"], "it matches 3 alerts that fire or are pending"),
        (["--all"], "mute 1: all alerts\nfor 2h00m, until "),
    ],
)
def test_a_mute_says_what_it_matches_now(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in shown(capsys, "mute", *arguments)


@pytest.mark.usefixtures("six")
@pytest.mark.parametrize(
    ("matcher", "note"),
    [
        ("gpus=3", "note: no alert here has a label gpus; did you mean gpu?\n"),
        ("xyzzy=1", "note: no alert here has a label xyzzy; the labels are alertname, "),
        ("gpu=99", ""),
        ("floor=2", ""),
        ("team=training", ""),
    ],
)
def test_a_mute_by_a_label_that_no_alert_can_have_says_so(
    tmp_path: Path, database: Database, matcher: str, note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record(AlertLog(database), raised("f" * 16, "Custom", ago=60, floor="2"))
    config, policies = tmp_path / "flyball.yaml", tmp_path / "mine.yaml"
    config.write_text(f"database: {database.url}\npolicies: [mine.yaml]\n", "utf-8")
    policies.write_text("policies: [{alert: A, metric: loss, above: 9, labels: {team: training}}]", "utf-8")
    assert alerts("mute", matcher, "--config", str(config)) == 0
    said = capsys.readouterr()
    assert said.err.startswith(note)
    assert bool(said.err) is bool(note)
    assert said.out.startswith("mute 1: ")


@pytest.mark.usefixtures("six")
def test_a_mute_as_json_has_its_number_and_an_alert_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(shown(capsys, "mute", "gpu=3", "--json"))
    assert found == {
        "id": 1,
        "matchers": {"gpu": "3"},
        "created_time": NOW,
        "until_time": NOW + 7200,
        "comment": "",
    }
    assert "muted by     1\n" in shown(capsys, "show", "1")
    assert "muted by" not in shown(capsys, "show", "2")
    assert shown(capsys, "list").endswith("\nmuted: 1; flyball alerts mutes says until when\n")
    assert "muted" not in shown(capsys, "list", "--rule", "GpuLost")


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No database takes a page more."""

    def limit(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")

    event.listen(Pool, "checkout", limit)
    yield
    event.remove(Pool, "checkout", limit)


@pytest.mark.usefixtures("database", "full_disk")
def test_where_the_disk_is_full_the_mend_is_to_try_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert alerts("mute", "gpu=3", "--comment", "x" * 200_000) == 6
    assert capsys.readouterr().err.endswith("the disk is full; free some space, then try again\n")


def test_a_mute_without_an_end_is_listed(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    MuteLog(database, clock=FakeClock(now=NOW)).add({}, until_time=None)
    assert shown(capsys, "mutes").splitlines()[1].split()[1:3] == ["no", "end"]


def waiting(outbox: Outbox, receiver: str) -> list[str]:
    return [each.webhook_id for each in outbox.due(receiver, NOW, 9) if each.alert.fingerprint == HOT]


@pytest.mark.usefixtures("told_twice")
@pytest.mark.parametrize("key", ["1", HOT])
def test_a_replay_sends_again_what_was_sent_by_the_same_webhook_id(
    key: str, outbox: Outbox, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    history = AlertLog(database).show(HOT)
    assert history is not None
    first = {each.receiver: each.webhook_id for each, _ in reversed(history.notifications)}
    assert shown(capsys, "replay", key) == (
        "alert 1 (GpuHot): 4 notifications to ops, chat once more; "
        "the running agent picks them up within 5 s\n"
    )
    assert {name: waiting(outbox, name) for name in first} == {name: [one] for name, one in first.items()}


@pytest.mark.usefixtures("told_twice")
def test_a_replay_to_one_receiver_leaves_the_others_alone(
    outbox: Outbox, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "2 notifications to chat once more" in shown(capsys, "replay", "1", "--receiver", "chat")
    assert (len(waiting(outbox, "chat")), waiting(outbox, "ops")) == (1, [])


@pytest.mark.usefixtures("six")
def test_what_will_hold_a_replay_up_is_said(
    database: Database, outbox: Outbox, capsys: pytest.CaptureFixture[str]
) -> None:
    MuteLog(database, clock=FakeClock(now=NOW)).add({"gpu": "3"}, until_time=NOW + 60)
    outbox.disable("ops", "410 Gone")
    assert alerts("replay", "1", "--receiver", "ops", now=NOW + 3) == 0
    said = capsys.readouterr()
    assert "1 notification to ops once more; the running agent picks it up within 5 s" in said.out
    assert said.err == (
        "note: ops is disabled: 410 Gone\nnote: mute 1 holds it back; flyball alerts unmute 1 ends that\n"
    )


@pytest.mark.usefixtures("six")
def test_what_was_told_to_nobody_cannot_be_replayed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "alert 2 was told to nobody; it has not fired, or no receiver" in refused(capsys, "replay", "2")
