"""``report.html``: one self-contained page with the verdict first and the evidence below."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from flyball.history.alert_records import Alert
from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import TrialReport
from flyball.tuners.explaining.explanation_text import TITLES, effect_text, payback_text
from flyball.tuners.measurement.startup_costs import saved_seconds, startup_costs
from flyball.tuners.measurement.telemetry import described
from flyball.tuners.objective import figure
from flyball.tuners.results.recommendation import Recommendation
from flyball.tuners.results.report_chart import Chart, best_so_far, drift_chart, pairs_chart
from flyball.tuners.results.summary import counts, duration, gain_text, headline, rate_text, spent, value_text

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Runs that ended alike."""

    outcome: str
    count: int
    reason: str
    """Of the first of them."""


def failures(trials: Sequence[TrialReport]) -> list[Failure]:
    """Return the runs that did not complete, by cause, most frequent first."""
    failed = [trial for trial in trials if trial.outcome.kind is not OutcomeKind.COMPLETED]
    first = {trial.outcome.kind: trial.outcome.reason for trial in reversed(failed)}
    ordered = Counter(trial.outcome.kind for trial in failed).most_common()
    return [Failure(outcome=kind.value, count=count, reason=first[kind]) for kind, count in ordered]


def rule_names(alerts: Sequence[Alert] | None) -> str:
    """Return the rules of alerts, each once."""
    return ", ".join(dict.fromkeys(alert.rule for alert in alerts or ()))


def charts(recommendation: Recommendation, trials: Sequence[TrialReport]) -> list[Chart]:
    """Return the page's drawings, those that have something to show."""
    drawn = [best_so_far(trials)]
    if recommendation.drift:
        drawn.append(drift_chart(recommendation.drift))
    if recommendation.verification:
        drawn.append(pairs_chart(recommendation.verification))
    return [chart for chart in drawn if chart is not None]


def render_report(
    recommendation: Recommendation, trials: Sequence[TrialReport], *, use: str, command: str
) -> str:
    """Return the page.

    Args:
        recommendation: as decided.
        trials: every run of the study, in order.
        use: the exact command that uses the result.
        command: the same written out.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        rules=rule_names,
        seen=described,
        gain=gain_text,
        rate=rate_text,
        figure=figure,
        value=value_text,
        duration=duration,
        counts=counts,
        spent=spent,
        effect=effect_text,
        payback=payback_text,
        because=TITLES.__getitem__,
    )
    startups = startup_costs(trials)
    return environment.get_template("report.html.j2").render(
        recommendation=recommendation,
        headline=headline(recommendation),
        trials=trials,
        charts=charts(recommendation, trials),
        failures=failures(trials),
        startups=startups,
        saved=saved_seconds(startups),
        use=use,
        command=command,
    )
