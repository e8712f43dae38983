import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from tests.patience import PATIENCE_SECONDS

from flyball.runner.process_tree import read_process, send_signal


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


@pytest.mark.parametrize("pidfd", [True, False], ids=["with pidfd", "without pidfd"])
def test_a_signal_reaches_exactly_the_process_that_was_meant(
    pidfd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not pidfd:
        monkeypatch.delattr(os, "pidfd_open")
    started = sleeper()
    try:
        found = read_process(started.pid)
        assert found is not None
        send_signal(replace(found, start_ticks=found.start_ticks + 1), signal.SIGKILL)
        assert started.poll() is None, "another process under the same id"
        send_signal(found, signal.SIGTERM)
        assert started.wait(timeout=PATIENCE_SECONDS) == -signal.SIGTERM
        send_signal(found, signal.SIGTERM)
    finally:
        started.kill()
        started.wait()
