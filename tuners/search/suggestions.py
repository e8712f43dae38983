"""Knobs that fired policies suggest: tried first, and named where one of them is recommended."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from flyball.history.alert_records import Alert
from flyball.history.alert_rows import number_text
from flyball.tuners.base import TrialReport
from flyball.tuners.job.lead import Lead

IN_BASELINE = "baseline"
IN_RUN = "run"


@dataclass(frozen=True, kw_only=True, slots=True)
class LeadingAlert:
    """An alert that says where to look first."""

    alert: Alert
    lead: Lead | None = None
    """The tuning request that told it; None where it fired in the study's own run of the user's command."""

    @property
    def where(self) -> str:
        """In which run it fired, in words."""
        return "your own run" if self.lead is None else f"the run {self.lead.run}"

    @property
    def told(self) -> str:
        """That it fired and where, as a reason begins."""
        return f"{self.alert.rule} fired in {self.where}"

    def document(self) -> dict[str, Any]:
        """As ``recommendation.json`` has it."""
        return {
            "rule": self.alert.rule,
            "severity": self.alert.severity,
            "labels": dict(self.alert.labels),
            "summary": self.alert.annotations.get("summary", ""),
            "value": number_text(self.alert.value),
            "suggests": list(self.alert.suggests),
            "seen_in": IN_BASELINE if self.lead is None else IN_RUN,
            "run": self.lead.run if self.lead else None,
            "request": self.lead.url if self.lead else None,
        }


def leading_alerts(lead: Lead | None, baselines: Iterable[TrialReport]) -> tuple[LeadingAlert, ...]:
    """Return the alert of a request, then those of the user's own runs, each rule and series once.

    Args:
        lead: the request that the study began with.
        baselines: every run of the user's own configuration; a resumed study has several, and what one of
            them showed stays a reason to look.
    """
    told = [LeadingAlert(alert=lead.alert, lead=lead)] if lead else []
    own = {
        (alert.rule, _of_any_trial(alert)): LeadingAlert(alert=alert)
        for report in baselines
        for alert in report.alerts or ()
    }
    return (*told, *own.values())


def _of_any_trial(alert: Alert) -> frozenset[tuple[str, str]]:
    # A trial's number is in its run's name.
    return frozenset((name, value) for name, value in alert.labels.items() if name != "run")


def told_together(alerts: Sequence[LeadingAlert]) -> list[str]:
    """Return what fired, each rule once, in one text for each place."""
    places: dict[str, list[str]] = {}
    for each in alerts:
        rules = places.setdefault(each.where, [])
        if each.alert.rule not in rules:
            rules.append(each.alert.rule)
    return [f"{', '.join(rules)} fired in {where}" for where, rules in places.items()]


def suggested_knobs(alerts: Sequence[LeadingAlert]) -> dict[str, LeadingAlert]:
    """Return the knobs that alerts suggest, in order, each with the first alert that does."""
    found: dict[str, LeadingAlert] = {}
    for each in alerts:
        for knob in each.alert.suggests:
            found.setdefault(knob, each)
    return found
