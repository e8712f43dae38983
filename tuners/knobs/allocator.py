"""The CUDA caching allocator's settings, merged with those that the user's own variables hold."""

from collections.abc import Mapping

from flyball.tuners.base import Value
from flyball.tuners.knobs.engine import on_cuda
from flyball.tuners.knobs.knob import Applied, Draft, Knob, Situation, one_of, whole_numbers
from flyball.tuners.legality.allocator_variables import (
    NEWER_VARIABLE,
    OFF,
    REGISTERING,
    VARIABLE,
    allocator_settings,
)
from flyball.tuners.legality.context import Context, release

NAME = "expandable_segments"
EMPTYING = "empty_cache_every"
NEWER_SINCE = (2, 9)
VARIABLES_OF_USER = (VARIABLE, NEWER_VARIABLE, REGISTERING)
"""What the knob wants to know of the user's environment."""


def merged(text: str, value: Value) -> str:
    """Return a variable's text with expandable segments on or off and every other setting as it was."""
    settings = {**allocator_settings(text), NAME: "True" if value else "False"}
    return ",".join(f"{key}:{value}" for key, value in settings.items())


def variables_read(context: Context) -> dict[str, str]:
    """Return the user's own variables that the installed torch looks at, name to text."""
    installed = release(context.torch_version)
    names = (VARIABLE,) if installed and installed < NEWER_SINCE else (VARIABLE, NEWER_VARIABLE)
    return {name: context.environment[name] for name in names if name in context.environment}


def own_settings(situation: Situation) -> Mapping[str, str]:
    """Return the settings that the user's own environment means."""
    found = variables_read(situation.context).values()
    return allocator_settings(next(iter(found), ""))


def expandable(situation: Situation) -> bool:
    """Whether the user's own environment asks for expandable segments; torch's default is off."""
    return own_settings(situation).get(NAME) == "True"


def write_expandable(draft: Draft, value: Value) -> None:
    """Set it in the variables that the user has, or in the one that every torch reads."""
    for name, text in (variables_read(draft.base.context) or {VARIABLE: ""}).items():
        draft.environment[name] = merged(text, value)


def _pointless(situation: Situation) -> str | None:
    if not on_cuda(situation):
        return "the allocator is not CUDA's"
    texts = variables_read(situation.context).values()
    if any(allocator_settings(text) != own_settings(situation) for text in texts):
        return f"{VARIABLE} and {NEWER_VARIABLE} differ, and it depends on torch which one it reads"
    backend = own_settings(situation).get("backend", "native")
    if backend != "native":
        return f"backend:{backend} has no segments"
    if situation.context.environment.get(REGISTERING, "").lower() not in OFF:
        return f"torch switches {REGISTERING} off under it"
    return None


def _not_decided(situation: Situation) -> bool:
    # Who has written it, on or off, has found out already.
    return NAME not in own_settings(situation)


def write_emptying(draft: Draft, value: Value) -> None:
    """Ask the probe to empty the cache every so many steps."""
    if value:
        draft.probe[EMPTYING] = value


KNOBS: tuple[Knob, ...] = (
    Knob(
        name=EMPTYING,
        applied=Applied.PROBE,
        path=EMPTYING,
        summary="steps after which the CUDA allocator's cached blocks are given back; 0 is never",
        reason="fragments that no allocation fits go back to the driver, at the price of asking it again",
        read=lambda situation: 0,
        values=lambda situation: (0, 10, 100),
        apply=write_emptying,
        accepts=whole_numbers(0),
        pointless=lambda situation: None if on_cuda(situation) else "the allocator is not CUDA's",
        # It only costs where memory suffices.
        by_default=lambda situation: False,
        witness="how often the cache was emptied, and the bytes that came free",
    ),
    Knob(
        name=NAME,
        applied=Applied.ENVIRONMENT,
        path=VARIABLE,
        aliases=(NEWER_VARIABLE,),
        summary="whether the CUDA allocator's segments grow in place, so that free neighbours join",
        reason="memory that is reserved and never in use at one time becomes usable",
        read=expandable,
        values=lambda situation: (False, True),
        apply=write_expandable,
        accepts=one_of(False, True),
        pointless=_pointless,
        by_default=_not_decided,
        ordered=False,
        witness="expandable in the journal's memory, read from the allocator's own segments",
    ),
)
