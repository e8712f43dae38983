"""Opens what stands in a run's folder without trusting it: in a shared one any user may have put it there."""

import errno
import os
import stat
from pathlib import Path

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK the opening of a FIFO waits for its writer.
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class JournalRefused(Exception):
    """A journal or its folder that is not read.

    Args:
        reason: one of few, in snake case.
        detail: what was found.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}")


def open_folder(path: Path) -> int:
    """A descriptor of a run's folder, which is no link. Raises FileNotFoundError, JournalRefused."""
    try:
        return os.open(path, FOLDER_FLAGS)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _refused(path.name, error) from error


def open_journal(folder: int, name: str, *, same_owner: bool) -> tuple[int, os.stat_result]:
    """A descriptor of a regular file in a folder, and what it is.

    Args:
        folder: the folder's descriptor.
        name: the file's name in it.
        same_owner: whether the file must belong to whom the folder belongs to.

    Raises:
        FileNotFoundError: there is none.
        JournalRefused: a link, no regular file, another's file, or one that may not be read.
    """
    try:
        descriptor = os.open(name, FILE_FLAGS, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _refused(name, error) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise JournalRefused("journal_not_a_file", f"{name} is no regular file")
        owner = os.fstat(folder).st_uid
        if same_owner and found.st_uid != owner:
            raise JournalRefused(
                "journal_of_another_user", f"{name} belongs to uid {found.st_uid}, its folder to {owner}"
            )
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, found


def is_shared(root: Path) -> bool:
    """Whether others than its owner may put runs into this folder; a folder that is not there is not."""
    try:
        return bool(root.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    except OSError:
        return False


def _refused(name: str, error: OSError) -> JournalRefused:
    reasons = {PermissionError: "journal_no_permission", NotADirectoryError: "journal_folder_is_no_folder"}
    # ELOOP: O_NOFOLLOW met a symbolic link. A link to a folder is ENOTDIR where O_DIRECTORY is asked too.
    reason = next((word for kind, word in reasons.items() if isinstance(error, kind)), "journal_not_opened")
    if error.errno == errno.ELOOP:
        reason = "journal_is_a_link"
    return JournalRefused(reason, f"{name}: {error.strerror}")
