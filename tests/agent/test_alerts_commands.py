"""``flyball alerts`` over a database of an agent's making."""

import io
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.agent.fakes import HOSTILE, FakeClock
from tests.history.alert_fakes import alert, change, done, told

from flyball.agent.cli import run
from flyball.agent.wiring import Wiring
from flyball.database import Database, open_database
from flyball.history.alert_log import AlertLog
from flyball.history.alert_records import Alert, AlertStatus, Notification
from flyball.history.mute_log import MuteLog
from flyball.history.outbox import Outbox

NOW = 1_790_000_000.0
HOT, LOST, STALLED, SLOW, GONE = (f"{number:016x}" for number in (0xA, 0xB, 12, 13, 14))
RUN = "a-run-with-a-long-name-that-somebody-chose"


def raised(
    fingerprint: str, rule: str, status: AlertStatus = AlertStatus.FIRING, *, ago: float, **labels: str
) -> Alert:
    """An alert that took the status that it has ``ago`` seconds before now, having fired for a minute."""
    severity = "critical" if rule == "GpuLost" else "warning"
    began = NOW - ago - {AlertStatus.PENDING: 0, AlertStatus.FIRING: 60}.get(status, 120)
    return alert(
        fingerprint,
        status,
        active_time=began,
        rule=rule,
        fingerprint=fingerprint,
        labels={"alertname": rule, "severity": severity, "host": "node-7", **labels},
    )


HOT_ALERT = raised(HOT, "GpuHot", ago=3600, gpu="3")
OVER = raised(SLOW, "StepTimeRegressed", AlertStatus.RESOLVED, ago=7200, run="nightly")


def record(alerts: AlertLog, one: Alert, *notifications: Notification, ago: float | None = None) -> None:
    when = {AlertStatus.PENDING: one.active_time, AlertStatus.FIRING: one.fired_time}.get(
        one.status, one.resolved_time
    )
    time = NOW - ago if ago is not None else when
    assert time is not None
    alerts.record([change(one, time)], notifications)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLYBALL_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("FLYBALL_DB", "sqlite:///not-this-one.db")
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its tables, made once: that takes longer than a test."""
    path = tmp_path_factory.mktemp("empty") / "agent.db"
    open_database(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def database(state: Path, empty: Path) -> Iterator[Database]:
    """The agent's, which has just evaluated its policies."""
    shutil.copy(empty, state)
    with open_database(f"sqlite:///{state / 'agent.db'}") as opened:
        AlertLog(opened).heartbeat(NOW - 5)
        yield opened


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database, clock=FakeClock(now=NOW))


@pytest.fixture
def six(database: Database, outbox: Outbox) -> None:
    """1 fires, told; 2 is critical; 3 pending; 4 resolved; 5 never fired; 6 fires anew, hostile."""
    alerts = AlertLog(database, clock=FakeClock(now=NOW))
    record(alerts, HOT_ALERT, told(HOT_ALERT, "ops", NOW - 3600), told(HOT_ALERT, "chat", NOW - 3600))
    record(alerts, raised(LOST, "GpuLost", ago=1800, gpu="5", uuid="GPU-0"))
    record(alerts, raised(STALLED, "RunStalled", AlertStatus.PENDING, ago=20, run=RUN, rank="0"))
    record(alerts, OVER)
    record(alerts, raised(GONE, "LossNaN", AlertStatus.DROPPED, ago=10_800, run="nightly"), ago=10_800)
    record(alerts, raised("f" * 16, HOSTILE, ago=30, run=HOSTILE))
    (to_ops,) = outbox.due("ops", NOW, 9)
    outbox.finish(
        [
            done(
                to_ops, time=NOW - 3600, outcome="retry", status=503, detail=f"busy {HOSTILE}", next_time=NOW
            ),
            done(to_ops, time=NOW - 3590),
        ]
    )


def alerts(*arguments: str, now: float = NOW) -> int:
    return run(["alerts", *arguments], wiring=Wiring(clock=FakeClock(now=now)))


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert alerts(*arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def numbers(capsys: pytest.CaptureFixture[str], *options: str) -> list[int]:
    found = [each["id"] for each in json.loads(shown(capsys, "list", "--json", *options))]
    rows = [line.split()[0] for line in shown(capsys, "list", *options).splitlines()[1:]]
    assert [int(each) for each in rows if each.isdigit()] == found
    return found


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert alerts(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.usefixtures("six")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], [6, 2, 1, 3]),
        (["--all"], [3, 6, 2, 1, 4, 5]),
        (["--since", "35m"], [3, 6, 2]),
        (["--since", "2h30m"], [3, 6, 2, 1, 4]),
        (["--status", "firing"], [6, 2, 1]),
        (["--status", "resolved"], [4]),
        (["--status", "dropped"], [5]),
        (["--status", "firing", "--since", "35m"], [6, 2]),
        (["--rule", "GpuHot"], [1]),
        (["--rule", "LossNaN", "--all"], [5]),
        (["--limit", "2"], [6, 2]),
        (["--limit", "4"], [6, 2, 1, 3]),
    ],
)
def test_alerts_are_chosen(
    options: list[str], expected: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert numbers(capsys, *options) == expected


@pytest.mark.usefixtures("six")
def test_what_the_limit_leaves_out_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "list", "--limit", "3").endswith(
        "there are more than 3; --limit shows more of them\n"
    )
    assert "more than" not in shown(capsys, "list", "--limit", "4")


@pytest.mark.usefixtures("six")
def test_a_line_says_since_when_what_and_where(capsys: pytest.CaptureFixture[str]) -> None:
    header, _, lost, hot, pending = shown(capsys, "list").splitlines()
    assert header.split() == ["no", "status", "for", "severity", "alert", "labels"]
    assert hot.split() == ["1", "firing", "1h00m", "warning", "GpuHot", "host=node-7", "gpu=3"]
    assert lost.split()[-3:] == ["host=node-7", "gpu=5", "uuid=GPU-0"]
    assert pending.split() == [
        *("3", "pending", "20s", "warning", "RunStalled"),
        *("host=node-7", f"run={RUN}", "rank=0"),
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("six")
def test_a_terminal_of_80_columns_gets_one_line_an_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert alerts("list") == 0
    header, hostile, _, hot, pending = terminal.getvalue().splitlines()
    assert max(map(len, (header, hostile, hot, pending))) <= 80
    assert hot.endswith("  host=node-7 gpu=3")
    assert "  host=node-7 run=" in pending
    assert pending.endswith("…")
    assert "…  host=" in hostile


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "no alert fires or is pending; --all lists those that have ended\n"),
        (["--rule", "X"], "no such alert fires or is pending; --all lists those that have ended\n"),
        (["--all"], "no alert yet\n"),
        (["--since", "2h"], "no such alert\n"),
    ],
)
@pytest.mark.usefixtures("database")
def test_no_alert_is_one_friendly_line(
    options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(capsys, "list", *options) == says
    assert json.loads(shown(capsys, "list", "--json", *options)) == []


@pytest.mark.usefixtures("six")
def test_alerts_as_json_are_as_the_api_has_them(capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = json.loads(shown(capsys, "list", "--json", "--rule", "GpuHot"))
    assert (found["id"], found["agent"], found["changed_time"]) == (1, "local", NOW - 3600)
    assert (found["fingerprint"], found["severity"], found["value"]) == (HOT, "warning", 91.5)
    assert found["labels"] == HOT_ALERT.labels


@pytest.mark.parametrize(
    ("later", "note"),
    [
        (50, ""),
        (3600, "note: the agent last looked 1h00m ago; see that flyball agent runs\n"),
    ],
)
@pytest.mark.usefixtures("six")
def test_the_silence_of_an_agent_that_has_stopped_is_said(
    later: float, note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert alerts("list", now=NOW + later) == 0
    assert capsys.readouterr().err == note


def test_an_agent_that_never_looked_is_said(
    state: Path, empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(empty, state)
    assert alerts("list") == 0
    assert "note: the agent has not looked yet" in capsys.readouterr().err


def test_where_agents_share_a_database_each_alert_says_whose_it_is(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    for agent, fingerprint in (("node-7", HOT), ("node-8", LOST)):
        log = AlertLog(database, clock=FakeClock(now=NOW), agent=agent)
        record(log, raised(fingerprint, "GpuHot", ago=60))
        log.heartbeat(NOW - (5 if agent == "node-7" else 600))
    assert alerts("list") == 0
    captured = capsys.readouterr()
    header, *rows = captured.out.splitlines()
    assert header.split() == ["no", "status", "for", "severity", "alert", "agent", "labels"]
    assert sorted(row.split()[5] for row in rows) == ["node-7", "node-8"]
    assert captured.err == "note: agent node-8 last looked 10m00s ago; see that flyball agent runs\n"
    assert "agent        node-7" in shown(capsys, "show", HOT)


@pytest.mark.usefixtures("six")
@pytest.mark.parametrize("key", ["1", HOT, HOT.upper()])
def test_an_alert_shows_what_it_is_and_every_try_to_tell_of_it(
    key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    page = shown(capsys, "show", key)
    lines = [line.split() for line in page.splitlines()]
    assert ["alert", "1", "GpuHot"] in lines
    assert ["status", "firing", "for", "1h00m"] in lines
    assert ["fingerprint", HOT] in lines
    assert ["suggests", "micro_batch"] in lines
    assert ["summary", "GPU", HOT, "is", "hot"] in lines
    (to_ops,) = (line for line in lines if line[:3] == ["firing", "to", "ops:"])
    assert to_ops[3:6] == ["delivered,", "2", "tries,"]
    (to_chat,) = (line for line in lines if line[:3] == ["firing", "to", "chat:"])
    assert to_chat[3:8] == ["waiting,", "to", "be", "sent", "now,"]
    first, second = (line[2:] for line in lines if line[2:3] == ["0.1s"])
    assert first[:3] == ["0.1s", "retry", "503"]
    assert second == ["0.1s", "delivered", "200", "-"]


@pytest.mark.usefixtures("six")
def test_an_alert_as_json_has_every_try(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(shown(capsys, "show", "1", "--json"))
    assert (found["id"], found["agent"], found["alert"]["rule"]) == (1, "local", "GpuHot")
    ops, chat = found["notifications"]
    assert (ops["receiver"], ops["outcome"], ops["attempts"]) == ("ops", "delivered", 2)
    assert (ops["finished_time"], ops["next_time"]) == (NOW, None)
    assert [each["status"] for each in ops["deliveries"]] == [503, 200]
    assert (chat["outcome"], chat["next_time"], chat["deliveries"]) == ("waiting", NOW, [])


@pytest.mark.usefixtures("six")
def test_an_alert_that_nobody_was_told_of_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert "told to nobody: no receiver wanted it" in shown(capsys, "show", "2")
    assert "told to nobody: it has not fired" in shown(capsys, "show", "3")
    assert "resolved for 2h00m" in shown(capsys, "show", "4")
    assert "dropped: it ended before it fired" in shown(capsys, "show", "5")


def test_of_many_tries_the_last_are_shown(
    database: Database, outbox: Outbox, capsys: pytest.CaptureFixture[str]
) -> None:
    both = [told(one, "ops", NOW) for one in (HOT_ALERT, replace(HOT_ALERT, status=AlertStatus.RESOLVED))]
    AlertLog(database).record([change(each.alert, NOW) for each in both], both)
    (firing,) = outbox.due("ops", NOW, 9)
    for number in range(13):
        outbox.finish([done(firing, outcome="retry", detail=f"try{number}", next_time=NOW + 90)])
    page = shown(capsys, "show", "1")
    assert "firing to ops: waiting, 13 tries, next try " in page
    assert " (in 1m30s), webhook-id msg_" in page
    assert "resolved to ops: waiting for the one before, webhook-id msg_" in page
    assert "3 before" in page
    assert [f"try{number}" in page for number in (2, 3, 12)] == [False, True, True]


@pytest.mark.usefixtures("six")
@pytest.mark.parametrize("arguments", [["list"], ["show", "6"], ["show", "1"], ["list", "--json"]])
def test_hostile_text_cannot_reach_the_terminal(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(capsys, *arguments)
    assert "[bold red]big[/]" in text
    assert not set(text) & {"\x1b", "\x07", "\u202e"}


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


def test_a_mute_without_an_end_is_listed(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    MuteLog(database, clock=FakeClock(now=NOW)).add({}, until_time=None)
    assert shown(capsys, "mutes").splitlines()[1].split()[1:3] == ["no", "end"]


@pytest.fixture
def told_twice(database: Database, outbox: Outbox) -> None:
    """Alert 1 was told to ops and chat that it fires, and is over; alert 2 waits for ops."""
    over = replace(HOT_ALERT, status=AlertStatus.RESOLVED, resolved_time=NOW - 60)
    sent = [told(one, name, NOW) for one in (HOT_ALERT, over) for name in ("ops", "chat")]
    waits = told(raised(LOST, "GpuLost", ago=60), "ops", NOW)
    AlertLog(database).record([change(each.alert, NOW) for each in (*sent, waits)], [*sent, waits])
    for name in ("ops", "chat"):
        for _ in range(2):
            due = outbox.due(name, NOW, 9)
            outbox.finish([done(each) for each in due if each.alert.fingerprint == HOT])


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


@pytest.mark.usefixtures("told_twice")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "9"], "NUMBER|FINGERPRINT: there is no alert 9; flyball alerts list --all lists them"),
        (["show", "9999999999"], "there is no alert 9999999999"),
        (["show", "f" * 16], "there is no alert ffffffffffffffff"),
        (["show", "GpuHot"], "'gpuhot' is neither a number nor 16 hexadecimal digits; flyball alerts list"),
        (["show"], "NUMBER|FINGERPRINT: is missing; see flyball alerts show --help"),
        (["list", "--status", "open"], "--status: 'open' does not fit; write one of: pending, firing, res"),
        (["list", "--since", "2"], "--since: '2' is not a duration; write a number with its unit"),
        (["list", "--limit", "0"], "--limit: '0' does not fit; write a whole number from 1 to 100000"),
        (["list", "--db", "mysql://x"], "mysql databases are not supported"),
        (["list", "--db", "sqlite:///x.db", "--config", "y"], "--db: says the same as --config"),
        (["list", "--config", "gone.yaml"], "gone.yaml"),
        (
            ["mute"],
            "LABEL=VALUE: is missing; write LABEL=VALUE, as in alertname=GpuLost host=n",
        ),
        (["mute", "gpu=3", "--all"], "--all: mutes all alerts; leave it out, or leave out the labels"),
        (["mute", "gpu"], "LABEL=VALUE: 'gpu' matches nothing; write LABEL=VALUE, as in alertname="),
        (["mute", "=3"], "'=3' matches nothing"),
        (["mute", "gpu id=3"], "'gpu id=3' matches nothing"),
        (["mute", "gpu=\udcff"], "matches nothing"),
        (["mute", "gpu=~3|4"], "'gpu=~3|4': only LABEL=VALUE is known here; give the whole value"),
        (["mute", "gpu!=3"], "'gpu!=3': only LABEL=VALUE is known here"),
        (["mute", "gpu=3", "gpu=4"], "gpu stands twice; make one mute for each value"),
        (["mute", "gpu=3", "--for", "soon"], "--for: 'soon' is not a duration"),
        (["mute", "gpu=3", "--for", "2y"], "--for: '2y' is not a duration"),
        (["unmute", "4"], "NUMBER: there is no mute 4 in force; flyball alerts mutes lists those in force"),
        (["unmute", "x"], "NUMBER: 'x' does not fit; write a whole number from 1"),
        (["replay", "9"], "there is no alert 9"),
        (["replay", "1", "--receiver", "opps"], "--receiver: alert 1 was not told to 'opps'; it was told to"),
        (["replay", "2"], "no notification of alert 2 has ended; it is sent by itself"),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(capsys, *arguments)


@pytest.mark.usefixtures("six")
def test_what_was_told_to_nobody_cannot_be_replayed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "alert 2 was told to nobody; it has not fired, or no receiver" in refused(capsys, "replay", "2")


@pytest.mark.parametrize(
    "arguments", [["list"], ["show", "1"], ["mute", "--all"], ["mutes"], ["unmute", "1"], ["replay", "1"]]
)
def test_where_there_is_no_database_yet_none_is_made(
    arguments: list[str], state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, *arguments)
    assert f"{state / 'agent.db'}: there is no database of alerts yet; flyball agent makes it" in said
    assert list(state.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("state_folder: elsewhere\n", "elsewhere/agent.db"),
        ("database: sqlite:///{folder}/alerts.db\n", "alerts.db"),
        ("bearer_token_file: gone\ncollectors: {{unknown: {{}}}}\nstate_folder: .\n", "agent.db"),
    ],
    ids=["state_folder", "database", "of others' files nothing is needed"],
)
def test_the_database_is_the_configurations(
    text: str, place: str, tmp_path: Path, empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "etc" / "flyball.yaml"
    config.parent.mkdir()
    config.write_text(text.format(folder=config.parent))
    path = config.parent / place
    path.parent.mkdir(exist_ok=True)
    for options in (["--config", str(config)], ["--db", f"sqlite:///{path}"]):
        if options[0] == "--config":
            assert str(path) in refused(capsys, "list", *options)
            shutil.copy(empty, path)
            with open_database(f"sqlite:///{path}") as made:
                AlertLog(made).heartbeat(NOW)
                record(AlertLog(made), HOT_ALERT)
        assert numbers(capsys, *options) == [1]


def test_a_fault_of_the_configuration_has_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "flyball.yaml").write_text("listen: 127.0.0.1:0\ndatabase: mysql://me:s3cret@x/y\n")
    said = refused(capsys, "list", "--config", "flyball.yaml")
    assert "flyball.yaml:2: database: mysql databases are not supported" in said
    assert "s3cret" not in said
