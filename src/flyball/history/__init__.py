"""What was tried, what came of it: one database beside Optuna's tables."""

from flyball.history.alert_log import AlertLog
from flyball.history.digest import command_digest
from flyball.history.mute_log import MuteLog
from flyball.history.outbox import Outbox
from flyball.history.owner import Owner
from flyball.history.run_log import RunLog
from flyball.history.store import History
from flyball.history.tuning_requests import TuningRequests

__all__ = [
    "AlertLog",
    "History",
    "MuteLog",
    "Outbox",
    "Owner",
    "RunLog",
    "TuningRequests",
    "command_digest",
]
