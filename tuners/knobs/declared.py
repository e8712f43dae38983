"""Knobs that a space file declares itself: any config key, option of the command or environment variable."""

from collections.abc import Sequence

from flyball.tuners.base import Value
from flyball.tuners.config.reading import known
from flyball.tuners.knobs.knob import Applied, Draft, Knob, Situation, written

DECLARED = "declared in the space file"
REASONS = {
    "activation_checkpointing": "activations computed again free memory; kept, they save a forward pass",
}


def declared(
    *,
    name: str,
    applied: Applied,
    path: str,
    values: Sequence[Value],
    current: Value | None,
    flag: bool = False,
    off: str | None = None,
    changes_numerics: bool = False,
    reason: str = "",
) -> Knob:
    """Return a knob for a key, option or variable that flyball does not know.

    Args:
        name: the knob's name in the space file.
        applied: ``config``, ``argument`` or ``environment``.
        path: dotted key path, option with its dashes, or variable name.
        values: the candidates, in the file's order.
        current: what the user's own command means; for a config key it is read from the config.
        flag: the option has no value: it is there for true, and for false ``off`` is there in its place.
        off: the option that takes a flag back, such as ``--no-gradient-checkpointing``.
        changes_numerics: whether the loss guard must watch it.
        reason: why changing it can pay.
    """
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)

    def read(situation: Situation) -> Value | None:
        if applied is Applied.CONFIG:
            found = known(situation.config, path, current)
            return found if isinstance(found, bool | int | float | str) else current
        return current

    def apply(draft: Draft, value: Value) -> None:
        if applied is Applied.CONFIG:
            draft.write(path, value)
        elif applied is Applied.ENVIRONMENT:
            draft.environment[path] = written(value)
        elif not flag:
            draft.arguments[path] = written(value)
        elif value or off:
            draft.arguments[path if value else str(off)] = ""

    return Knob(
        name=name,
        applied=applied,
        path=path,
        summary=f"{path}, {DECLARED}",
        reason=reason or REASONS.get(name, DECLARED),
        read=read,
        values=lambda situation: values,
        apply=apply,
        ordered=numbers,
        changes_numerics=changes_numerics,
        witness="",
    )
