"""Sends messages to and fro between two ranks and times them. Standard library and torch only.

It is also loaded by its path, by the worker of ``flyball p2p``, so that a live job and a check before it
measure the same thing.

A message of 8 bytes is answered by one of its own size, and half of the round trip is its one-way time:
clocks of two hosts cannot tell the two directions apart. A larger message is answered by 8 bytes, whose
one-way time is taken off, so that its time is that of one direction.

On CPU the host's clock is read around every round trip. On CUDA nothing is read while messages are under way:
events are recorded on a stream of our own between round trips, behind a kernel that only waits, so that the
device never waits for the host to enqueue the next message.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

ACKNOWLEDGEMENT_BYTES = 8
HEAD_START_CYCLES = 500_000
"""That a device spins for each round trip that is enqueued: some 250 microseconds."""


class Exchange:
    """Two-way traffic of one rank over one process group, on one device."""

    def __init__(self, torch: Any, group: Any, device: Any) -> None:
        self._torch, self._group, self._device = torch, group, device
        self._on_device = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if self._on_device else None
        self._buffers: dict[int, Any] = {}

    def send(self, tensor: Any, peer: int) -> None:
        """One message to a global rank."""
        distributed = self._torch.distributed
        if not self._on_device:
            distributed.send(tensor, peer, group=self._group)
            return
        # As a batch it goes over the group's own communicator; alone it would make one for every pair.
        operation = distributed.P2POp(distributed.isend, tensor, peer, self._group)
        for work in distributed.batch_isend_irecv([operation]):
            work.wait()

    def receive(self, tensor: Any, peer: int) -> None:
        """One message from a global rank."""
        distributed = self._torch.distributed
        if not self._on_device:
            distributed.recv(tensor, peer, group=self._group)
            return
        operation = distributed.P2POp(distributed.irecv, tensor, peer, self._group)
        for work in distributed.batch_isend_irecv([operation]):
            work.wait()

    def open(self) -> None:
        """Connect the group: every member calls it, once, before its first message."""
        tensor = self._torch.zeros(1, device=self._device)
        if self._stream is None:
            self._torch.distributed.all_reduce(tensor, group=self._group)
            return
        with self._torch.cuda.stream(self._stream):
            self._torch.distributed.all_reduce(tensor, group=self._group)
            self._stream.synchronize()

    def round_trips(self, peer: int, size_bytes: int, rounds: int, *, leads: bool) -> list[float]:
        """Seconds of each of ``rounds`` round trips with ``peer``, which calls this at the same time.

        Args:
            peer: a global rank.
            size_bytes: of the leading rank's message; the answer is one of ACKNOWLEDGEMENT_BYTES.
            rounds: at least 1, the same on both sides.
            leads: whether this rank sends first. Only the leader's times mean anything.
        """
        message, answer = self._buffer(size_bytes), self._buffer(ACKNOWLEDGEMENT_BYTES, 1)
        turn = (self._leading if leads else self._following)(message, answer, peer)
        return self._timed_on_device(turn, rounds) if self._on_device else _timed(turn, rounds)

    def _buffer(self, size_bytes: int, number: int = 0) -> Any:
        key = size_bytes * 2 + number
        if key not in self._buffers:
            self._buffers[key] = self._torch.zeros(size_bytes, dtype=self._torch.uint8, device=self._device)
        return self._buffers[key]

    def _leading(self, message: Any, answer: Any, peer: int) -> Callable[[], None]:
        def turn() -> None:
            self.send(message, peer)
            self.receive(answer, peer)

        return turn

    def _following(self, message: Any, answer: Any, peer: int) -> Callable[[], None]:
        def turn() -> None:
            self.receive(message, peer)
            self.send(answer, peer)

        return turn

    def _timed_on_device(self, turn: Callable[[], None], rounds: int) -> list[float]:
        cuda = self._torch.cuda
        events = [cuda.Event(enable_timing=True) for _ in range(rounds + 1)]
        with cuda.stream(self._stream):
            cuda._sleep(HEAD_START_CYCLES * (rounds + 1))
            events[0].record()
            for event in events[1:]:
                turn()
                event.record()
        events[-1].synchronize()
        return [before.elapsed_time(after) / 1e3 for before, after in zip(events, events[1:])]


def _timed(turn: Callable[[], None], rounds: int) -> list[float]:
    times = []
    for _ in range(rounds):
        begun = perf_counter()
        turn()
        times.append(perf_counter() - begun)
    return times


def one_way(round_trips: list[float], size_bytes: int, acknowledgement: float) -> list[float]:
    """One-way seconds of messages from their round trips.

    Args:
        round_trips: seconds.
        size_bytes: of the messages.
        acknowledgement: one-way seconds of 8 bytes, taken off where the message is larger, at most half.
    """
    if size_bytes <= ACKNOWLEDGEMENT_BYTES:
        return [seconds / 2 for seconds in round_trips]
    # A larger message takes no less than its answer: a busy moment while the answer's time was taken must not
    # make nothing of it.
    return [max(seconds - acknowledgement, seconds / 2) for seconds in round_trips]


def pairs(ranks: int, turn: int) -> list[tuple[int, int]]:
    """Disjoint pairs of one turn of a round-robin tournament (the circle method).

    In as many turns as there are ranks, less one where that is even, every pair comes once. With an odd
    number one rank has no peer. Who leads changes from one tournament to the next.
    """
    size = ranks + ranks % 2
    if size < 2:
        return []
    tournament, turn = divmod(turn, size - 1)
    circle = [0, *((place + turn) % (size - 1) + 1 for place in range(size - 1))]
    found = [(circle[place], circle[size - 1 - place]) for place in range(size // 2)]
    found = [(min(pair), max(pair)) for pair in found if max(pair) < ranks]
    return [pair[::-1] for pair in found] if tournament % 2 else found
