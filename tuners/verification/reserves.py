"""Who takes the place of a candidate whose runs turn out too long to verify within the budget.

A compiler that works anew in every run makes a fast configuration one that the budget cannot verify. A slower
one that it can verify is worth more than a promise. Only the length of runs decides, never what was measured
in verification, and only one field of candidates is ever tested: the error rate of the rule stands.
"""

from collections.abc import Mapping, Sequence

from flyball.tuners.base import Configuration, TrialReport
from flyball.tuners.results.summary import duration
from flyball.tuners.search.loop import rate_of
from flyball.tuners.space.space import Space
from flyball.tuners.trials.spending import Spending
from flyball.tuners.verification.final_runs import changes_numerics


def reserve(
    reports: Sequence[TrialReport],
    baseline: TrialReport,
    field: Mapping[str, Configuration],
    given_up: Mapping[str, Configuration],
    *,
    space: Space,
    spending: Spending,
) -> dict[str, Configuration]:
    """Return the fastest trial of the search that the budget can verify in place of ``field``, if any.

    Args:
        reports: the search's runs that may be recommended.
        field: the candidates that are being verified.
        given_up: the candidates before them.
    """
    out = {each.digest for each in (*field.values(), *given_up.values(), baseline.configuration)}
    best = {report.configuration.digest: report for report in sorted(reports, key=rate_of)}
    for digest, report in sorted(best.items(), key=lambda entry: -rate_of(entry[1])):
        if digest in out or rate_of(report) <= rate_of(baseline):
            continue
        if changes_numerics(space, report.configuration):
            continue
        if spending.holds_verification([digest], rounds_made=0):
            return {f"trial {report.number}": report.configuration}
    return {}


def remark(key: str, seconds: float, left: float) -> str:
    """Return what the user is told of a candidate that was given up."""
    return (
        f"{key} did better in the search, but each of its runs takes {duration(seconds)} (it compiles or "
        f"loads anew) and {duration(left)} were left; a larger --budget would verify it"
    )
