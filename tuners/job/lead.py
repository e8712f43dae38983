"""What a study is led by: a tuning request that an alert made an agent hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # The history needs SQLAlchemy, which --help must not wait for.
    from flyball.history.alert_records import Alert


@dataclass(frozen=True, kw_only=True, slots=True)
class Lead:
    """One tuning request, as far as the study keeps it."""

    url: str
    """Where it was read; holds no credentials."""
    run: str
    """Name of the run that the alert was about."""
    alert: "Alert"
    telemetry: Mapping[str, Any] = field(default_factory=dict)
    """What the agent knew of the run then, by metric."""

    def document(self) -> dict[str, Any]:
        """As JSON, for a resume."""
        from flyball.history.alert_rows import alert_document

        alert = alert_document(self.alert)
        return {"url": self.url, "run": self.run, "alert": alert, "telemetry": dict(self.telemetry)}


def lead_of_document(document: Mapping[str, Any]) -> Lead:
    """Return the lead that ``Lead.document`` made it from."""
    from flyball.history.alert_rows import alert_of_document

    return Lead(
        url=document["url"],
        run=document["run"],
        alert=alert_of_document(document["alert"]),
        telemetry=document["telemetry"],
    )
