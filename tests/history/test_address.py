"""Database URLs: what they mean, what is refused, and that no password is ever shown."""

from pathlib import Path

import pytest

from flyball.database.address import anchored, masked, parse_address
from flyball.errors import DatabaseError


def test_a_sqlite_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    address = parse_address("sqlite:///past/history.db")
    assert address.path == tmp_path / "past" / "history.db"
    assert address.place == str(address.path)
    assert address.text == f"sqlite:///{address.path}"


def test_a_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_address("sqlite:///~/history.db").path == tmp_path / "history.db"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sqlite:///x.db", "sqlite:////etc/flyball/x.db"),
        ("sqlite+pysqlite:///data/x.db", "sqlite+pysqlite:////etc/flyball/data/x.db"),
        *(
            (same, same)
            for same in (
                *("sqlite:////srv/x.db", "sqlite:///~/x.db", "sqlite://", "sqlite:///", "sqlite:///:memory:"),
                *("sqlite://host/x.db", "postgresql://h/x", "postgresql:///x", "nonsense"),
            )
        ),
    ],
)
def test_a_relative_sqlite_path_starts_where_it_is_told(text: str, expected: str) -> None:
    assert anchored(text, Path("/etc/flyball")) == expected


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_reached_by_psycopg(scheme: str) -> None:
    address = parse_address(f"{scheme}://ann:s%40cret@db.example:5433/past")
    assert address.text == "postgresql+psycopg://ann:s%40cret@db.example:5433/past"
    assert address.place == "postgresql://ann:***@db.example:5433/past"
    assert "cret" not in repr(address)


def test_a_password_among_the_parameters_is_masked_too() -> None:
    address = parse_address("postgresql://ann@db/past?password=secret&sslmode=require")
    assert "secret" not in address.place
    assert "sslmode=require" in address.place
    assert "secret" in address.text


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("", "is not a database URL"),
        ("history.db", "is not a database URL"),
        ("/tmp/history.db", "is not a database URL"),
        ("postgresql://ann:secret@db:port/past", "is not a database URL"),
        ("mysql://ann:secret@db/past", "mysql databases are not supported"),
        ("postgresql+psycopg2://ann:secret@db/past", "psycopg2 databases are not supported"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:///file:x?mode=memory&uri=true", "no parameters"),
        ("sqlite://history.db", "has no host"),
        ("sqlite:///~nobody-of-this-name/x.db", "home folder that does not exist"),
    ],
)
def test_what_is_no_usable_url_is_refused_in_one_line(url: str, what: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        parse_address(url)
    assert what in caught.value.what.replace("a SQLite URL takes no parameters", "no parameters")
    assert caught.value.mend
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ann:p@ss@host/db", "postgresql://ann:***@host/db"),
        ("postgresql://ann:a/b@host:x/db", "postgresql://ann:***@host:x/db"),
        ("postgresql://host/db?password=a&user=b", "postgresql://host/db?password=***&user=b"),
        ("history.db", "history.db"),
    ],
)
def test_even_a_malformed_url_is_masked(text: str, shown: str) -> None:
    assert masked(text) == shown
