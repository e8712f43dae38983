"""What ``flyball run --study`` asks its study, in a process of its own: a fault there never stops the run."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flyball.errors import CommandError
from flyball.tuners.between_runs.turn import Asked, Ended, Recorded, Turn, turn_of_document

PROCESS = "flyball.tuners.between_runs.process"
ASK_SECONDS = 120.0
"""How long the run waits for its study before it starts without it."""
RECORD_SECONDS = 600.0
"""Journals of a long run are large."""
LEAST_FIRST_STEP_SECONDS = 600.0
FIRST_STEP_FACTOR = 10.0
"""A configuration that is tried may take so many times as long to its first step as the user's own did."""


def first_step_seconds(turn: Turn, given: float | None) -> float | None:
    """Return how long a configuration that is tried may take to its first step; None where none is tried."""
    if turn.is_own:
        return None
    if given is not None:
        return given
    own = turn.startup_seconds
    return None if own is None else max(LEAST_FIRST_STEP_SECONDS, FIRST_STEP_FACTOR * own)


@dataclass(kw_only=True)
class StudyOfRun:
    """The study of one production run, asked before it and told after it."""

    asked: Asked
    faults: list[str] = field(default_factory=list)
    """What went wrong, a line each."""

    @property
    def name(self) -> str:
        """As the user has it."""
        return self.asked.options.name or ""

    def take(self) -> Turn:
        """Return what the run does; the user's own command where the study cannot be used.

        Raises:
            CommandError: the study has not begun and cannot; nothing should run.
        """
        answer = self._call("ask", {}, seconds=ASK_SECONDS)
        if answer is None:
            return Turn(study="")
        turn = turn_of_document(answer)
        if turn.refused is not None:
            raise CommandError(turn.refused)
        return turn

    def take_own(self) -> Turn:
        """Return the user's own run that takes the place of a failed one."""
        document = replace(self.asked, own_only=True).document()
        answer = self._call("ask", {"asked": document}, seconds=ASK_SECONDS)
        turn = turn_of_document(answer) if answer is not None else Turn(study="")
        return turn if turn.is_own and turn.refused is None else Turn(study="")

    def record(self, ended: Ended) -> Recorded:
        """Record how the run ended; never raises."""
        answer = self._call("record", {"ended": ended.document()}, seconds=RECORD_SECONDS)
        if answer is None:
            return Recorded()
        return Recorded(restart=bool(answer["restart"]), lines=tuple(answer["lines"]))

    def _call(self, what: str, more: Mapping[str, Any], *, seconds: float) -> dict[str, Any] | None:
        request = {"asked": self.asked.document(), **more}
        try:
            done = subprocess.run(
                [sys.executable, "-m", PROCESS, what],
                input=json.dumps(request),
                capture_output=True,
                text=True,
                timeout=seconds,
                check=True,
            )
            answer: dict[str, Any] = json.loads(done.stdout)
        except subprocess.TimeoutExpired:
            return self._failed(what, f"no answer within {seconds:.0f} s")
        except subprocess.CalledProcessError as error:
            last = (error.stderr or "").strip().rpartition("\n")[2]
            return self._failed(what, last or f"exit status {error.returncode}")
        except (OSError, ValueError) as error:
            return self._failed(what, str(error))
        return self._failed(what, answer["fault"]) if "fault" in answer else answer

    def _failed(self, what: str, why: str) -> dict[str, Any] | None:
        meant = {
            "ask": "this run is your own command, outside the study",
            "record": "this run is not in the study",
        }
        self.faults.append(f"{meant[what]}: {why}")
        return None
