"""What a study did not try, and why: a few groups, each with its reason and its first few members."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import Assignment, Configuration, TrialReport
from flyball.tuners.explaining.explanation import Because, NotTried
from flyball.tuners.knobs.registry import KNOBS
from flyball.tuners.results.recommendation import memory_share
from flyball.tuners.space.families import Families
from flyball.tuners.space.space import Space

MOST_GROUPS = 12
"""Of one kind; more are counted."""
MOST_ITEMS = 6


def not_tried(
    space: Space,
    reports: Sequence[TrialReport],
    *,
    memory_limit_ratio: float,
    search_ended: str,
    cannot_fit: Callable[[Configuration], str | None],
    screened_out: Sequence[str] = (),
    rejected: Mapping[str, str] | None = None,
) -> tuple[NotTried, ...]:
    """Return what was left aside, the same kinds together.

    Args:
        space: that was searched.
        reports: every run of the study.
        memory_limit_ratio: what reserves more is not recommended.
        search_ended: why the search ended.
        cannot_fit: why a configuration certainly runs out of memory, or None.
        screened_out: families that the search left after few runs, each with why.
        rejected: points that the search left out because they cannot fit, in words, to the reason.
    """
    return (
        *bounded(_outside(space)),
        *bounded(_excluded(space)),
        *bounded(_families(space, reports, search_ended, cannot_fit)),
        *_left(screened_out),
        *bounded(_memory(reports, memory_limit_ratio, rejected or {})),
        *_points(space, reports, search_ended),
    )


def bounded(groups: Iterable[NotTried]) -> list[NotTried]:
    """Return groups of one kind, those beyond ``MOST_GROUPS`` as one that counts them."""
    found = list(groups)
    shown, rest = found[:MOST_GROUPS], found[MOST_GROUPS:]
    if rest:
        names = tuple(itertools.chain.from_iterable(each.items for each in rest))[:MOST_ITEMS]
        count = sum(each.count for each in rest)
        shown.append(NotTried(because=rest[0].because, reason="other reasons", items=names, count=count))
    return shown


def _group(because: Because, reason: str, items: Sequence[str]) -> NotTried:
    return NotTried(because=because, reason=reason, items=tuple(items[:MOST_ITEMS]), count=len(items))


def _outside(space: Space) -> Iterable[NotTried]:
    named = {*space.sources, *(key.partition("=")[0] for key in space.left_out)}
    others = [knob.name for knob in KNOBS if knob.name not in named]
    if others:
        yield _group(Because.OUTSIDE, "the space does not name them", others)


def _excluded(space: Space) -> Iterable[NotTried]:
    by_reason: dict[str, list[str]] = {}
    for what, reason in space.left_out.items():
        by_reason.setdefault(reason, []).append(what)
    for reason, items in by_reason.items():
        yield _group(Because.EXCLUDED, reason, items)


def _families(
    space: Space,
    reports: Sequence[TrialReport],
    search_ended: str,
    cannot_fit: Callable[[Configuration], str | None],
) -> Iterable[NotTried]:
    """Combinations of structure that no run was of, by the reason why."""
    families = Families(space=space)
    entered = {families.of(space.completed(report.configuration.assignment)) for report in reports}
    by_reason: dict[str, list[str]] = {}
    for family, point in families.nearest_to(space.baseline_assignment()):
        if family in entered:
            continue
        reason = _illegal(space, point) or cannot_fit(space.render(point))
        reason = reason or f"the search ended before it: {search_ended}"
        by_reason.setdefault(reason, []).append(families.named(point))
    for reason, items in by_reason.items():
        yield _group(Because.NOT_ENTERED, reason, items)


def _left(screened_out: Sequence[str]) -> Iterable[NotTried]:
    if screened_out:
        reason = "screened out: what ran of them lost, and the rest of them was left"
        yield _group(Because.SCREENED, reason, screened_out)


def _illegal(space: Space, point: Assignment) -> str | None:
    """Return why a family's point nearest to the user's own is refused, or None."""
    findings = space.findings(point)
    return f"not legal: {findings[0].key}: {findings[0].what}" if findings else None


def _memory(
    reports: Sequence[TrialReport], memory_limit_ratio: float, rejected: Mapping[str, str]
) -> Iterable[NotTried]:
    """Points that cannot fit, those that did not, and those that took too much."""
    if rejected:
        first = next(iter(rejected.values()))
        yield _group(Because.MEMORY, f"cannot fit; the first {first}", list(rejected))
    out = _trials(reports, lambda each: each.outcome.kind is OutcomeKind.OUT_OF_MEMORY)
    if out:
        reason = "ran out of memory, and what needs at least as much was not proposed"
        yield _group(Because.MEMORY, reason, out)
    above = _trials(reports, lambda each: _share(each) > memory_limit_ratio)
    if above:
        reason = f"reserved more than {memory_limit_ratio:.0%} of the device"
        yield _group(Because.MEMORY, reason, above)


def _trials(reports: Sequence[TrialReport], wanted: Callable[[TrialReport], bool]) -> list[str]:
    """Return the first trial of each configuration that is wanted."""
    first: dict[str, str] = {}
    for report in filter(wanted, reports):
        first.setdefault(report.configuration.digest, f"trial {report.number}")
    return list(first.values())


def _share(report: TrialReport) -> float:
    return (memory_share(report.measurement) if report.measurement else None) or 0.0


def _points(space: Space, reports: Sequence[TrialReport], search_ended: str) -> Iterable[NotTried]:
    points = (space.completed(report.configuration.assignment) for report in reports)
    tried = {frozenset(point.items()) for point in points}
    left = space.size() - len(tried)
    if left > 0:
        reason = (
            f"of {space.size()} combinations, the illegal ones included; the search ended: {search_ended}"
        )
        yield NotTried(because=Because.BUDGET, reason=reason, items=(), count=left)
