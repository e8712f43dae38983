"""A secret is read anew for each try, and a file system that hangs holds up neither the loop nor the try."""

import asyncio
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.patience import PATIENCE_SECONDS

from flyball.policies.notification.receivers import secret_files
from flyball.policies.notification.receivers.secret_files import (
    OPEN_TO_ALL,
    SecretFile,
    SecretUnreadable,
    one_word,
)

TRIES = 3
WHERE = "receivers.ops.bearer_token_file"


class Hanging:
    """Stands for ``open_regular`` on a file system that answers when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened, self._answers = 0, threading.Event()
        real = secret_files.open_regular

        def opening(path: Path):  # type: ignore[no-untyped-def]
            self.opened += 1
            self._answers.wait(PATIENCE_SECONDS)
            return real(path)

        monkeypatch.setattr(secret_files, "open_regular", opening)

    def answer(self) -> None:
        self._answers.set()


class Said:
    """What was warned of."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def warn(self, event: str, **values: object) -> None:
        self.lines.append((event, values))


SAID = Said()


@pytest.fixture(autouse=True)
def silence() -> None:
    SAID.lines.clear()


def secret(path: Path) -> SecretFile:
    return SecretFile(path=path, where=WHERE, check=one_word, warn=SAID.warn, read_seconds=0.05)


def test_a_secret_that_is_replaced_counts_at_once(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one", "ascii")

    async def read() -> tuple[str, str]:
        file = secret(path).checked()
        first = await file.read()
        path.write_text("two", "ascii")
        return first, await file.read()

    assert asyncio.run(read()) == ("one", "two")


def test_the_last_one_stands_while_the_file_hangs_and_it_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    path.write_text("one", "ascii")
    path.chmod(0o600)
    file = secret(path).checked()
    hanging = Hanging(monkeypatch)
    path.write_text("two", "ascii")

    async def read() -> None:
        assert [await file.read() for _ in range(TRIES)] == ["one"] * TRIES
        assert hanging.opened == 1, "one thread waits, not one for each try"
        assert file._reading is not None
        hanging.answer()
        await asyncio.wait({file._reading})
        assert await file.read() == "two"

    asyncio.run(read())
    reason = f"{path}: was not read within 0.05 s"
    assert SAID.lines == [("secret not read anew; the last one stands", {"where": WHERE, "reason": reason})]


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every user may enter: pytest's own are not such."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize(
    ("mode", "folder_mode", "open_to_all"),
    [
        (0o644, 0o755, True),
        (0o666, 0o755, True),
        (0o602, 0o711, True),
        (0o640, 0o755, False),
        (0o600, 0o755, False),
        (0o644, 0o750, False),
    ],
)
def test_a_file_that_every_user_can_read_or_change_is_warned_of(
    reachable: Path, mode: int, folder_mode: int, open_to_all: bool
) -> None:
    folder = reachable / "secrets"
    folder.mkdir()
    (folder / "token").write_text("one", "ascii")
    (folder / "token").chmod(mode)
    folder.chmod(folder_mode)
    secret(folder / "token").checked()
    warned = (OPEN_TO_ALL, {"where": WHERE, "mend": f"chmod 600 {folder / 'token'}"})
    assert SAID.lines == ([warned] if open_to_all else [])


def test_where_there_is_no_last_one_it_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = Hanging(monkeypatch)

    async def read() -> None:
        with pytest.raises(
            SecretUnreadable, match=r"was not read within 0\.05 s; see whether its file system"
        ):
            await secret(tmp_path / "token").read()

    asyncio.run(read())
    hanging.answer()
