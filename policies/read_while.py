"""Reads ``while``: a phase, and for how long a rule remembers it."""

from flyball.policies.keys import PolicyKeys, Read, WhileKeys, read_keys
from flyball.policies.phases import UNDER_WAY

WITHIN_SECONDS = 120.0
"""For so long ``stepping`` is remembered unless the rule says otherwise: what saves take, and short
evaluations."""
_STEPPING = "stepping"


def read_while(read: Read[PolicyKeys]) -> tuple[str, float]:
    """Return a policy's phase, empty where it has none, and the seconds for which it is remembered."""
    value = read.keys.during
    if value is None:
        return "", 0.0
    if isinstance(value, str):
        return value, _usual(value)
    mend = "write stepping or the like, or {phase: stepping, within: 2m}"
    found = read_keys(WhileKeys, value, [*read.at, "while"], read.faults, noun="phase", mend=mend)
    if found is None:
        return "", 0.0
    phase, within = found.keys.phase, found.keys.within
    if not phase and "phase" not in found.wrong:
        found.add("", "phase is missing", mend=mend)
    if within and phase and phase not in UNDER_WAY:
        mend = "take it out; within is for phases that come back"
        found.add("within", f"a run is {phase} once, so there is no pause to bridge", mend=mend)
    waits = read.keys.for_seconds
    if found.has("within") and 0 < waits < within and not read.wrong & {"for", "for_seconds"}:
        what = f"is longer than for, which is {waits:g} s: what is remembered alone would fire the alert"
        found.add("within", what, mend="write a shorter one, or a longer for")
    return phase, within if found.has("within") else _usual(phase)


def _usual(phase: str) -> float:
    # Of the others it is wanted to know that they are over.
    return WITHIN_SECONDS if phase == _STEPPING else 0.0
