"""Log lines on stderr: ``key=value`` or JSON. A library's fault that repeats is said once in ten minutes.

The standard library's logging carries them: what makes lines in colour as well is 4 MB more to hold.
"""

import json
import logging
import sys
import time
from datetime import UTC, datetime
from typing import Any

from flyball.agent.daemon.config import LogFormat, LogLevel

_QUIET_SECONDS = 600.0
_MOST_REMEMBERED = 1000
_NAME = "flyball.agent"


class Lines:
    """What is said, each with its values."""

    def info(self, event: str, **values: object) -> None:
        """Something is as it should be."""
        self._say(logging.INFO, event, values)

    def warning(self, event: str, **values: object) -> None:
        """Something needs attention."""
        self._say(logging.WARNING, event, values)

    def error(self, event: str, **values: object) -> None:
        """Something is broken."""
        self._say(logging.ERROR, event, values)

    def _say(self, level: int, event: str, values: dict[str, object]) -> None:
        logging.getLogger(_NAME).log(level, "%s", event, extra={"values": values})


class _Formatter(logging.Formatter):
    def __init__(self, log_format: LogFormat) -> None:
        super().__init__()
        self._is_json = log_format is LogFormat.JSON

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")
        line: dict[str, Any] = {"timestamp": time, "level": record.levelname.lower()}
        line |= {"event": record.getMessage(), **getattr(record, "values", {})}
        if self._is_json:
            return json.dumps(line, default=repr)
        return " ".join(f"{key}={_quoted(value)}" for key, value in line.items())


def _quoted(value: object) -> str:
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    text = text.replace("\n", "\\n")
    if not any(each in text for each in ' ="'):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def configure(log_format: LogFormat, level: LogLevel) -> None:
    """Set up our own lines and those of the libraries; may be called again."""
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(_Formatter(log_format))
    own = logging.getLogger(_NAME)
    own.handlers, own.propagate = [stream], False
    own.setLevel(level.upper())
    handler = _Bridge()
    for name in ("uvicorn", "uvicorn.error", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = (
            ([handler] if name != "uvicorn.error" else []),
            name == "uvicorn.error",
        )
        logger.setLevel(logging.ERROR)


class _Bridge(logging.Handler):
    def __init__(self) -> None:
        super().__init__(level=logging.ERROR)
        self._said: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Say a library's line unless it was said just now."""
        fault = record.exc_info[1] if record.exc_info else None
        text = str(record.msg).split("\n")[0]
        key, now = f"{record.name} {text} {type(fault).__name__}", time.monotonic()
        if now - self._said.get(key, -_QUIET_SECONDS) < _QUIET_SECONDS:
            return
        if len(self._said) >= _MOST_REMEMBERED:
            self._said.clear()
        self._said[key] = now
        values = {"error": f"{type(fault).__name__}: {fault}"} if fault else {}
        Lines().error(text, source=record.name, **values)
