"""One view: two readings of a source, since a rate needs two."""

from flyball.agent.top.build import build
from flyball.agent.top.source import Source
from flyball.agent.top.view import View
from flyball.clock import Clock

LEAST_SECONDS = 1.0
"""Between two readings: what the counters say of less is noise."""
ANSWER_SECONDS = 10.0
"""The driver of a machine with eight GPUs takes seconds to start."""
_MOST_READINGS = 20


def one_view(source: Source, *, clock: Clock, interval_seconds: float) -> View:
    """The view of now; takes an interval, and longer while something does not answer.

    Args:
        source: what to read.
        clock: time.
        interval_seconds: between the two readings; at least ``LEAST_SECONDS``.
    """
    source.ask()
    source.wait(ANSWER_SECONDS)
    before = source.snapshot()
    for _ in range(_MOST_READINGS):
        clock.sleep(max(LEAST_SECONDS, interval_seconds))
        source.ask()
        source.wait(ANSWER_SECONDS)
        if source.settled():
            break
    return build(source.snapshot(), [before])
