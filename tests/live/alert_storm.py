"""A storm of alerts: a process that raises them is killed again and again, and its receiver is often down."""

import itertools
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.live.posts import serving

from flyball.database import open_database
from flyball.history.alert_log import AlertLog
from flyball.history.outbox import Outbox

SCRIPT = Path(__file__).parent / "scripts" / "alert_storm.py"
CYCLE_SECONDS = 1.5
DOWN_SECONDS = CYCLE_SECONDS / 3


@dataclass(frozen=True)
class Arrival:
    """A notification as it came in."""

    webhook_id: str
    fingerprint: str
    active_time: float
    status: str


@dataclass
class Hearer:
    """What the receiver heard, also where it gave no answer."""

    draw: random.Random
    arrivals: list[Arrival] = field(default_factory=list)
    refused: int = 0
    unanswered: int = 0
    began: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def is_down(self) -> bool:
        return (time.monotonic() - self.began) % CYCLE_SECONDS > CYCLE_SECONDS - DOWN_SECONDS

    def hear(self, webhook_id: str, body: dict[str, Any]) -> int | None:
        """Return the status to answer with; None for no answer at all."""
        with self.lock:
            how = self.draw.choice(("refuse", "take and say nothing")) if self.is_down() else "take"
            if how == "refuse":
                self.refused += 1
                return 503
            self.arrivals.append(
                Arrival(webhook_id, body["fingerprint"], body["active_time"], body["status"])
            )
            self.unanswered += how != "take"
            return 200 if how == "take" else None


@contextmanager
def receiver(hearer: Hearer) -> Iterator[str]:
    """Serve on a free port; yield the URL."""

    def take(body: bytes, headers: Mapping[str, str]) -> int | None:
        return hearer.hear(headers["webhook-id"], json.loads(body))

    with serving(take) as url:
        yield f"{url}/"


@dataclass(frozen=True)
class Outcome:
    """What came of a storm; all but the first four should be zero."""

    alerts: int
    kills: int
    arrivals: int
    repeated: int
    """Arrivals of a webhook-id that had arrived before."""
    refused: int
    unanswered: int
    never_fired: int
    never_resolved: int
    out_of_order: int
    ids: int
    """Changes of an alert that came under more than one webhook-id."""
    raised_twice: int
    """Alerts that came and went more than once in the database."""
    not_recorded: int
    """Arrivals of alerts that the database does not know."""
    waiting: int

    @property
    def faults(self) -> int:
        return sum(
            (
                self.never_fired,
                self.never_resolved,
                self.out_of_order,
                self.ids,
                self.raised_twice,
                self.not_recorded,
                self.waiting,
            )
        )


def storm(folder: Path, *, alerts: int, kills: int, life_seconds: float, seed: int, url: str = "") -> Outcome:
    """Kill the raising process ``kills`` times, at moments up to twice ``life_seconds``; then let it end."""
    draw = random.Random(seed)
    url = url or f"sqlite:///{folder / 'agent.db'}"
    hearer = Hearer(draw=random.Random(seed))
    # So that the alerts last for nearly all the lives.
    per_second = 2.0 * alerts / max(1.0, kills * life_seconds)
    with receiver(hearer) as to:
        for number in range(kills + 1):
            arguments = [url, to, str(alerts), str(per_second), str(seed + number)]
            with (folder / "log").open("a") as log:
                process = subprocess.Popen(
                    [sys.executable, str(SCRIPT), *arguments], stdout=subprocess.PIPE, stderr=log
                )
            with process:
                assert process.stdout is not None
                assert process.stdout.readline() == b"ready\n", (folder / "log").read_text()
                try:
                    process.wait(draw.uniform(0.0, 2 * life_seconds) if number < kills else 240.0)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    assert number < kills, "it did not end"
                else:
                    assert process.returncode == 0, (folder / "log").read_text()[-4000:]
    return judged(url, hearer, alerts=alerts, kills=kills)


def judged(url: str, hearer: Hearer, *, alerts: int, kills: int) -> Outcome:
    """Hold what was heard against what was recorded."""
    with open_database(url) as database:
        log = AlertLog(database, agent="storm")
        episodes = [(each.alert.fingerprint, each.alert.active_time) for each in log.alerts()]
        waiting = Outbox(database, agent="storm").depth()
    heard: dict[tuple[str, float], list[str]] = {each: [] for each in episodes}
    ids: dict[tuple[str, float, str], set[str]] = {}
    strange = 0
    for one in hearer.arrivals:
        key = one.fingerprint, one.active_time
        strange += key not in heard
        heard.setdefault(key, []).append(one.status)
        ids.setdefault((*key, one.status), set()).add(one.webhook_id)
    seen = {one.webhook_id for one in hearer.arrivals}
    return Outcome(
        alerts=alerts,
        kills=kills,
        arrivals=len(hearer.arrivals),
        repeated=len(hearer.arrivals) - len(seen),
        refused=hearer.refused,
        unanswered=hearer.unanswered,
        never_fired=alerts - sum("firing" in each for each in heard.values()),
        never_resolved=alerts - sum("resolved" in each for each in heard.values()),
        out_of_order=sum(not in_order(each) for each in heard.values()),
        ids=sum(len(each) > 1 for each in ids.values()),
        raised_twice=len(episodes) - len({name for name, _ in episodes}),
        not_recorded=strange,
        waiting=waiting,
    )


def in_order(statuses: Sequence[str]) -> bool:
    """Whether an alert's end came after all of its beginnings: each repeated next to itself at most."""
    return [status for status, _ in itertools.groupby(statuses)] == ["firing", "resolved"]
