"""Alerts and mutes as JSON: as the agent's API has them, and what it leaves out."""

from typing import Any

from flyball.agent.daemon.alert_answers import alert_answer, history_answer
from flyball.history.alert_records import AlertHistory, LoggedAlert, Mute


def logged_document(logged: LoggedAlert) -> dict[str, Any]:
    """Return an alert as ``/api/v1/alerts`` has it, with number, agent and last change."""
    known = alert_answer(logged.alert).model_dump(mode="json")
    return {"id": logged.id, "agent": logged.agent, **known, "changed_time": logged.changed_time}


def history_document(history: AlertHistory) -> dict[str, Any]:
    """Return an alert as ``/api/v1/alerts/<fingerprint>`` has it, with its agent."""
    return {"agent": history.agent, **history_answer(history).model_dump(mode="json")}


def mute_document(mute: Mute) -> dict[str, Any]:
    """Return a mute; ``until_time`` is null where it has no end."""
    return {
        "id": mute.id,
        "matchers": dict(mute.matchers),
        "created_time": mute.created_time,
        "until_time": mute.until_time,
        "comment": mute.comment,
    }
