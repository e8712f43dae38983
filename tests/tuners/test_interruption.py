"""Real signals to a real process: what it says, what it calls, how it ends."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from flyball.tuners.interruption import FINISH_TEXT, STOP_TEXT, Interruption

# Says "ready", then what happens to it; reads its orders from stdin, so that nothing here waits by the clock.
PROGRAM = """
import signal, sys
from flyball.tuners.interruption import Interruption

def say(text):
    print(text, flush=True)

if "nohup" in sys.argv:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
with Interruption(say) as interruption:
    if "kill" in sys.argv:
        interruption.on_stop(lambda: say("killed"))
    if "broken" in sys.argv:
        interruption.on_stop(lambda: 1 / 0)
        interruption.on_stop(lambda: say("killed all the same"))
    try:
        say("ready")
        for line in sys.stdin:
            say(f"finish={interruption.finish_requested} stop={interruption.stop_now}")
    except KeyboardInterrupt:
        say("KeyboardInterrupt")
        sys.exit(130)
say(f"restored={signal.getsignal(signal.SIGINT) is signal.default_int_handler}")
"""


class Process:
    def __init__(self, *arguments: str) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.expect("ready")

    def signal(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def expect(self, line: str) -> None:
        assert self._child.stdout is not None
        assert self._child.stdout.readline().rstrip("\n") == line

    def state(self) -> str:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write("state\n")
        return self._child.stdout.readline().rstrip("\n")

    def end(self) -> str:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        rest = self._child.stdout.read()
        self._child.wait()
        return rest

    @property
    def status(self) -> int:
        return self._child.wait()

    def close(self) -> None:
        self._child.kill()
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None and not stream.closed:
                stream.close()


@pytest.fixture
def start() -> Iterator[type[Process]]:
    started: list[Process] = []

    class Started(Process):
        def __init__(self, *arguments: str) -> None:
            started.append(self)
            super().__init__(*arguments)

    yield Started
    for process in started:
        process.close()


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_asks_to_finish_and_the_second_to_stop(
    start: type[Process], first: signal.Signals
) -> None:
    process = start("kill")
    assert process.state() == "finish=False stop=False"
    process.signal(first)
    process.expect(f"{first.name}: {FINISH_TEXT}")
    assert process.state() == "finish=True stop=False"
    process.signal(signal.SIGTERM)
    process.expect(f"SIGTERM: {STOP_TEXT}")
    process.expect("killed")
    assert process.state() == "finish=True stop=True"
    assert process.end() == "restored=True\n"


def test_the_third_signal_leaves_at_once(start: type[Process]) -> None:
    process = start()
    for text in (FINISH_TEXT, STOP_TEXT):
        process.signal(signal.SIGINT)
        process.expect(f"SIGINT: {text}")
    process.signal(signal.SIGINT)
    process.expect("KeyboardInterrupt")
    assert process.status == 130


def test_a_terminal_that_closes_never_asks_for_more_than_finishing(start: type[Process]) -> None:
    process = start()
    process.signal(signal.SIGHUP)
    process.expect(f"SIGHUP: {FINISH_TEXT}")
    process.signal(signal.SIGHUP)
    assert process.state() == "finish=True stop=False"


def test_what_was_ignored_before_stays_ignored(start: type[Process]) -> None:
    process = start("nohup")
    process.signal(signal.SIGHUP)
    assert process.state() == "finish=False stop=False"


def test_one_callback_that_fails_does_not_keep_the_others_from_running(start: type[Process]) -> None:
    process = start("broken")
    process.signal(signal.SIGINT)
    process.expect(f"SIGINT: {FINISH_TEXT}")
    process.signal(signal.SIGINT)
    process.expect(f"SIGINT: {STOP_TEXT}")
    process.expect("while stopping: division by zero")
    process.expect("killed all the same")


def test_a_callback_comes_once_and_can_be_taken_back() -> None:
    called: list[str] = []
    with Interruption() as interruption:
        forget = interruption.on_stop(lambda: called.append("forgotten"))
        forget()
        interruption.on_stop(lambda: called.append("kept"))
        interruption.request("a test")
        interruption.request("a test")
    assert called == ["kept"]
    interruption.on_stop(lambda: called.append("late"))
    assert called == ["kept", "late"]


def test_a_line_that_cannot_be_said_does_not_keep_from_killing() -> None:
    def broken(text: str) -> None:
        raise OSError(5, "Input/output error")

    called: list[str] = []
    with Interruption(broken) as interruption:
        interruption.on_stop(lambda: called.append("killed"))
        interruption.request("a test")
        interruption.request("a test")
    assert called == ["killed"]
