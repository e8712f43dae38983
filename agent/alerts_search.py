"""Finds alerts in the agent's database."""

import re
from collections.abc import Sequence

from flyball.agent.alerts_options import ALERT, MOST_NUMBER
from flyball.errors import OptionError
from flyball.history.alert_log import AlertLog
from flyball.history.alert_records import AlertHistory, AlertStatus, LoggedAlert


def find_alerts(
    log: AlertLog,
    statuses: Sequence[AlertStatus | None],
    *,
    rule: str | None,
    since: float | None,
    limit: int,
) -> list[LoggedAlert]:
    """Return alerts of these statuses, in their order, the newest change of each first; None is all."""
    # Backwards: an alert that begins to fire between the two questions is found twice, and not missed.
    found = {
        status: log.alerts(status=status, rule=rule, since=since, limit=limit)
        for status in reversed(statuses)
    }
    ordered: dict[int, LoggedAlert] = {}
    for status in statuses:
        for each in found[status]:
            ordered.setdefault(each.id, each)
    return list(ordered.values())[:limit]


def find_alert(log: AlertLog, key: str) -> AlertHistory:
    """Return an alert by its number or fingerprint, else raise OptionError."""
    mend = "flyball alerts list --all lists them"
    key = key.strip().lower()
    is_number = re.fullmatch(r"[0-9]{1,15}", key) is not None
    if not is_number and not re.fullmatch(r"[0-9a-f]{16}", key):
        raise OptionError(
            f"'{key[:40]}' is neither a number nor 16 hexadecimal digits", where=ALERT, mend=mend
        )
    found = None if is_number and int(key) > MOST_NUMBER else log.show(key)
    if found is None:
        raise OptionError(f"there is no alert {key}", where=ALERT, mend=mend)
    return found
