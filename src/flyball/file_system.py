"""Which file system a path lies on: SQLite's write-ahead log needs memory shared by one kernel.

And whether what lies there is a file at all.
"""

import errno
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

MOUNTS = Path("/proc/self/mountinfo")

NETWORK_FILE_SYSTEMS = frozenset(
    [
        "9p",
        "acfs",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "fhgfs",
        "fuse.beegfs",
        "fuse.ceph",
        "fuse.ceph-fuse",
        "fuse.curlftpfs",
        "fuse.davfs",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.goofys",
        "fuse.juicefs",
        "fuse.lizardfs",
        "fuse.mfs",
        "fuse.moosefs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "fuse.weka",
        "gfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "mmfs",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "panfs",
        "pvfs2",
        "smb2",
        "smb3",
        "smbfs",
        "vboxsf",
        "wekafs",
    ]
)
"""Types in mountinfo whose files several machines may have open at once."""


def file_system_of(path: Path, *, mounts: Path = MOUNTS) -> str | None:
    """Return the type of the file system that a path lies on or would be made on; None when unknown.

    Follows links; the format is proc_pid_mountinfo(5)'s.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    real, best, found = path.resolve(), -1, None
    for line in lines:
        point, kind = _mount(line)
        # Of two mounts on one point the later hides the earlier.
        if point is not None and real.is_relative_to(point) and len(point.parts) >= best:
            best, found = len(point.parts), kind
    return found


def _mount(line: str) -> tuple[Path | None, str | None]:
    before, _, after = line.partition(" - ")
    fields, kinds = before.split(), after.split()
    if len(fields) < 5 or not kinds:
        return None, None
    # Blanks and backslashes in a mount point are written as \040 and the like.
    point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
    return Path(point), kinds[0]


def is_open_to_all(path: Path) -> bool:
    """Whether every user of this machine may read or write a file: by its mode, and that of its folders."""
    try:
        mode = path.stat().st_mode
        folders = [each.stat().st_mode for each in path.resolve().parents]
    except OSError:
        return False
    may_reach = all(each & stat.S_IXOTH for each in folders)
    return may_reach and bool(mode & (stat.S_IROTH | stat.S_IWOTH))


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; a pipe or device, which may block for ever, is refused. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "is no regular file", str(path))
