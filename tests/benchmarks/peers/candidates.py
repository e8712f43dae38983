"""What is measured again: the user's own, and each pick at its own global batch and at the user's."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.benchmarks.peers.base import Bench, Found, Pick
from tests.benchmarks.peers.same_batch import at_global_batch

from flyball.tuners.knobs.knob import Situation
from flyball.tuners.legality.context import replicas_of

BASELINE = "yours"
OWN, SAME = "its own", "yours"
"""Global batch of a candidate: as its peer has it, or as the user has it."""
FLYBALL = "flyball"
JSON_ALONE = "flyball, JSON alone"


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One configuration to measure."""

    name: str
    """The peer, or ``flyball, JSON alone``, or ``yours``."""
    seed: int | None
    batch: str
    """``its own`` or ``yours``: whose global batch it runs at."""
    global_batch: int
    pick: Pick
    ds_config: Mapping[str, Any]
    """The pick's, at this global batch."""

    @property
    def identity(self) -> str:
        """The same for candidates that are one and the same experiment, which is then run once."""
        return replace(self.pick.configuration, ds_config=self.ds_config).digest


def candidates(bench: Bench, searches: Sequence[Found]) -> list[Candidate]:
    """Return the user's own and everything that was picked."""
    own = json.loads(bench.config_path.read_text())
    yours = bench.global_batch(own)
    found = [
        Candidate(
            name=BASELINE, seed=None, batch=OWN, global_batch=yours, pick=Pick(ds_config=own), ds_config=own
        )
    ]
    for search in searches:
        if search.pick is None:
            continue
        found += _at_both(bench, search.peer, search.seed, search.pick, yours)
        if search.peer == FLYBALL:
            alone = Pick(ds_config=search.pick.ds_config)
            found += _at_both(bench, JSON_ALONE, search.seed, alone, yours)
    return found


def _at_both(bench: Bench, name: str, seed: int, pick: Pick, yours: int) -> list[Candidate]:
    """A pick at its own global batch, and at the user's where that is another."""
    context = bench.space.situation.context
    batch = Situation(config=pick.ds_config, context=context).batch
    if batch is None:
        return []
    own = Candidate(
        name=name,
        seed=seed,
        batch=OWN,
        global_batch=batch.global_batch,
        pick=pick,
        ds_config=pick.ds_config,
    )
    if batch.global_batch == yours:
        return [own]
    replicas = replicas_of(pick.ds_config, context)
    changed = at_global_batch(pick.ds_config, batch.micro, yours, replicas)
    return [own, replace(own, batch=SAME, global_batch=yours, ds_config=changed)]
