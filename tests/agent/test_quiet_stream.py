"""A stream that breaks breaks nobody, and not the status of the process either."""

import os
import subprocess
import sys

import pytest

WRITES = """
import sys
from flyball.agent.quiet_stream import QuietStream
stream = QuietStream(sys.stdout)
sys.stdin.read()  # until the reader is gone
stream.write("x" * {length})
stream.flush()
stream.write("more")
"""


BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


@pytest.mark.parametrize("length", [10, 1_000_000], ids=["in the buffer", "longer than the buffer"])
def test_a_pipe_that_nobody_reads_does_not_become_the_status(length: int) -> None:
    reader, writer = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", WRITES.format(length=length)],
        stdin=subprocess.PIPE,
        stdout=writer,
        stderr=subprocess.PIPE,
        env=BUFFERED,
        text=True,
    ) as process:
        os.close(writer)
        os.close(reader)
        _, err = process.communicate("")
    assert (process.returncode, err) == (0, "")


def test_a_closed_stream_is_no_fault() -> None:
    code = "import sys; from flyball.agent.quiet_stream import QuietStream; sys.stdout.close()\n"
    done = subprocess.run(
        [sys.executable, "-c", code + "stream = QuietStream(sys.stdout); stream.write('x'); stream.flush()"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
