"""``flyball alerts list`` and ``show``, and what every command of ``flyball alerts`` refuses."""

import io
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.agent.alerts_fakes import (
    HOT,
    HOT_ALERT,
    LOST,
    NOW,
    RUN,
    alerts,
    numbers,
    raised,
    record,
    refused,
    shown,
)
from tests.agent.fakes import FakeClock
from tests.history.alert_fakes import change, done, told

from flyball.database import Database, open_database
from flyball.history.alert_log import AlertLog
from flyball.history.alert_records import AlertStatus
from flyball.history.outbox import Outbox

pytestmark = pytest.mark.usefixtures("state")


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
        ("database: sqlite:///data/alerts.db\n", "data/alerts.db"),
        ("bearer_token_file: gone\ncollectors: {{unknown: {{}}}}\nstate_folder: .\n", "agent.db"),
    ],
    ids=["state_folder", "database", "relative database", "of others' files nothing is needed"],
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
