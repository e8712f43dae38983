"""The storm of `agent_storm` against a real Alertmanager, for the record: it is killed, its client is not.

python tests/benchmarks alertmanager_storm [--alerts 1000] [--kills 100] [--life 2] [--seed 0]

The alerts come as Prometheus sends them: again and again while they fire, and for a while after. The
receiver is down a third of the time. Alertmanager has no id for a notification, so repeats are counted by
what they say.
"""

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import httpx2
from tests.live.agent_storm import WebhookHearer
from tests.live.alert_storm import receiver
from tests.live.alertmanager_process import alertmanager
from tests.live.scripts.agent_with_dials import Plan
from tests.live.test_workload import free_port

RESEND_SECONDS = 5.0
TOLD_SECONDS = 60.0
"""How long after its end an alert is still sent, and how long the last life has."""


def stamp(seconds: float) -> str:
    """As the API writes times."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def posts(plan: Plan, now: float) -> list[dict[str, object]]:
    """What a client sends now."""
    found: list[dict[str, object]] = []
    for number, begin in enumerate(plan.rises):
        over = begin + plan.high_seconds
        if begin <= now < over + TOLD_SECONDS:
            end = over if over <= now else now + 4 * RESEND_SECONDS
            labels = {"alertname": "Storm", "gpu": str(number)}
            found.append({"labels": labels, "startsAt": stamp(begin), "endsAt": stamp(end)})
    return found


def send(plan: Plan, url: str, stop: threading.Event) -> None:
    """Send until told to stop; what does not arrive is sent the next time."""
    with httpx2.Client(timeout=2.0) as client:
        while not stop.wait(1.0):
            alerts = posts(plan, time.time())
            try:
                client.post(f"{url}/api/v2/alerts", json=alerts)
            except httpx2.HTTPError:
                continue


def main() -> int:
    """Run one storm and print what arrived; nothing is asked of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alerts", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--life", type=float, default=2.0, help="mean seconds from serving to a kill")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    command = shutil.which("prometheus-alertmanager") or "alertmanager"
    folder, draw = Path(tempfile.mkdtemp(prefix="flyball-am-storm-")), random.Random(arguments.seed)
    hearer, address, stop = WebhookHearer(draw=draw), f"127.0.0.1:{free_port()}", threading.Event()
    plan = Plan(
        series=arguments.alerts,
        begin=time.time(),
        spread_seconds=max(1.0, arguments.kills * (arguments.life + 1)),
        high_seconds=max(5.0, 8 * arguments.life),
    )
    sender = threading.Thread(target=send, args=(plan, f"http://{address}", stop))
    with receiver(hearer) as url:
        sender.start()
        for number in range(arguments.kills + 1):
            with alertmanager(
                command, folder / "am", webhook_url=url, external_url="http://am:9093", address=address
            ):
                last = max(0.0, plan.end + TOLD_SECONDS - time.time())
                time.sleep(draw.uniform(0, 2 * arguments.life) if number < arguments.kills else last)
        stop.set()
        sender.join()
    told = Counter((one.fingerprint, one.status) for one in hearer.arrivals)
    fired = {name for name, status in told if status == "firing"}
    over = {name for name, status in told if status == "resolved"}
    print(f"alerts {arguments.alerts}, kills {arguments.kills}, arrivals {len(hearer.arrivals)}")
    print(f"said more than once {sum(count - 1 for count in told.values())}")
    print(f"never told that it fires {arguments.alerts - len(fired)}")
    print(f"never told that it is over {len(fired - over)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
