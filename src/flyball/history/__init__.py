"""What was tried, what came of it: one database beside Optuna's tables."""

from flyball.history.digest import command_digest
from flyball.history.owner import Owner
from flyball.history.run_log import RunLog
from flyball.history.store import History

__all__ = ["History", "Owner", "RunLog", "command_digest"]
