"""One rank of ``flyball p2p``: measures every link that it leads, and says what all ranks found.

Any launcher runs it, with any interpreter that has torch; nothing of flyball is imported but ``exchange.py``
and ``latency.py`` of ``runner/probe``, by their paths. Ranks take turns through the rendezvous store, so that
the links at rest are at rest. What was found goes to stdout in marked lines, from one rank of each host.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import socket
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from statistics import median
from typing import Any

MARK = "flyball-p2p"
LINE_BYTES = 3000
"""Below PIPE_BUF, so that lines of several ranks do not mix."""
PASSES = 3
"""Times that every link is visited: a busy moment is in one pass, a slow link in all."""
SUSPECT_RATIO = 1.5
"""To a fast link at the same size: from there on a link is visited as many times again, since on a busy host
even three passes may all fall into busy moments."""
WARM_UP_ROUNDS = 3
FEWEST_ROUNDS = 3
MOST_ROUNDS = {"nccl": 200, "gloo": 1000}
"""A device is sent all rounds of a pass ahead of time, so they are fewer there."""
SECONDS_A_SIZE = 0.1
"""Of one link in one pass."""
RANK_VARIABLES = {
    "RANK": ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"),
    "WORLD_SIZE": ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS"),
    "LOCAL_RANK": ("OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"),
}


class Refused(Exception):
    """The ranks cannot measure what was asked for; says why in one line."""


def load_probe(name: str) -> Any:
    """A module of ``runner/probe`` that needs nothing else of it, as a module of its own."""
    here = os.path.dirname(os.path.abspath(__file__))
    path = os.path.join(os.path.dirname(here), "probe", f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"flyball_p2p_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def say(rank: int, document: Mapping[str, Any]) -> None:
    """Write a document to stdout in marked lines."""
    text = json.dumps(document, separators=(",", ":"))
    parts = [text[start : start + LINE_BYTES] for start in range(0, len(text), LINE_BYTES)]
    for number, part in enumerate(parts, 1):
        os.write(1, f"{MARK} {rank} {number}/{len(parts)} {part}\n".encode())


def place() -> tuple[int, int, int]:
    """``(rank, world size, local rank)`` as the launcher says; MPI's and Slurm's names are understood."""
    for name, others in RANK_VARIABLES.items():
        if name not in os.environ:
            found = next((os.environ[other] for other in others if other in os.environ), None)
            if found is None:
                raise Refused(f"the launcher sets no {name}; use torchrun, deepspeed, mpirun or srun")
            os.environ[name] = found
    if "MASTER_ADDR" not in os.environ:
        raise Refused("the launcher sets no MASTER_ADDR; set it, and MASTER_PORT, to a port of rank 0's host")
    os.environ.setdefault("MASTER_PORT", "29500")
    rank, world_size, local_rank = (int(os.environ[name]) for name in RANK_VARIABLES)
    return rank, world_size, local_rank


def choose_backend(wanted: str, ranks: Sequence[Mapping[str, Any]]) -> str:
    """The backend that all ranks take, from what each of them says of itself.

    Raises:
        Refused: NCCL was asked for, and some host has fewer GPUs than ranks.
    """
    crowds: dict[str, int] = {}
    for rank in ranks:
        crowds[rank["host"]] = crowds.get(rank["host"], 0) + 1
    short = [rank for rank in ranks if rank["gpus"] < crowds[rank["host"]]]
    if not short:
        return "nccl" if wanted == "auto" else wanted
    if wanted != "nccl":
        return "gloo"
    host, gpus = short[0]["host"], short[0]["gpus"]
    raise Refused(
        f"{host} has {crowds[host]} ranks and {gpus} GPUs for torch; NCCL refuses two ranks on one GPU: "
        "start a rank for each GPU, or take --backend gloo"
    )


class Worker:
    """One rank, connected to all the others."""

    def __init__(self, torch: Any, options: argparse.Namespace) -> None:
        self.torch, self.options = torch, options
        self.exchange_module, self.latency_module = load_probe("exchange"), load_probe("latency")
        self.rank, self.world_size, self.local_rank = place()
        if self.world_size < 2:
            raise Refused("there is one rank and so no link; start at least two")
        self.limit = timedelta(seconds=options.timeout)
        from torch.distributed.rendezvous import rendezvous

        store, _, _ = next(rendezvous("env://", timeout=self.limit))
        self.store = torch.distributed.PrefixStore("flyball_p2p", store)
        self.ranks = self._introduce()
        self.backend = choose_backend(options.backend, self.ranks)
        device = torch.device("cuda", self.local_rank) if self.backend == "nccl" else torch.device("cpu")
        if self.backend == "nccl":
            torch.cuda.set_device(device)
        torch.distributed.init_process_group(
            self.backend,
            store=torch.distributed.PrefixStore("flyball_p2p_group", store),
            rank=self.rank,
            world_size=self.world_size,
            timeout=self.limit,
        )
        self.exchange = self.exchange_module.Exchange(torch, None, device)
        self.exchange.open()
        self.turns = self._turns()
        self.found: dict[tuple[int, int], list[list[float]]] = {}
        """Seconds by pass, of the links that this rank leads: by follower and size."""
        self.links: dict[tuple[int, int], list[dict[str, Any]]] = {}
        """What all ranks found: by leader and follower."""

    def _introduce(self) -> list[dict[str, Any]]:
        gpus = self.torch.cuda.device_count() if self.torch.cuda.is_available() else 0
        name = self.torch.cuda.get_device_name(self.local_rank) if self.local_rank < gpus else "cpu"
        own = {"host": socket.gethostname(), "gpus": gpus, "device": name}
        self._tell(f"rank/{self.rank}", own)
        return [self._hear(f"rank/{rank}") for rank in range(self.world_size)]

    def _tell(self, key: str, value: Any) -> None:
        self.store.set(key, json.dumps(value))

    def _hear(self, key: str) -> Any:
        self.store.wait([key], self.limit)
        return json.loads(self.store.get(key))

    def measure(self) -> None:
        """Take part in every link of this rank, in the order that all ranks keep."""
        self._visit_all(0, self.turns)
        found = self._tell_and_hear(0)
        again = suspects(found, [rank["host"] for rank in self.ranks])
        self._visit_all(PASSES, [turn for turn in map(again.intersection, self.turns) if turn])
        self.links = self._tell_and_hear(1)

    def _visit_all(self, first: int, turns: Sequence[Collection[tuple[int, int]]]) -> None:
        """PASSES visits of the links, a turn once the one before it is over."""
        before: Collection[tuple[int, int]] = ()
        for visit in range(first, first + PASSES):
            for number, turn in enumerate(turns):
                mine = next((pair for pair in turn if self.rank in pair), None)
                if mine is not None:
                    for leader, follower in before:
                        self._hear(f"visited/{visit if number else visit - 1}/{leader}-{follower}")
                    self._visit(visit, *mine)
                before = turn

    def _tell_and_hear(self, when: int) -> dict[tuple[int, int], list[dict[str, Any]]]:
        """What all ranks found so far, by link; all have made their visits by then."""
        for follower in {follower for follower, _ in self.found}:
            sizes = sorted(size for peer, size in self.found if peer == follower)
            links = [
                {
                    "size_bytes": size,
                    **summary(self.found[follower, size]),
                    **self._histogram(self.found[follower, size]),
                }
                for size in sizes
            ]
            self._tell(f"link/{when}/{self.rank}-{follower}", links)
        return {pair: self._hear(f"link/{when}/{pair[0]}-{pair[1]}") for turn in self.turns for pair in turn}

    def _histogram(self, passes: Sequence[Sequence[float]]) -> dict[str, Any]:
        histogram = self.latency_module.Histogram()
        for times in passes:
            for seconds in times:
                histogram.observe(seconds)
        return histogram.fields()  # type: ignore[no-any-return]

    def _turns(self) -> list[list[tuple[int, int]]]:
        """Links by turn; one link a turn unless disjoint ones may run at the same time."""
        if self.options.concurrent:
            turns = 2 * (self.world_size + self.world_size % 2 - 1)
            return [self.exchange_module.pairs(self.world_size, turn) for turn in range(turns)]
        everyone = range(self.world_size)
        return [[(src, dst)] for src in everyone for dst in everyone if src != dst]

    def _visit(self, visit: int, leader: int, follower: int) -> None:
        leads = self.rank == leader
        peer = follower if leads else leader
        name, smallest = f"{visit}/{leader}-{follower}", self.exchange_module.ACKNOWLEDGEMENT_BYTES
        acknowledgement = 0.0
        for size in sorted({smallest, *self.options.sizes}):
            times = self._measure_size(name, peer, size, leads, acknowledgement)
            if size == smallest:
                # The least: a busy moment in it would make larger messages look faster than they are.
                acknowledgement = min(times)
            if leads and size in self.options.sizes:
                self.found.setdefault((follower, size), []).append(times)
        if leads:
            self._tell(f"visited/{name}", True)

    def _measure_size(
        self, link: str, peer: int, size: int, leads: bool, acknowledgement: float
    ) -> list[float]:
        warm = self.exchange.round_trips(peer, size, WARM_UP_ROUNDS, leads=leads)
        if leads:
            rounds = int(SECONDS_A_SIZE / max(min(warm), 1e-9))
            rounds = min(max(rounds, FEWEST_ROUNDS), MOST_ROUNDS[self.backend])
            self._tell(f"rounds/{link}/{size}", rounds)
        else:
            rounds = self._hear(f"rounds/{link}/{size}")
        times = self.exchange.round_trips(peer, size, rounds, leads=leads)
        return self.exchange_module.one_way(times, size, acknowledgement)  # type: ignore[no-any-return]

    def report(self, started: float) -> dict[str, Any]:
        """What all ranks found, once the last link is measured."""
        links = [
            {"src": src, "dst": dst, **found} for (src, dst), sizes in self.links.items() for found in sizes
        ]
        return {
            "started": started,
            "backend": self.backend,
            "torch": str(self.torch.__version__),
            "concurrent": bool(self.options.concurrent),
            "ranks": [{"host": rank["host"], "device": rank["device"]} for rank in self.ranks],
            "sizes": sorted(self.options.sizes),
            "links": links,
        }

    def leave(self) -> None:
        """Stay until everybody has heard everything: the store may live in this process."""
        self._tell(f"done/{self.rank}", True)
        if self.rank == 0:
            for rank in range(self.world_size):
                self._hear(f"done/{rank}")
        self.torch.distributed.destroy_process_group()


def suspects(
    links: Mapping[tuple[int, int], Sequence[Mapping[str, Any]]], hosts: Sequence[str]
) -> set[tuple[int, int]]:
    """Links that look slow at any size, by their 10th percentile over the lower quartile of their like.

    Args:
        links: what was found, by leader and follower.
        hosts: by rank; links within a host and between two are no like.
    """
    groups: dict[tuple[int, bool], list[tuple[float, tuple[int, int]]]] = {}
    for pair, sizes in links.items():
        for found in sizes:
            kind = (found["size_bytes"], hosts[pair[0]] == hosts[pair[1]])
            groups.setdefault(kind, []).append((found["p10_seconds"], pair))
    return {
        pair
        for group in groups.values()
        for seconds, pair in group
        if seconds > SUSPECT_RATIO * sorted(group)[(len(group) - 1) // 4][0]
    }


def summary(passes: Sequence[Sequence[float]]) -> dict[str, Any]:
    """10th, 50th and 99th percentile (nearest rank, but for the median) of all passes' one-way seconds."""
    ordered = sorted(seconds for times in passes for seconds in times)
    return {
        "rounds": len(ordered),
        "p10_seconds": ordered[nearest_rank(10, len(ordered))],
        "p50_seconds": median(ordered),
        "p99_seconds": ordered[nearest_rank(99, len(ordered))],
    }


def nearest_rank(percent: int, count: int) -> int:
    """Place of a percentile in an ascending list."""
    return max(0, -(-percent * count // 100) - 1)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Our own options; what a launcher adds (``--local_rank``) is ignored."""
    parser = argparse.ArgumentParser(description="One rank of flyball p2p.")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--sizes", required=True, type=lambda text: [int(part) for part in text.split(",")])
    parser.add_argument("--timeout", type=float, default=600.0)
    parser.add_argument("--concurrent", action="store_true")
    return parser.parse_known_args(arguments)[0]


def main(arguments: Sequence[str]) -> int:
    """Measure, and say what was found or why nothing was."""
    options, started = parse(arguments), time.time()
    rank = int(os.environ.get("RANK", "0") or 0)
    try:
        import torch

        worker = Worker(torch, options)
        worker.measure()
        if worker.local_rank == 0:
            say(worker.rank, worker.report(started))
        worker.leave()
    except Refused as error:
        say(rank, {"refused": str(error)})
        return 2
    except Exception as error:  # of torch and its backends, whatever it is: it becomes one line
        say(rank, {"failed": f"rank {rank}: {type(error).__name__}: {error}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
