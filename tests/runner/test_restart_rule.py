import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from flyball.runner.foreground import Ending
from flyball.runner.restart_rule import Failure, LastWords, read_last_words, refusal

WORDS = LastWords(rank=1, type="ValueError", message="sample 17 is empty", where="train.py:40")
CRASH = Failure(ending=Ending(exit_status=1), last_words=WORDS)


def test_a_crash_is_started_again_as_often_as_allowed() -> None:
    assert refusal([CRASH], 2) is None
    assert refusal([CRASH, CRASH], 2) is None
    assert refusal([CRASH] * 3, 2) == "2 restarts were made, as many as --max-restarts allows"


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (Ending(exit_status=1, told=(signal.SIGTERM,)), "SIGTERM"),
        (Ending(exit_status=0, told=(signal.SIGINT,)), "SIGINT"),
        (Ending(signal=signal.SIGINT), "SIGINT"),
        (Ending(signal=signal.SIGTERM), "SIGTERM"),
        (Ending(exit_status=130), "SIGINT"),
        (Ending(exit_status=143), "SIGTERM"),
    ],
)
def test_who_is_told_to_end_is_not_started_again(ending: Ending, said: str) -> None:
    assert refusal([Failure(ending=ending)], 5) == f"it was told to end ({said})"


def test_an_interrupt_that_only_the_script_has_seen_counts_as_well() -> None:
    words = replace(WORDS, type="KeyboardInterrupt", message="")
    assert refusal([replace(CRASH, last_words=words)], 5) == "it was told to end (KeyboardInterrupt)"


@pytest.mark.parametrize(
    "ending", [Ending(signal=signal.SIGKILL), Ending(exit_status=137), Ending(exit_status=1)]
)
def test_who_is_killed_is_started_again(ending: Ending) -> None:
    assert refusal([Failure(ending=ending), Failure(ending=ending, made_new_step=False)], 5) is None


def test_a_hang_is_started_again_although_we_ended_it() -> None:
    hung = Failure(ending=Ending(signal=signal.SIGTERM), hung="no step for 300 s")
    assert refusal([hung], 1) is None
    told = replace(hung, ending=Ending(signal=signal.SIGTERM, told=(signal.SIGTERM,)))
    assert refusal([told], 1) == "it was told to end (SIGTERM)"


def test_the_same_exception_twice_before_any_new_step_is_the_scripts_own() -> None:
    again = replace(
        CRASH, last_words=replace(WORDS, rank=0, message="sample 18 is empty"), made_new_step=False
    )
    said = refusal([CRASH, again], 5)
    assert said == "it fails the same way before any new step (rank 0: ValueError: sample 18 is empty)"


@pytest.mark.parametrize(
    "other",
    [
        replace(CRASH, made_new_step=True),
        replace(CRASH, last_words=replace(WORDS, type="KeyError"), made_new_step=False),
        replace(CRASH, last_words=replace(WORDS, where="train.py:41"), made_new_step=False),
        replace(CRASH, last_words=None, made_new_step=False),
    ],
)
def test_another_exception_or_one_after_a_new_step_is_not(other: Failure) -> None:
    assert refusal([CRASH, other], 5) is None


def test_last_words_are_the_first_exception_that_is_no_peers_loss(tmp_path: Path) -> None:
    def write(rank: int, *records: tuple[float, str, str]) -> None:
        lines = [
            {
                "kind": "exception",
                "time": time,
                "clock": time,
                "type": kind,
                "message": message,
                "where": "a.py:1",
            }
            for time, kind, message in records
        ]
        (tmp_path / f"rank-{rank}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    write(0, (9.0, "ValueError", "of the start before"), (11.0, "RuntimeError", "Connection closed by peer"))
    write(1, (12.0, "KeyError", "late"))
    write(2, (11.5, "IndexError", "out of range\nmore"))
    found = read_last_words(tmp_path, since=10.0)
    assert found == LastWords(rank=2, type="IndexError", message="out of range\nmore", where="a.py:1")
    assert found.text == "rank 2: IndexError: out of range"
    assert read_last_words(tmp_path, since=20.0) is None
