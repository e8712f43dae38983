"""Whether a process has ended for certain, told of real ones."""

import os
import subprocess
import sys
import time

from flyball.collectors.processes import certainly_gone, pid_namespace, process_started


def test_a_process_that_lives_is_not_gone() -> None:
    started = process_started(os.getpid())
    assert started is not None
    assert not certainly_gone(pid_namespace(), os.getpid(), started)


def test_one_that_has_ended_is_gone_also_before_it_is_waited_for() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = process_started(process.pid)
        assert started is not None
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert certainly_gone(pid_namespace(), process.pid, started)
    assert certainly_gone(pid_namespace(), process.pid, started)


def test_an_id_that_another_process_has_by_now_is_gone() -> None:
    assert certainly_gone(pid_namespace(), os.getpid(), time.monotonic() - 1e6)


def test_of_another_namespace_nothing_is_said() -> None:
    for namespace in ("", "another boot/pid:[1]"):
        assert not certainly_gone(namespace, 2**22 - 1, 1.0)
