"""The recommended configuration with one knob at a time put back to what the user has."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from flyball.tuners.base import Assignment, Configuration, Value
from flyball.tuners.explaining.explanation import Reversion
from flyball.tuners.space.render import difference
from flyball.tuners.space.space import Space


def reversions(
    space: Space,
    recommended: Configuration,
    order: Mapping[str, float],
    *,
    cannot_fit: Callable[[Configuration], str | None],
) -> tuple[Reversion, ...]:
    """Return a reversion for each knob that was changed, the most important first.

    Keys that one knob writes (micro batch and accumulation at a fixed global batch) go back together.

    Args:
        space: that the recommended configuration is a point of.
        recommended: the verified winner.
        order: knob to its measured importance; a knob without one is ordered by how much it usually decides.
        cannot_fit: why a configuration certainly runs out of memory, or None.
    """
    changed = changed_values(space, recommended.assignment)
    found = [_reversion(space, recommended, name, own, changed) for name, own in changed.items()]
    weight = {entry.knob.name: entry.knob.weight for entry in space.entries}
    # Two orders that do not mix: measured importance first, the usual one where nothing was measured.
    ordered = sorted(found, key=lambda each: (-order.get(each.knob, 0.0), -weight[each.knob]))
    return tuple(
        replace(each, impossible=each.impossible or cannot_fit(each.configuration))
        for each in ordered
        if each.configuration.digest != recommended.digest
    )


def changed_values(space: Space, assignment: Assignment) -> dict[str, Value]:
    """Return the user's own value of every knob of an assignment that has another one."""
    return {
        entry.knob.name: entry.current
        for entry in space.entries
        if entry.knob.name in assignment and assignment[entry.knob.name] != entry.current
    }


def _reversion(
    space: Space, recommended: Configuration, name: str, own: Value, changed: Mapping[str, Value]
) -> Reversion:
    chosen = recommended.assignment
    point = space.completed({**chosen, name: own})
    configuration = space.render(point)
    return Reversion(
        knob=name,
        together=tuple(other for other in changed if other != name and point.get(other) != chosen[other]),
        paths=_paths(space, name, configuration, recommended),
        own=own,
        recommended=chosen[name],
        configuration=configuration,
        impossible=_illegal(space, point),
    )


def _paths(
    space: Space, name: str, configuration: Configuration, recommended: Configuration
) -> tuple[str, ...]:
    """Return what is put back, first what stands for the knob."""
    own = space.entry(name).knob.paths
    differ = [change.path for change in difference(configuration, recommended)]
    return tuple(sorted(differ, key=lambda path: path not in own))


def _illegal(space: Space, point: Assignment) -> str | None:
    findings = space.findings(point)
    return f"not legal alone: {findings[0].key}: {findings[0].what}" if findings else None
