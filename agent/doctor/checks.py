"""All checks, and how they are made."""

from collections.abc import Iterable, Sequence

from flyball.agent.doctor import config, gpu, leftovers, limits, state, workload
from flyball.agent.doctor.base import Check, Finding, Question, warning

CHECKS: tuple[Check, ...] = (
    gpu.check,
    workload.check,
    state.check,
    config.check,
    leftovers.check,
    limits.check,
)


def examine(question: Question, checks: Sequence[Check] = CHECKS) -> Iterable[Finding]:
    """Make every check; one that breaks is a finding of its own and the next is made."""
    for check in checks:
        try:
            yield from check(question)
        except Exception as error:  # a machine can be odd in ways that no check foresaw
            name = check.__module__.rpartition(".")[2]
            yield warning(name, f"could not be checked: {type(error).__name__}: {error}", "look by hand")
