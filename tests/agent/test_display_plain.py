"""Plain progress: what a log or a grep sees."""

import errno
import io
import re
from pathlib import Path

import pytest
from tests.agent.fakes import HOSTILE, FakeClock, play_long_study, trial_report

from flyball.agent.display_plain import PlainDisplay
from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import Phase


class CountingStream(io.StringIO):
    """Remembers how much had been written at each flush."""

    def __init__(self) -> None:
        super().__init__()
        self.flushed_lines: list[int] = []

    def flush(self) -> None:
        super().flush()
        self.flushed_lines.append(self.getvalue().count("\n"))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def stream() -> CountingStream:
    return CountingStream()


@pytest.fixture
def display(stream: CountingStream, clock: FakeClock) -> PlainDisplay:
    return PlainDisplay(stream, clock=clock)


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_a_study_reads_as_one_line_an_event(
    display: PlainDisplay, stream: CountingStream, clock: FakeClock
) -> None:
    display.study_started("tiny", Path("/r/tiny"), 600.0)
    display.note("forecast: 24 trials")
    display.time_left(590.0)
    display.trial_started(0, Phase.BASELINE, {})
    clock.sleep(7)
    display.trial_finished(trial_report(0, rate=100.0, phase=Phase.BASELINE), best=True)
    display.trial_started(1, Phase.SEARCH, {"zero_stage": 1, "reduce_bucket_size": 50_000_000})
    clock.sleep(65)
    failed = trial_report(1, rate=None, kind=OutcomeKind.OUT_OF_MEMORY, reason="rank 1: 2 GiB asked for")
    display.trial_finished(failed, best=False)
    assert lines(stream) == [
        "flyball     0s study    tiny output=/r/tiny budget=10m00s",
        "flyball     0s note     forecast: 24 trials",
        "flyball     0s left     10m00s",
        "flyball     0s start    trial=0 phase=baseline your own configuration",
        (
            "flyball     7s finish   trial=0 phase=baseline outcome=completed seconds=6.2 "
            "rate=100 low=97 high=103 steps=40 best"
        ),
        "flyball     7s start    trial=1 phase=search zero_stage=1 reduce_bucket_size=5e7",
        (
            "flyball  1m12s finish   trial=1 phase=search outcome=out_of_memory seconds=6.2 "
            "reason=rank 1: 2 GiB asked for"
        ),
    ]


def test_a_study_for_energy_says_joules_a_sample_and_the_throughput(
    display: PlainDisplay, stream: CountingStream
) -> None:
    display.trial_finished(trial_report(0, rate=100.0, samples_per_joule=0.1), best=True)
    assert "energy=10 low=9.709 high=10.31 rate=100 steps=40 best" in stream.getvalue()


def test_every_line_is_flushed_as_it_is_written(display: PlainDisplay, stream: CountingStream) -> None:
    play_long_study(display, FakeClock().sleep)
    assert stream.flushed_lines == list(range(1, len(lines(stream)) + 1))


def test_progress_is_a_sign_of_life_not_a_flood(
    display: PlainDisplay, stream: CountingStream, clock: FakeClock
) -> None:
    display.trial_started(3, Phase.SEARCH, {})
    for step in range(1, 101):
        clock.sleep(1)
        display.trial_progress(3, step, 50.0 + step)
    progress = [line for line in lines(stream) if " progress " in line]
    assert [line.split("progress ")[1] for line in progress] == [
        "trial=3 steps=30 rate=80",
        "trial=3 steps=60 rate=110",
        "trial=3 steps=90 rate=140",
    ]


def test_time_left_is_said_when_it_reads_otherwise(display: PlainDisplay, stream: CountingStream) -> None:
    for seconds in (600.0, 595.0, 590.0, 540.0, None, None):
        display.time_left(seconds)
    assert [line.split()[-1] for line in lines(stream)] == ["10m00s", "9m00s", "unknown"]


def test_hostile_text_stays_on_its_line_and_out_of_the_terminal(
    display: PlainDisplay, stream: CountingStream
) -> None:
    display.study_started(HOSTILE, Path(HOSTILE), None)
    display.note(HOSTILE)
    display.trial_started(1, Phase.SEARCH, {HOSTILE: HOSTILE})
    report = trial_report(1, rate=None, kind=OutcomeKind.CRASHED, reason=HOSTILE, notes=(HOSTILE,))
    display.trial_finished(report, best=False)
    assert len(lines(stream)) == 5
    assert all(re.fullmatch(r"flyball +0s \w+ +\S[ -~]*", line) for line in lines(stream))
    assert "[bold red]big[/]" in stream.getvalue()


@pytest.mark.parametrize("fault", [BrokenPipeError(errno.EPIPE, "gone"), OSError(errno.EIO, "hung up")])
def test_a_reader_that_left_does_not_end_the_study(fault: OSError) -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise fault

    play_long_study(PlainDisplay(Broken(), clock=FakeClock()), FakeClock().sleep)


def test_a_closed_stream_does_not_end_the_study() -> None:
    stream = io.StringIO()
    stream.close()
    play_long_study(PlainDisplay(stream, clock=FakeClock()), FakeClock().sleep)
