"""Alerts of the agent as a real process: told once, through kill -9, an absent receiver and a reload."""

import re
import shutil
import sqlite3
import time
from contextlib import closing
from typing import Any

import httpx2
import pytest
from tests.live.agent_process import running
from tests.live.alert_desk import HOT, LABELS, PROGRAM, SLOW, TOKEN, Desk, get, left, statuses, until
from tests.live.own_journal import COMMAND, OwnJournal
from tests.live.webhook_server import webhook_server
from tests.patience import PATIENCE_SECONDS, fetch

from flyball.policies.fingerprint import fingerprint

pytestmark = pytest.mark.live


def test_an_alert_fires_and_resolves_and_its_whole_history_is_told(desk: Desk) -> None:
    desk.dial(hot=50)
    with desk.agent("external_url: http://agent.example.org:1\n") as agent:
        url = agent.url()
        desk.dial(hot=95)
        (fired,) = desk.server.wait(1)
        assert statuses(url) == {"Hot": "firing"}
        desk.dial(hot=50)
        _, over = desk.server.wait(2)
        name = fingerprint(LABELS)
        history = until(
            lambda: (
                (found := get(url, f"alerts/{name}"))
                and all(one["outcome"] == "delivered" for one in found["notifications"])
                and found
            )
        )
        assert get(url, "alerts") == []
        assert agent.end() == 0
    assert fired.body == {
        "version": "4",
        "groupKey": fired.body["groupKey"],
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "ops",
        "groupLabels": LABELS,
        "commonLabels": LABELS,
        "commonAnnotations": {"summary": "0 is hot", "action": "Cool it."},
        "externalURL": "http://agent.example.org:1",
        "alerts": [
            {
                "status": "firing",
                "labels": LABELS,
                "annotations": {"summary": "0 is hot", "action": "Cool it."},
                "startsAt": fired.body["alerts"][0]["startsAt"],
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": f"http://agent.example.org:1/api/v1/alerts/{name}",
                "fingerprint": name,
            }
        ],
    }
    assert (over.status, over.body["alerts"][0]["startsAt"]) == (
        "resolved",
        fired.body["alerts"][0]["startsAt"],
    )
    assert "webhook-signature" in fired.headers
    assert "webhook-signature" in over.headers
    told = {(one["status"], one["webhook_id"], one["attempts"]) for one in history["notifications"]}
    assert told == {("firing", fired.webhook_id, 1), ("resolved", over.webhook_id, 1)}
    assert history["alert"]["status"] == "resolved"


def test_kill_9_while_an_alert_fires_tells_nothing_twice_and_what_was_pending_goes_on(desk: Desk) -> None:
    desk.rules(HOT, SLOW.replace("3s", "10s"))
    desk.dial(hot=95)
    with desk.agent() as agent:
        url = agent.url()
        desk.server.wait(1)
        desk.dial(hot=95, job=1.0)
        until(lambda: statuses(url) == {"Hot": "firing", "Slow": "pending"})
        until(lambda: time.time() - get(url, "alerts")[1]["active_time"] > 4)
        # Something changes, and so it is written down how far the evaluation has come.
        desk.dial(hot=95, job=1.0, other=1.0)
        until(lambda: pending_seconds(desk) > 4)
        agent.process.kill()
    desk.dial(hot=95, job=1.0)
    with desk.agent() as agent:
        url = agent.url()
        began = time.time()
        assert statuses(url)["Hot"] == "firing"
        _, slow = desk.server.wait(2)
        assert slow.labels["alertname"] == "Slow"
        assert slow.time - began < 9, "its ten seconds began anew"
        desk.dial(hot=50, job=0.0)
        desk.server.wait(4)
        assert agent.end() == 0
    assert sorted(desk.server.seen()[2:]) == [("Hot", "resolved"), ("Slow", "resolved")]
    assert len(desk.server.received) == 4
    assert len({one.webhook_id for one in desk.server.received}) == 4


def pending_seconds(desk: Desk) -> float:
    """For how long the database knows that Slow was seen to be pending."""
    with closing(sqlite3.connect(f"file:{desk.database()}?mode=ro", uri=True)) as database:
        (active,) = database.execute(
            "select min(active_time) from flyball_alert where status = 'pending'"
        ).fetchone()
        (seen,) = database.execute("select evaluated_time from flyball_agent").fetchone()
        return float(seen - active) if active and seen else 0.0


def test_what_a_receiver_missed_arrives_when_it_is_back(desk: Desk) -> None:
    desk.server.status = 503
    desk.dial(hot=95)
    with desk.agent() as agent:
        agent.url()
        desk.server.until(lambda: desk.server.refused >= 1)
        desk.dial(hot=50)
        desk.server.until(lambda: desk.server.refused >= 2)
        assert desk.server.received == []
        desk.server.status = 200
        desk.server.wait(2)
        assert agent.end() == 0
    assert desk.server.seen() == [("Hot", "firing"), ("Hot", "resolved")]


def test_a_reload_takes_other_rules_and_receivers_and_a_bad_file_keeps_the_old_ones(desk: Desk) -> None:
    (desk.folder / "token").write_text(TOKEN, "utf-8")
    more = "bearer_token_file: token\nallow_admin: true\n"
    desk.dial(hot=95, job=1.0)
    with webhook_server() as other, desk.agent(more) as agent:
        base = agent.url()
        with httpx2.Client(
            base_url=base, headers={"authorization": f"Bearer {TOKEN}"}, timeout=PATIENCE_SECONDS
        ) as client:
            desk.server.wait(1)
            desk.rules(HOT.replace("above: 90", "abov: 90"), SLOW.replace("metric: loss", "metric: los"))
            answer = client.post("/-/reload")
            assert (answer.status_code, answer.json()["successful"]) == (400, False)
            faults = answer.json()["error"]
            for fault in ("rules.yaml:4: ", "abov", "rules.yaml:8: ", "did you mean loss"):
                assert fault in faults
            assert [one["rule"] for one in client.get("/api/v1/alerts").json()] == ["Hot"]
            desk.rules(SLOW.replace("3s", "0s"))
            agent.write(desk.text(more).replace(desk.server.url, other.url))
            assert client.post("/-/reload").json() == {"successful": True, "error": "", "needs_restart": []}
            # The end of Hot may come there first.
            other.until(lambda: ("Slow", "firing") in other.seen())
            assert agent.end() == 0
        assert set(desk.server.seen()) <= {("Hot", "firing"), ("Hot", "resolved")}


@pytest.mark.parametrize("removed", ["file", "folder"])
def test_a_database_that_is_removed_is_begun_anew_with_what_stands(desk: Desk, removed: str) -> None:
    desk.rules(HOT, SLOW.replace("3s", "0s"), SLOW.replace("Slow", "Later").replace("3s", "1h"))
    desk.dial(hot=95)
    with desk.agent() as agent:
        url = agent.url()
        desk.server.wait(1)
        name = fingerprint(LABELS)
        until(lambda: get(url, f"alerts/{name}")["notifications"][0]["outcome"] == "delivered")
        desk.server.status = 503
        desk.dial(hot=95, job=1.0)  # fires while the receiver is away
        desk.server.until(lambda: desk.server.refused >= 1)
        if removed == "file":
            desk.database().unlink()
        else:
            shutil.rmtree(desk.folder / "state")
        agent.line("the database of alerts was removed; another one goes on with what is not over")
        assert recorded(desk) == {"Hot": "firing", "Slow": "firing", "Later": "pending"}
        desk.server.status = 200
        desk.server.wait(2)
        desk.dial(hot=50, job=0.0)
        desk.server.wait(4)
        until(lambda: set(recorded(desk).values()) == {"resolved", "dropped"})
        assert agent.end() == 0
    seen = desk.server.seen()
    assert seen[:2] == [("Hot", "firing"), ("Slow", "firing")]
    assert sorted(seen[2:]) == [("Hot", "resolved"), ("Slow", "resolved")]
    with desk.agent() as agent:
        assert get(agent.url(), "alerts") == []
        assert agent.end() == 0
    assert len(desk.server.received) == 4


def test_a_database_that_cannot_be_written_is_seen_from_outside_and_loses_nothing(desk: Desk) -> None:
    desk.dial(hot=50)
    state = desk.folder / "state"
    with desk.agent() as agent:
        url = agent.url()
        until(lambda: up(url) == 1.0)
        shutil.rmtree(state)
        state.touch()  # neither the file nor its folder can be made
        desk.dial(hot=95)
        until(lambda: up(url) == 0.0 and statuses(url) == {"Hot": "firing"})
        assert desk.server.received == []
        state.unlink()
        desk.server.wait(1)
        until(lambda: up(url) == 1.0)
        assert agent.end() == 0
    assert desk.server.seen() == [("Hot", "firing")]


def up(url: str) -> float:
    (line,) = re.findall(r"^flyball_alert_database_up (\S+)$", fetch(f"{url}/metrics").text, re.MULTILINE)
    return float(line)


def recorded(desk: Desk) -> dict[str, str]:
    """The alerts of the file that is there now."""
    with closing(sqlite3.connect(f"file:{desk.database()}?mode=ro", uri=True)) as database:
        return dict(database.execute("select rule, status from flyball_alert order by id"))


def test_no_policies_make_no_database(desk: Desk) -> None:
    desk.dial(hot=95)
    text = desk.text().replace("[rules.yaml]", "[]")
    with running(desk.folder, text, PROGRAM) as agent:
        url = agent.url()
        agent.until("collector up", 3)
        assert get(url, "alerts") == []
        assert agent.end() == 0
    assert not desk.database().exists()
    assert desk.server.received == []


def test_without_a_receiver_it_says_so_once_and_records_all_the_same(desk: Desk) -> None:
    desk.dial(hot=95)
    with desk.agent(receivers="") as agent:
        url = agent.url()
        until(lambda: statuses(url) == {"Hot": "firing"})
        until(lambda: fetch(f"{url}/api/v1/alerts/{fingerprint(LABELS)}").status_code == 200)
        assert agent.end() == 0
    lines = [*agent.lines, *left(agent)]
    assert len([line for line in lines if "no receiver" in line]) == 1


def test_a_trial_raises_nothing(desk: Desk) -> None:
    desk.rules(SLOW.replace("3s", "0s"))
    journals = {purpose: OwnJournal(desk.folder / "runs", purpose, purpose) for purpose in ("trial", "run")}
    with desk.agent() as agent:
        url = agent.url()
        for journal in journals.values():
            journal.begin()
            journal.step(1)
        (told,) = desk.server.wait(1)
        assert told.labels["run"] == "run"
        assert {one["purpose"] for one in get(url, "runs")} == {"trial", "run"}
        assert [one["labels"]["run"] for one in get(url, "alerts")] == ["run"]
        assert agent.end() == 0
    assert len(desk.server.received) == 1


def test_a_tuning_request_is_held_with_what_it_takes_to_tune_the_run(desk: Desk) -> None:
    desk.rules(SLOW.replace("3s", "0s"))
    journal = OwnJournal(desk.folder / "runs", "job")
    journal.begin()
    with desk.agent("tuning_request_seconds: 0\n") as agent:
        url = agent.url()
        journal.step(1)
        desk.server.wait(1)
        (request,) = until(lambda: get(url, "tuning_requests"))
        agent.line("tuning request held")
        assert get(url, f"tuning_requests/{request['id']}") == request
        # It fires on, and asks no second time.
        journal.step(2, loss=2.0)
        until(lambda: get(url, "runs")[0]["step"] == 2)
        assert len(get(url, "tuning_requests")) == 1
        assert agent.end() == 0
    document = request["document"]
    assert (request["rule"], request["run"], request["taken_time"]) == ("Slow", "job", None)
    assert (document["command"], document["working_directory"]) == (COMMAND, "/srv/job")
    assert document["config"] == {"train_micro_batch_size_per_gpu": 4}
    assert document["alert"]["suggests"] == ["micro_batch"]
    assert document["telemetry"]['flyball_loss{run="job",rank="0"}'] == 1.0


def test_a_serving_run_is_advised_a_batch_size(desk: Desk) -> None:
    journal = OwnJournal(desk.folder / "runs", "serve")
    journal.begin()
    with desk.agent() as agent:
        url = agent.url()
        for waiting, size in ((10, 80), (1000, 256)):
            journal.write("queue", queue_length=waiting, running=4)
            until(lambda waiting=waiting: advised(url).get("queue_length") == waiting)
            assert (advised(url)["run"], advised(url)["batch_size"]) == ("serve", size)
        assert agent.end() == 0


def advised(url: str) -> dict[str, Any]:
    found = get(url, "advice/batch_size")
    return dict(found[0]) if found else {}
