"""How a rule is judged on a run that is far shorter than its windows.

A trial is measured for seconds; rules look minutes back and wait for minutes. A rule whose window and ``for``
fit into the trial is judged as it stands. Of any other, threshold and ``while`` stay and the times shrink:

- with a window, it fires where its condition holds of everything that was read, taken together;
- without, it fires where its condition held for four fifths of the time on end, or for ``for`` where that is
  shorter (a rule without ``for`` fires at once, as ever).

Counts are not scaled up: "more than 3 in ten minutes" needs more than 3 in the trial. Rules that a short run
of its own says nothing about are left out: those that miss a series, and those that compare with earlier (the
half hour before that has no equal in a trial).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from flyball.collectors import catalog
from flyball.collectors.base import Metric
from flyball.policies.rule import Operand, Rule

HELD_SHARE = 0.8
"""Of the time, for which a condition without a window must hold on end."""
STEPPING = "stepping"
NOT_TOLD = frozenset((catalog.STEPS_SINCE_CHECKPOINT, catalog.LAST_CHECKPOINT_STEP, catalog.RECOVERY))
"""Of a trial these mean nothing: it keeps no checkpoint and goes on from none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedRule:
    """A rule as it is judged on a run."""

    rule: Rule
    is_of_the_whole: bool
    """Its window is all that was read: it is judged at the end, once."""


def judged_rules(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Return those that can be judged on a trial."""
    return tuple(rule for rule in rules if not rule.absent and all(map(_is_told, operands(rule))))


def _is_told(operand: Operand) -> bool:
    return not operand.offset_seconds and operand.metric not in NOT_TOLD


def operands(rule: Rule) -> tuple[Operand, ...]:
    """Return the one or two things that a rule looks at."""
    expression = rule.expression
    return (expression.left,) if expression.right is None else (expression.left, expression.right)


def gpu_metrics(rules: Iterable[Rule]) -> frozenset[Metric]:
    """Return what the rules look at of GPUs."""
    metrics = (operand.metric for rule in judged_rules(rules) for operand in operands(rule))
    return frozenset(
        metric for metric in metrics if "uuid" in metric.labels and metric is not catalog.RUN_INFO
    )


def fitted(rule: Rule, seconds: float) -> FittedRule:
    """Return a rule as it is judged on a run that was read for ``seconds``."""
    window = max(operand.window_seconds for operand in operands(rule))
    if window + rule.for_seconds <= seconds:
        return FittedRule(rule=rule, is_of_the_whole=False)
    left, right = rule.expression.left, rule.expression.right
    shorter = replace(
        rule,
        expression=replace(
            rule.expression,
            left=_within(left, seconds),
            right=None if right is None else _within(right, seconds),
        ),
    )
    is_of_the_whole = window > 0 and rule.phase in ("", STEPPING)
    held = 0.0 if is_of_the_whole else min(rule.for_seconds, HELD_SHARE * seconds)
    return FittedRule(rule=replace(shorter, for_seconds=held), is_of_the_whole=is_of_the_whole)


def _within(operand: Operand, seconds: float) -> Operand:
    # All of it, also where it is longer than the window: "taken together" is one thing for all rules.
    return replace(operand, window_seconds=seconds) if operand.window_seconds else operand
