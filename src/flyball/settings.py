"""Where flyball keeps its own state, by the XDG base directory specification."""

import os
from pathlib import Path

AGENT_PORT = 19753
"""Of ``flyball agent``: outside Prometheus' range for exporters (9100 to 9999), and not in its list."""


def state_folder() -> Path:
    """Return ``$FLYBALL_STATE_DIR``, else ``$XDG_STATE_HOME/flyball``, else ``~/.local/state/flyball``."""
    own = os.environ.get("FLYBALL_STATE_DIR")
    if own:
        return Path(own).expanduser()
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "flyball"


def history_url() -> str:
    """Return the default database of ``autotune``: ``history.db`` in the state folder."""
    return f"sqlite:///{state_folder() / 'history.db'}"
