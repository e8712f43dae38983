"""The in-band ping-pong: now and then, at a step boundary, a live job measures the latency of its own links.

It is off unless ``ping_every_steps`` asks for it, and it is the one part of the probe that waits: for a peer,
and on CUDA for messages on a stream of its own. Messages go over a process group of their own, 8 bytes each,
between disjoint pairs of ranks, another pairing at each event, so that a cycle of events covers every link.

Nobody enters an exchange alone. The group is made only when every rank has said that it will, the same way,
at the same place of its program. Before each exchange the two ranks meet in the job's store; who waits in
vain switches the ping off on all ranks, and so does a fault, or a probe that has switched itself off.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from time import monotonic
from typing import Any

from flyball.runner.probe.agreement import Agreement
from flyball.runner.probe.exchange import ACKNOWLEDGEMENT_BYTES, Exchange, one_way, pairs
from flyball.runner.probe.latency import LATENCIES
from flyball.runner.probe.meter import Meter
from flyball.runner.probe.watch import Probe

WARM_UP_ROUNDS = 5
ROUNDS = 20
AGREE_SECONDS = 30.0
"""That ranks wait for one another when the first engine begins."""
MEET_SECONDS = 5.0
"""That a rank waits for its peer at a boundary."""
EXCHANGE_SECONDS = 60.0
"""After which gloo gives up a message whose other end is gone; NCCL would end the process: no limit."""
PREFIX = "flyball_ping"


def begin(probe: Probe, engine: Any, meter: Meter) -> None:
    """Ping at the boundaries of the first engine, where the settings ask for it and every rank agrees."""
    every = probe.settings.ping_every_steps
    distributed = sys.modules["torch"].distributed
    if every <= 0 or probe.engines or not distributed.is_initialized() or distributed.get_world_size() < 2:
        return
    try:
        ping = Ping.agreed(probe, engine.device, every)
    except Exception as error:  # before there is a group nothing has been changed
        _report(probe, reason=f"{type(error).__name__}: {error}")
        return
    if ping is None:
        _report(probe, reason="the ranks do not agree: not all of them are watched, or by other settings")
        return
    _report(probe, every_steps=every, ranks=distributed.get_world_size())
    meter.at_step.append(lambda _: ping.boundary(meter))


def _report(probe: Probe, **value: Any) -> None:
    probe.say("witness", knob="ping", value=value)


class Ping:
    """The ping-pong of one rank."""

    def __init__(self, probe: Probe, agreement: Agreement, exchange: Exchange, every: int) -> None:
        self._probe, self._agreement, self._exchange, self._every = probe, agreement, exchange, every
        distributed = sys.modules["torch"].distributed
        self._rank, self._world_size = distributed.get_rank(), distributed.get_world_size()
        self._on = True

    @classmethod
    def agreed(cls, probe: Probe, device: Any, every: int) -> Ping | None:
        """Make the group on all ranks, or on none."""
        torch = sys.modules["torch"]
        distributed = torch.distributed
        world = distributed.distributed_c10d
        store = distributed.PrefixStore(PREFIX, world._get_default_store())
        agreement = Agreement(store, distributed.get_rank(), distributed.get_world_size())
        # Groups are named by their number: one made at another place would lose the user's next ones.
        said = f"{every} {distributed.get_backend()} {world._world.group_count}"
        if not agreement.all_say(said, AGREE_SECONDS):
            return None
        limit = {} if device.type == "cuda" else {"timeout": timedelta(seconds=EXCHANGE_SECONDS)}
        exchange = Exchange(torch, distributed.new_group(**limit), device)
        exchange.open()
        return cls(probe, agreement, exchange, every)

    def boundary(self, meter: Meter) -> None:
        """At a boundary that is not counted yet; the time that it takes is no step's."""
        if not self._on or (meter.step + 1) % self._every:
            return
        begun = monotonic()
        try:
            self._event((meter.step + 1) // self._every)
        except Exception as error:  # the workload must not see it
            self._switch_off(f"{type(error).__name__}: {error}")
        meter.paused += monotonic() - begun

    def _event(self, number: int) -> None:
        if not self._probe.watching:
            self._switch_off("the probe is off")
            return
        if self._agreement.over:
            self._switch_off("another rank has stopped")
            return
        mine = next((pair for pair in pairs(self._world_size, number - 1) if self._rank in pair), None)
        if mine is None:
            return
        if not self._agreement.meet(f"{number}/{mine[0]}-{mine[1]}", MEET_SECONDS):
            late = f"rank {sum(mine) - self._rank} did not come within {MEET_SECONDS:g} s"
            self._switch_off("another rank has stopped" if self._agreement.over else late)
            return
        self._measure(*mine)

    def _measure(self, leader: int, follower: int) -> None:
        leads = self._rank == leader
        peer = follower if leads else leader
        found = self._exchange.round_trips(peer, ACKNOWLEDGEMENT_BYTES, WARM_UP_ROUNDS + ROUNDS, leads=leads)
        if leads:
            for seconds in one_way(found[WARM_UP_ROUNDS:], ACKNOWLEDGEMENT_BYTES, 0.0):
                LATENCIES.message(leader, follower, ACKNOWLEDGEMENT_BYTES, "in_band", seconds)

    def _switch_off(self, reason: str) -> None:
        self._on = False
        try:
            self._agreement.stop()
        except Exception as error:  # the store is gone, and the job with it
            reason = f"{reason}; {type(error).__name__}"
        _report(self._probe, reason=reason)
