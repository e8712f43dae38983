"""A real PostgreSQL server for tests: its own folder and socket, gone when the tests are."""

import contextlib
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL
from tests.patience import PATIENCE_SECONDS

USER, PASSWORD = "flyball", "a-secret"
_PLACES = "/usr/lib/postgresql/*/bin"
_FAST = "-c fsync=off -c shared_buffers=16MB -c max_connections=40 -c listen_addresses=''"


def find_programs() -> Path | None:
    """Where initdb and pg_ctl are: on the PATH, or where Debian keeps them."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    folders = sorted(Path("/").glob(_PLACES.lstrip("/")))
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


@dataclass(frozen=True, kw_only=True)
class PostgresServer:
    programs: Path
    folder: Path
    account: str | None = field(default=None)
    """Runs the server in place of root, which PostgreSQL refuses."""

    def url(
        self, database: str = "postgres", *, user: str = USER, password: str | None = PASSWORD, **query: str
    ) -> str:
        place = {"host": str(self.folder), **query}
        made = URL.create("postgresql", user, password, database=database, query=place)
        return made.render_as_string(hide_password=False)

    def empty(self) -> str:
        """Return the URL of an empty schema, to a client what an empty database is, and cheaper."""
        name = f"test_{secrets.token_hex(6)}"
        self.execute(f"CREATE SCHEMA {name}")
        return self.url(options=f"-csearch_path={name}")

    def execute(self, statement: str) -> None:
        """Run one statement as the superuser."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement.encode())

    def run(self, program: str, *arguments: str) -> None:
        user = {"user": self.account, "group": pwd.getpwnam(self.account).pw_gid} if self.account else {}
        command = [str(self.programs / program), "-D", str(self.folder / "data"), *arguments]
        # Not captured: the server inherits the pipe and would hold it open.
        with (self.folder / "commands.log").open("ab") as log:
            subprocess.run(
                command, check=True, stdout=log, stderr=log, cwd=self.folder, timeout=PATIENCE_SECONDS, **user
            )


@contextlib.contextmanager
def postgres_server(programs: Path) -> Iterator[PostgresServer]:
    """Start a server that only its own socket reaches, and stop it."""
    account = "nobody" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="flyball-postgres-", dir="/tmp"))
    server = PostgresServer(programs=programs, folder=folder, account=account)
    secret = folder / "password"
    secret.write_text(PASSWORD)
    if account:
        for path in (folder, secret):
            os.chown(path, pwd.getpwnam(account).pw_uid, -1)
    try:
        asked = [
            "-U",
            USER,
            "-A",
            "scram-sha-256",
            f"--pwfile={secret}",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]
        server.run("initdb", *asked)
        server.run("pg_ctl", "-w", "-l", str(folder / "server.log"), "-o", f"-k {folder} {_FAST}", "start")
        try:
            yield server
        finally:
            server.run("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def installed_server() -> Iterator[PostgresServer]:
    """For a fixture: a server of this machine's PostgreSQL; without one its tests are skipped."""
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    with postgres_server(programs) as server:
        yield server
