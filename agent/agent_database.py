"""``--config`` and ``--db``, as the commands that look into the agent's database have them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flyball.errors import DatabaseError, OptionError

if TYPE_CHECKING:
    from flyball.database import Database

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="The agent's configuration, which says where its database is."
    ),
]
# Not FLYBALL_DB's: that names the database of autotune, which has no alerts of the agent's.
AgentDatabase = Annotated[
    str | None,
    typer.Option(
        "--db", metavar="URL", help="The agent's database; by default agent.db in flyball's state folder."
    ),
]


@contextmanager
def open_agent_database(
    config: Path | None, db: str | None, *, for_reading: bool = False
) -> Iterator["Database"]:
    """Yield the agent's database; nothing is made where there is none yet.

    Raises:
        OptionError: both are given, or the configuration cannot be used.
        DatabaseError: there is no such database yet, or it cannot be used.
    """
    from flyball.database import open_database, parse_address

    if config is not None and db is not None:
        raise OptionError("says the same as --config", where="--db", mend="leave out one of the two")
    url = db or _configured(config)
    path = parse_address(url).path
    if path is not None:
        _require(path)
    with open_database(url, for_reading=for_reading, go_on="try again") as database:
        yield database


def _configured(config: Path | None) -> str:
    from flyball.agent.daemon.config import AgentConfig
    from flyball.agent.daemon.config_file import read_agent_config

    return (read_agent_config(config) if config is not None else AgentConfig()).database_url


def _require(path: Path) -> None:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        mend = "flyball agent makes it when it starts; where it runs elsewhere, name its --config FILE"
        raise DatabaseError("there is no database of alerts yet", where=str(path), mend=mend) from error
    except OSError as error:
        what = f"cannot be read: {(error.strerror or type(error).__name__).lower()}"
        mend = "do it as the user that the agent runs as"
        raise DatabaseError(what, where=str(path), mend=mend) from error
