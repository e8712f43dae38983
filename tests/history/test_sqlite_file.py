"""A SQLite file that can be used, and every way in which one cannot: one line, the place, the mend."""

import contextlib
import os
import pwd
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, text
from tests.history.fakes import complete, new_experiment, new_trial

from flyball.database import open_database
from flyball.errors import DatabaseError, StorageFailed
from flyball.file_system import file_system_of
from flyball.history.store import History
from flyball.settings import history_url


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Root may write what is read-only: be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def test_every_connection_is_set_up(tmp_path: Path) -> None:
    wanted = {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 1500}
    database = open_database(url_of(tmp_path / "h.db"), busy_timeout_seconds=1.5)
    with database, database.reading() as session:
        assert {name: session.scalar(text(f"PRAGMA {name}")) for name in wanted} == wanted


@pytest.mark.parametrize("folder", ["{here}/a/state", "a/state"])
def test_the_default_folder_is_made_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLYBALL_STATE_DIR", folder.format(here=tmp_path))
    open_database(history_url()).close()
    assert [oct((tmp_path / each).stat().st_mode & 0o777) for each in ("a", "a/state")] == ["0o700"] * 2


def test_a_default_folder_that_cannot_be_made_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FLYBALL_STATE_DIR", str(tmp_path / "file" / "state"))
    with pytest.raises(DatabaseError, match="set FLYBALL_STATE_DIR"):
        open_database(history_url())


def not_a_database(path: Path) -> None:
    path.write_text("a letter to the editor\n" * 100)


def a_folder(path: Path) -> None:
    path.mkdir()


def damaged(path: Path) -> None:
    open_database(url_of(path)).close()
    data = bytearray(path.read_bytes())
    data[100:] = b"\xff" * (len(data) - 100)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("prepare", "what", "mend"),
    [
        (not_a_database, "is not a SQLite database", "name another file"),
        (a_folder, "is a folder", "history.db"),
        (damaged, "is damaged", "sqlite3 {path} .recover"),
    ],
)
def test_a_path_that_holds_no_database(
    tmp_path: Path, prepare: Callable[[Path], None], what: str, mend: str
) -> None:
    path = tmp_path / "h.db"
    prepare(path)
    with pytest.raises(DatabaseError) as caught:
        open_database(url_of(path))
    assert (caught.value.where, caught.value.what) == (str(path), what)
    assert mend.format(path=path) in (caught.value.mend or "")


def test_a_folder_of_the_users_own_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "h.db"
    with pytest.raises(DatabaseError, match=f"{path}: its folder does not exist; make it with mkdir -p"):
        open_database(url_of(path))
    assert not path.parent.exists()


def test_reading_makes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    with pytest.raises(DatabaseError, match="there is no such database"):
        open_database(url_of(path), for_reading=True)
    assert not path.exists()


def test_a_read_only_file(open_folder: Path) -> None:
    path = open_folder / "h.db"
    open_database(url_of(path)).close()
    path.chmod(0o444)
    open_folder.chmod(0o777)
    with unprivileged(), pytest.raises(DatabaseError, match=f"{path}: cannot be written: .* read-only; mend"):
        open_database(url_of(path))


def test_a_read_only_folder(open_folder: Path) -> None:
    open_folder.chmod(0o555)
    with unprivileged(), pytest.raises(DatabaseError, match=r"h\.db: cannot be opened; check .* may write"):
        open_database(url_of(open_folder / "h.db"))


@contextlib.contextmanager
def write_lock(path: Path) -> Iterator[None]:
    holder = sqlite3.connect(path, isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        yield
    finally:
        holder.close()


def test_a_lock_that_is_held_too_long(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    with open_database(url_of(path), busy_timeout_seconds=0.01) as database, write_lock(path):
        with pytest.raises(DatabaseError, match=f"is locked by another process; .* `fuser {path}`"):
            open_database(url_of(path), busy_timeout_seconds=0.01)
        with pytest.raises(StorageFailed, match=f"{path}: is locked by another process"):
            new_experiment(History(database))
        assert History(database).experiments() == []
        open_database(url_of(path), for_reading=True).close()


def test_a_full_disk_in_the_middle_loses_nothing_that_was_kept(tmp_path: Path) -> None:
    with open_database(url_of(tmp_path / "h.db")) as database:
        history = History(database)
        experiment = new_experiment(history)
        complete(history, new_trial(history, experiment, 0), 5.0)
        running = new_trial(history, experiment, 1)
        limit = 1

        @event.listens_for(database.engine, "checkout")
        def _limit(connection: sqlite3.Connection, *_: object) -> None:
            # SQLite never goes below what the file has already, so 1 means: not a page more.
            connection.execute(f"PRAGMA max_page_count = {limit}")

        long = ["x" * 200_000]
        with pytest.raises(
            StorageFailed, match="the disk is full; free some space, then go on with --resume"
        ):
            complete(history, running, 6.0, notes=long)
        assert [each.status for each in history.trials(experiment)] == ["finished", "running"]
        limit = 2**30
        assert complete(history, running, 6.0, notes=long)
        assert [each.samples_per_second for each in history.trials(experiment)] == [5.0, 6.0]


def test_a_fault_behind_another_library_is_seen(tmp_path: Path) -> None:
    def give_out() -> None:
        try:
            with database.engine.connect() as connection:
                connection.execute(text("SELECT * FROM gone"))
        except Exception as error:
            raise RuntimeError("the study cannot go on") from error

    with open_database(url_of(tmp_path / "h.db")) as database:
        with pytest.raises(StorageFailed, match="no such table: gone"), database.guard():
            give_out()
        with pytest.raises(ZeroDivisionError), database.guard():
            raise ZeroDivisionError


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:30 / /home rw - nfs4 server:/home rw
41 40 8:2 / /home/ann/local\\040disk rw - xfs /dev/sdb1 rw
50 22 0:31 / /data rw - xfs /dev/sdc1 rw
51 50 0:32 / /data rw master:3 - lustre mds:/data rw
60 22 0:33 / /mnt/share rw - fuse.sshfs ann@host: rw
malformed
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/h.db", "ext4"),
        ("/home/ann/h.db", "nfs4"),
        ("/homes/h.db", "ext4"),
        ("/home/ann/local disk/h.db", "xfs"),
        ("/data/x/h.db", "lustre"),
        ("/mnt/share/h.db", "fuse.sshfs"),
    ],
)
def test_the_innermost_and_latest_mount_counts(mounts: Path, path: str, kind: str) -> None:
    assert file_system_of(Path(path), mounts=mounts) == kind


def test_where_nothing_is_known_of_mounts_nothing_is_said(tmp_path: Path) -> None:
    assert file_system_of(tmp_path, mounts=tmp_path / "missing") is None


@pytest.mark.parametrize("path", ["/home/ann/h.db", "/data/h.db", "/mnt/share/h.db"])
def test_a_network_file_system_is_refused(mounts: Path, path: str) -> None:
    with pytest.raises(
        DatabaseError, match=f"{path}: lies on a network file system .*; name a file on a local"
    ):
        open_database(url_of(Path(path)), mounts=mounts)


def test_a_link_to_a_network_file_system_is_refused(mounts: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/mnt/share")
    with pytest.raises(DatabaseError, match=r"network file system \(fuse.sshfs\)"):
        open_database(url_of(tmp_path / "link" / "h.db"), mounts=mounts)


def modes(folder: Path) -> dict[str, int]:
    return {each.name: each.stat().st_mode & 0o777 for each in folder.iterdir()}


def test_a_private_file_is_its_owners_alone_with_all_that_stands_beside_it(tmp_path: Path) -> None:
    with open_database(f"sqlite:///{tmp_path / 'agent.db'}", private=True) as database:
        with database.writing() as session:
            session.execute(text("SELECT 1"))
        assert modes(tmp_path) == dict.fromkeys(("agent.db", "agent.db-wal", "agent.db-shm"), 0o600)


def test_a_private_file_that_was_given_to_a_group_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    open_database(f"sqlite:///{path}", private=True).close()
    path.chmod(0o640)
    with open_database(f"sqlite:///{path}", private=True):
        assert set(modes(tmp_path).values()) == {0o640}


def test_any_other_file_is_as_the_user_lets_files_be(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        open_database(f"sqlite:///{tmp_path / 'history.db'}").close()
    finally:
        os.umask(before)
    assert modes(tmp_path)["history.db"] == 0o640
