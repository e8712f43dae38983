"""Log lines on stderr: ``key=value`` or JSON. A library's fault that repeats is said once in ten minutes."""

import logging
import sys
import time
from typing import Any

import structlog

from flyball.agent.daemon.config import LogFormat, LogLevel

_QUIET_SECONDS = 600.0
_MOST_REMEMBERED = 1000


def configure(log_format: LogFormat, level: LogLevel) -> None:
    """Set up our own lines and those of the libraries; may be called again."""
    last: Any = structlog.processors.JSONRenderer()
    if log_format is LogFormat.TEXT:
        last = structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
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
        """Hand a library's line to structlog unless it was said just now."""
        fault = record.exc_info[1] if record.exc_info else None
        text = str(record.msg).split("\n")[0]
        key, now = f"{record.name} {text} {type(fault).__name__}", time.monotonic()
        if now - self._said.get(key, -_QUIET_SECONDS) < _QUIET_SECONDS:
            return
        if len(self._said) >= _MOST_REMEMBERED:
            self._said.clear()
        self._said[key] = now
        values = {"error": f"{type(fault).__name__}: {fault}"} if fault else {}
        structlog.get_logger().error(text, source=record.name, **values)
