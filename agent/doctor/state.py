"""What flyball itself needs: its database, its folders, its port."""

import http.client
import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from flyball.agent.doctor.base import Finding, Question, failing, ok, warning
from flyball.database import open_database, parse_address
from flyball.errors import FlyballError
from flyball.file_system import NETWORK_FILE_SYSTEMS, file_system_of

_ANSWER_SECONDS = 3.0


def check(question: Question) -> Iterable[Finding]:
    """Look at each."""
    yield _database(question.database_url)
    yield _runs(question.state / "runs")
    yield _port(question.agent_port)


def _database(url: str) -> Finding:
    try:
        path = parse_address(url).path
        if path is not None and not path.exists():
            return _database_to_be(path)
        with open_database(url, for_reading=True) as database:
            return ok("database", f"{database.place} opens")
    except FlyballError as error:
        return failing(
            "database", f"{error.where}: {error.what}" if error.where else error.what, error.mend or ""
        )


def _database_to_be(path: Path) -> Finding:
    parent = _nearest(path)
    if not os.access(parent, os.W_OK | os.X_OK):
        return failing(
            "database", f"{parent} cannot be written", "mend its rights, or name another with --db"
        )
    kind = file_system_of(parent)
    if kind in NETWORK_FILE_SYSTEMS:
        mend = "name a local file or a PostgreSQL URL with --db or FLYBALL_DB"
        return failing("database", f"{parent} lies on a network file system ({kind})", mend)
    return ok("database", f"{path} will be made")


def _nearest(path: Path) -> Path:
    return next(part for part in path.absolute().parents if part.exists())


def _runs(folder: Path) -> Finding:
    """A folder of one's own, or a shared one that nobody can replace another's run in."""
    if not folder.exists():
        parent = _nearest(folder / "x")
        if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
            return ok("runs", f"{folder} will be made")
        return failing("runs", f"{parent} cannot be written", "mend its rights, or set FLYBALL_STATE_DIR")
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return failing("runs", f"{folder} cannot be written", "mend its rights, or set FLYBALL_STATE_DIR")
    found = folder.stat()
    others = found.st_mode & (stat.S_IWOTH | stat.S_IWGRP)
    if others and not found.st_mode & stat.S_ISVTX:
        return failing("runs", f"others may replace runs in {folder}", f"chmod +t {folder}")
    if found.st_uid not in (os.getuid(), 0):
        mend = f"chown root {folder}, or set FLYBALL_STATE_DIR to a folder of your own"
        return warning("runs", f"{folder} belongs to another user (uid {found.st_uid})", mend)
    return ok("runs", f"{folder} can be written")


def _port(port: int) -> Finding:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", "/api/v1/status")
        answer = connection.getresponse()
        text = answer.read(65536)
    except ConnectionRefusedError:
        return ok("port", f"{port} is free for flyball agent")
    except (OSError, http.client.HTTPException) as error:
        return _taken(port, str(error) or type(error).__name__)
    finally:
        connection.close()
    if answer.status in (401, 403):
        return ok("port", f"{port} is answered by a server that wants a token")
    try:
        return ok("port", f"flyball agent {json.loads(text)['version']} answers on {port}")
    except (ValueError, KeyError, TypeError):
        return _taken(port, f"status {answer.status}")


def _taken(port: int, why: str) -> Finding:
    return failing(
        "port", f"{port} is taken by another program ({why})", "give flyball agent another --listen"
    )
