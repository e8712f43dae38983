"""Makes the answers of ``/api/v1`` about alerts from records."""

import math
from collections.abc import Iterable

from flyball.agent.daemon.api_models import (
    AlertAnswer,
    AlertHistoryAnswer,
    DeliveryAnswer,
    NotificationAnswer,
    TuningRequestAnswer,
)
from flyball.history.alert_records import (
    Alert,
    AlertHistory,
    Delivery,
    Notification,
    Outcome,
    TuningRequest,
)


def alert_answers(alerts: Iterable[Alert]) -> tuple[AlertAnswer, ...]:
    """Alerts, those that fire first, then by name."""
    ordered = sorted(alerts, key=lambda one: (one.status != "firing", one.rule, sorted(one.labels.items())))
    return tuple(map(alert_answer, ordered))


def alert_answer(alert: Alert) -> AlertAnswer:
    """One alert."""
    return AlertAnswer(
        fingerprint=alert.fingerprint,
        rule=alert.rule,
        status=str(alert.status),
        severity=alert.severity,
        labels=dict(alert.labels),
        annotations=dict(alert.annotations),
        suggests=alert.suggests,
        # JSON has no NaN.
        value=alert.value if math.isfinite(alert.value) else None,
        active_time=alert.active_time,
        fired_time=alert.fired_time,
        resolved_time=alert.resolved_time,
    )


def history_answer(history: AlertHistory) -> AlertHistoryAnswer:
    """An alert with everything that was told of it."""
    told = tuple(_notification(one, tries) for one, tries in history.notifications)
    return AlertHistoryAnswer(id=history.id, alert=alert_answer(history.alert), notifications=told)


def _notification(one: Notification, tries: Iterable[Delivery]) -> NotificationAnswer:
    return NotificationAnswer(
        receiver=one.receiver,
        webhook_id=one.webhook_id,
        status=str(one.alert.status),
        outcome=str(one.outcome),
        created_time=one.created_time,
        finished_time=one.finished_time,
        next_time=one.next_time if one.outcome == Outcome.WAITING else None,
        attempts=one.attempts,
        deliveries=tuple(
            DeliveryAnswer(
                time=each.time,
                seconds=each.seconds,
                outcome=each.outcome,
                status=each.status,
                detail=each.detail,
            )
            for each in tries
        ),
    )


def tuning_request_answer(request: TuningRequest) -> TuningRequestAnswer:
    """One request."""
    return TuningRequestAnswer(
        id=request.id,
        created_time=request.created_time,
        rule=request.rule,
        run=request.run,
        fingerprint=request.fingerprint,
        taken_time=request.taken_time,
        document=dict(request.document),
    )
