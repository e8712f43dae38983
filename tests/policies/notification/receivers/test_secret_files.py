"""A secret is read anew for each try, and a file system that hangs holds up neither the loop nor the try."""

import asyncio
import logging
import threading
from pathlib import Path

import pytest

from flyball.policies.notification.receivers import secret_files
from flyball.policies.notification.receivers.secret_files import SecretFile, SecretUnreadable, one_word

TRIES = 3


class Hanging:
    """Stands for ``open_regular`` on a file system that answers when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened, self._answers = 0, threading.Event()
        real = secret_files.open_regular

        def opening(path: Path):  # type: ignore[no-untyped-def]
            self.opened += 1
            self._answers.wait(10)
            return real(path)

        monkeypatch.setattr(secret_files, "open_regular", opening)

    def answer(self) -> None:
        self._answers.set()


def secret(path: Path) -> SecretFile:
    return SecretFile(path=path, where="receivers.ops.bearer_token_file", check=one_word, read_seconds=0.05)


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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "token"
    path.write_text("one", "ascii")
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
    (line,) = caplog.records
    assert (line.levelno, line.getMessage()) == (
        logging.WARNING,
        "secret not read anew; the last one stands",
    )
    assert str(path) in str(vars(line)["values"])


def test_where_there_is_no_last_one_it_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = Hanging(monkeypatch)

    async def read() -> None:
        with pytest.raises(
            SecretUnreadable, match=r"was not read within 0\.05 s; see whether its file system"
        ):
            await secret(tmp_path / "token").read()

    asyncio.run(read())
    hanging.answer()
