"""What is read must be a file: a pipe under its name would hold the agent for ever."""

import os
from pathlib import Path

import pytest

from flyball.agent.cli import run
from flyball.errors import OptionError
from flyball.file_system import open_regular
from flyball.policies.notification.receivers.secret_files import SecretFile, one_word, unheard


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_a_file_is_read_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text", "utf-8")
    (tmp_path / "link").symlink_to("file")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"text"


def test_what_is_no_file_is_refused(tmp_path: Path, pipe: Path) -> None:
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(OSError, match="is no regular file"):
            open_regular(path)
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)


def test_a_pipe_in_the_place_of_a_policy_file_is_one_line(
    pipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["policies", "check", str(pipe)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {pipe}: is no regular file; ")


def test_a_pipe_in_the_place_of_a_secret_is_one_line(pipe: Path) -> None:
    with pytest.raises(OptionError, match="is no regular file"):
        SecretFile(path=pipe, where="receivers.a.token_file", check=one_word, warn=unheard).checked()
