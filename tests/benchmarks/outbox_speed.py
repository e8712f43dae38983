"""How fast alerts are recorded, and delivered to one receiver on this machine.

python tests/benchmarks outbox_speed [--alerts 2000] [--db URL]
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable
from typing import TypeVar

from tests.history.alert_fakes import alert, change, resolved
from tests.live.alert_storm import Hearer, receiver
from tests.live.scripts.alert_storm import Http

from flyball.agent.daemon.logs import Lines
from flyball.database import Database, open_database
from flyball.history.alert_log import AlertLog
from flyball.history.alert_records import Notification
from flyball.history.mute_log import MuteLog
from flyball.history.outbox import Outbox
from flyball.policies.notification.base import Answer, Delivered, Receiver
from flyball.policies.notification.dedup import everything
from flyball.policies.notification.deliverer import Deliverer, Target
from flyball.policies.notification.recorder import Recorder
from flyball.policies.notification.tally import Tally

T = TypeVar("T")


class Steady(Hearer):
    """A receiver that is never down."""

    def is_down(self) -> bool:
        """Never."""
        return False


async def run(job: Callable[[], T], /) -> T:
    """Call the database beside the event loop."""
    return await asyncio.to_thread(job)


class Instant:
    """Takes everything at once: what is left is the outbox's own time."""

    name = "storm"

    async def send(self, notification: Notification) -> Answer:
        """Take it."""
        del notification
        return Delivered()

    async def close(self) -> None:
        """Nothing to close."""


async def measure(database: Database, to: Receiver, count: int, what: str) -> None:
    """Record and deliver ``count`` alerts that fire and resolve; print what it took."""
    log, outbox, tally = AlertLog(database, agent=what), Outbox(database, agent=what), Tally()
    words = Lines()
    deliverer = Deliverer(log, outbox, MuteLog(database), run=run, log=words, tally=tally)
    recorder = Recorder(
        log, receivers=lambda: {"storm": everything}, added=deliverer.wake, run=run, log=words, tally=tally
    )
    recorder.start()
    names = [f"{number:016x}" for number in range(count)]
    for made in (alert, resolved):
        began = time.perf_counter()
        recorder.submit([change(made(name)) for name in names], evaluated_time=time.time())
        while tally.unrecorded:
            await asyncio.sleep(0.005)
        print(f"{count} transitions recorded in {time.perf_counter() - began:.2f} s", flush=True)
    began = time.perf_counter()
    await deliverer.apply([Target(receiver=to)])
    while await run(outbox.depth):
        await asyncio.sleep(0.05)
    seconds = time.perf_counter() - began
    print(f"{2 * count} {what} in {seconds:.1f} s: {2 * count / seconds:.0f} a second", flush=True)
    await deliverer.stop()
    await recorder.stop()


async def measured(database: Database, make: Callable[[], Receiver], count: int, what: str) -> None:
    """Measure one kind of receiver, which is made in the event loop."""
    await measure(database, make(), count, what)


def main() -> int:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alerts", type=int, default=2000)
    parser.add_argument("--db", default="", help="URL of an empty database; by default a SQLite file")
    arguments = parser.parse_args()
    url = arguments.db or f"sqlite:///{tempfile.mkdtemp(prefix='flyball-outbox-')}/agent.db"
    with open_database(url) as database, receiver(Steady(draw=random.Random(0))) as address:
        for what, to in (("taken by nobody", Instant), ("delivered over HTTP", lambda: Http(address))):
            asyncio.run(measured(database, to, arguments.alerts, what))
    return 0


if __name__ == "__main__":
    sys.exit(main())
