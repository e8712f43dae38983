"""A storm of alerts in the real agent: it is killed again and again, and its receiver is often down."""

import itertools
import random
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.live.agent_process import Running
from tests.live.alert_storm import Arrival, Hearer, receiver
from tests.live.scripts.agent_with_dials import Plan
from tests.live.webhook_server import SECRET
from tests.patience import PATIENCE_SECONDS

from flyball.database import open_database
from flyball.history.alert_log import AlertLog
from flyball.history.alert_records import AlertHistory, AlertStatus
from flyball.history.outbox import Outbox

PROGRAM = (sys.executable, str(Path(__file__).parent / "scripts" / "agent_with_dials.py"))
CYCLE_SECONDS = 6.0
DOWN_SECONDS = CYCLE_SECONDS / 3
RULES = """\
policies:
  - alert: Storm
    metric: gpu_power_watts
    above: 0.5
"""
CONFIG = """\
policies: [rules.yaml]
collectors:
  planned: {{interval_seconds: 0.5, series: {series}, begin: {begin}, spread_seconds: {spread_seconds}, \
high_seconds: {high_seconds}}}
  workload: {{enabled: false}}
  allocator: {{enabled: false}}
  nccl: {{enabled: false}}
receivers:
  ops: {{type: webhook, url: '{url}', private_network: true, secret_files: [ops.secret], timeout_seconds: 1}}
"""


class WebhookHearer(Hearer):
    """Hears Alertmanager's body."""

    def is_down(self) -> bool:
        """A third of the time."""
        return (time.monotonic() - self.began) % CYCLE_SECONDS > CYCLE_SECONDS - DOWN_SECONDS

    def hear(self, webhook_id: str, body: dict[str, Any]) -> int | None:
        """As its base does, whose body is another one."""
        (alert,) = body["alerts"]
        began = datetime.fromisoformat(alert["startsAt"]).timestamp()
        known = {"fingerprint": alert["fingerprint"], "active_time": began, "status": alert["status"]}
        return super().hear(webhook_id, known)


@dataclass(frozen=True)
class Outcome:
    """What came of a storm; those of ``faults`` should be zero."""

    alerts: int
    kills: int
    seconds: float
    fired: int
    """Alerts that the database says fired, more than one of a series included."""
    arrivals: int
    repeated: int
    """Arrivals of a webhook-id that had arrived before."""
    refused: int
    unanswered: int
    unseen: int
    """Series that never fired: they rose and fell while no agent lived."""
    lost: int
    """Changes that were recorded and never arrived."""
    not_over: int
    """Alerts that still stand."""
    out_of_order: int
    ids: int
    """Changes of an alert that came under more than one webhook-id."""
    not_recorded: int
    """Arrivals that the database does not know."""

    @property
    def faults(self) -> int:
        return self.lost + self.not_over + self.out_of_order + self.ids + self.not_recorded


def storm(
    folder: Path, *, alerts: int, kills: int, life_seconds: float, seed: int, high_lives: float = 4.0
) -> Outcome:
    """Kill the agent ``kills`` times, at any moment from its start; then let it end.

    Args:
        folder: an empty one.
        alerts: series, each of which raises and resolves one alert.
        kills: how many.
        life_seconds: mean of a life, from when it serves.
        seed: of the moments.
        high_lives: how long each alert lasts, in longest lives: all agents within may be killed too early.
    """
    draw, began = random.Random(seed), time.monotonic()
    hearer = WebhookHearer(draw=random.Random(seed))
    (folder / "rules.yaml").write_text(RULES, "utf-8")
    (folder / "ops.secret").write_text(SECRET, "utf-8")
    with receiver(hearer) as url:
        start_seconds = _start_seconds(folder, url)
        longest = start_seconds + 2 * life_seconds
        plan = Plan(
            series=alerts,
            begin=time.time(),
            spread_seconds=max(1.0, kills * longest / 2),
            high_seconds=max(5.0, high_lives * longest),
        )
        for _ in range(kills):
            with closing(_Life(folder, plan, url)) as life:
                life.last(draw.uniform(0.0, longest))
        with closing(_Life(folder, plan, url)) as life:
            life.last(max(0.0, plan.end + 1 - time.time()))
            _until_told(folder, time.monotonic() + PATIENCE_SECONDS)
            assert life.agent.end() == 0
    return _judged(folder, hearer, alerts=alerts, kills=kills, seconds=time.monotonic() - began)


class _Life:
    """One agent, until it is killed."""

    def __init__(self, folder: Path, plan: Plan, url: str) -> None:
        values = {name: getattr(plan, name) for name in ("series", "begin", "spread_seconds", "high_seconds")}
        self.agent = Running(folder, CONFIG.format(**values, url=url), PROGRAM)

    def last(self, seconds: float) -> None:
        """Let it live for so long."""
        try:
            self.agent.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return
        raise AssertionError(f"it ended by itself: {self.agent.lines}")

    def close(self) -> None:
        self.agent.process.kill()
        self.agent.process.wait()
        for reader in self.agent.readers:
            reader.join()


def _start_seconds(folder: Path, url: str) -> float:
    later = Plan(series=1, begin=time.time() + 3600, spread_seconds=1, high_seconds=1)
    began = time.monotonic()
    with closing(_Life(folder, later, url)) as life:
        life.agent.url()
        return time.monotonic() - began


def _until_told(folder: Path, deadline: float) -> None:
    with open_database(_url(folder)) as database:
        log, outbox = AlertLog(database), Outbox(database)
        while (log.open_alerts() or outbox.depth()) and time.monotonic() < deadline:
            time.sleep(0.5)


def _url(folder: Path) -> str:
    return f"sqlite:///{folder / 'state' / 'agent.db'}"


def _judged(folder: Path, hearer: Hearer, *, alerts: int, kills: int, seconds: float) -> Outcome:
    with open_database(_url(folder)) as database:
        log = AlertLog(database)
        found = [log.show(str(each.id)) for each in log.alerts(limit=10 * alerts)]
    histories = [each for each in found if each is not None and each.alert.fired_time is not None]
    known = {one.webhook_id for each in histories for one, _ in each.notifications}
    heard = {one.webhook_id for one in hearer.arrivals}
    return Outcome(
        alerts=alerts,
        kills=kills,
        seconds=seconds,
        fired=len(histories),
        arrivals=len(hearer.arrivals),
        repeated=len(hearer.arrivals) - len(heard),
        refused=hearer.refused,
        unanswered=hearer.unanswered,
        unseen=alerts - len({each.alert.fingerprint for each in histories}),
        lost=sum(not _told(each, heard) for each in histories),
        not_over=sum(each.alert.status is not AlertStatus.RESOLVED for each in histories),
        out_of_order=_out_of_order(hearer.arrivals),
        ids=_under_several_ids(hearer.arrivals),
        not_recorded=len(heard - known),
    )


def _told(history: AlertHistory, heard: set[str]) -> bool:
    """Whether it arrived that the alert fires and, once that is so, that it is over."""
    arrived = {one.alert.status for one, _ in history.notifications if one.webhook_id in heard}
    over = history.alert.status is AlertStatus.RESOLVED
    return AlertStatus.FIRING in arrived and (AlertStatus.RESOLVED in arrived or not over)


def _out_of_order(arrivals: list[Arrival]) -> int:
    statuses: dict[tuple[str, float], list[str]] = {}
    for one in arrivals:
        statuses.setdefault((one.fingerprint, one.active_time), []).append(one.status)
    orders = ([status for status, _ in itertools.groupby(each)] for each in statuses.values())
    return sum(order not in (["firing"], ["firing", "resolved"]) for order in orders)


def _under_several_ids(arrivals: list[Arrival]) -> int:
    ids: dict[tuple[str, float, str], set[str]] = {}
    for one in arrivals:
        ids.setdefault((one.fingerprint, one.active_time, one.status), set()).add(one.webhook_id)
    return sum(len(each) > 1 for each in ids.values())
