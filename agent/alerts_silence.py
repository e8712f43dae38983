"""Says so when an agent is silent: no alert of one that has stopped means nothing."""

from collections.abc import Collection

from flyball.agent.durations import format_duration
from flyball.agent.text import clean
from flyball.agent.wiring import Wiring
from flyball.database import Database
from flyball.history.agent_name import ALONE, agent_name
from flyball.history.alert_log import AlertLog

_SILENT_SECONDS = 60.0
"""An agent writes down every 10 s that it evaluates."""


def note_silence(wiring: Wiring, database: Database, agents: Collection[str]) -> None:
    """Write a line on stderr for each agent that has not evaluated its policies lately.

    Args:
        wiring: the clock, and where to write.
        database: the agents'.
        agents: those that are looked at; this host's is, besides, where it has one.
    """
    now = wiring.clock.time()
    for agent in sorted({*agents, agent_name(database, None)}):
        last = AlertLog(database, agent=agent).last_heartbeat()
        name = "the agent" if agent == ALONE else f"agent {clean(agent)}"
        if last is not None and now - last > _SILENT_SECONDS:
            ago = format_duration(now - last)
            wiring.err.write(f"note: {name} last looked {ago} ago; see that flyball agent runs\n")
        elif last is None and (agent == ALONE or agent in agents):
            wiring.err.write(f"note: {name} has not looked yet; see that flyball agent runs\n")
