"""Every peer by name."""

from tests.benchmarks.peers.base import Peer
from tests.benchmarks.peers.deepspeed_autotuner import DeepSpeedPeer
from tests.benchmarks.peers.flyball_peer import FlyballPeer
from tests.benchmarks.peers.grid_search import GridProposer
from tests.benchmarks.peers.random_search import RandomProposer
from tests.benchmarks.peers.single_runs import SingleRunPeer
from tests.benchmarks.peers.tpe import TpeProposer

_SINGLE = "one cold run a trial, fixed steps, the best single run wins"
PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        FlyballPeer(),
        SingleRunPeer("random", f"random search: {_SINGLE}", RandomProposer),
        SingleRunPeer("tpe", f"Optuna's default TPE: {_SINGLE}", TpeProposer),
        SingleRunPeer("grid", f"exhaustive grid in order, as far as it comes: {_SINGLE}", GridProposer),
        DeepSpeedPeer("deepspeed-fast", fast=True),
        DeepSpeedPeer("deepspeed-full", fast=False),
    )
}
