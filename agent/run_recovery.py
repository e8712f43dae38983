"""Starts a command of ``flyball run`` again from its newest whole checkpoint, as often as that may help."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from flyball.agent.durations import format_duration
from flyball.agent.recovery_options import Recovering
from flyball.agent.text import clean
from flyball.clock import Clock
from flyball.runner.foreground import Ending, run_in_place
from flyball.runner.leftovers import Leftovers
from flyball.runner.probe.heartbeat import remove_heartbeats
from flyball.runner.probe.manifest import newest_whole
from flyball.runner.rank_watch import RankWatch, end_ranks
from flyball.runner.restart_rule import Failure, read_last_words, refusal
from flyball.runner.watched_folder import WatchedFolder, change_settings

_SETTLE_SECONDS = 1.0
"""Whoever ends a whole job tells its processes one after the other: until then a signal may still come."""


def probe_settings(asked: Recovering, folder: Path) -> dict[str, Any]:
    """The settings of a run's probe that has checkpoints made in its folder, or below the one named."""
    root = asked.checkpoint_directory
    return {
        "recovers": True,
        "checkpoint_every": asked.checkpoint_every,
        "keep_checkpoints": asked.keep_checkpoints,
        "recovery_directory": str(root / folder.name if root is not None else folder / "checkpoints"),
    }


@dataclass(kw_only=True)
class RecoveredRun:
    """One command over all its starts, in one run's folder."""

    asked: Recovering
    folder: WatchedFolder
    clock: Clock
    err: TextIO
    restarts: list[dict[str, Any]] = field(default_factory=list)
    """Of each ``failure``, ``after_step``, ``step`` (that it went on from, or None), ``lost_steps``, and
    ``seconds`` from the last sign of life before it to the first step.
    """
    _failures: list[Failure] = field(default_factory=list)
    _furthest: int = 0
    _failed: float = 0.0
    _usual_start_seconds: float | None = None

    def to_the_end(
        self, tokens: Sequence[str], environment: Mapping[str, str], begin: Callable[[int], None]
    ) -> Ending:
        """Run the command until it succeeds, or starting it again is of no use; see ``run_in_place``.

        Args:
            begin: called with the process id of the first start.

        Raises:
            CommandError: there is no such program.
        """
        settings = probe_settings(self.asked, self.folder.path)
        if not self._prepare(settings):
            return run_in_place(tokens, environment, started=begin)
        root = settings["recovery_directory"]
        while True:
            watch = RankWatch(
                folder=self.folder.path,
                clock=self.clock,
                hang_seconds=self.asked.hang_seconds,
                usual_start_seconds=self._usual_start_seconds,
                first_step=self._stepped,
            )
            since = self.clock.time()
            ending = run_in_place(tokens, environment, started=partial(self._begin, watch, begin))
            if self.asked.max_restarts:
                watch.stop()
            self._failed = self.clock.monotonic() if watch.last_sign is None else watch.last_sign
            if ending.signal is None and ending.exit_status == 0 and watch.hung is None:
                return ending
            if not self.asked.max_restarts or not self._again(ending, watch, since, root):
                return ending

    def _begin(self, watch: RankWatch, begin: Callable[[int], None], pid: int) -> None:
        if not self._failures:
            begin(pid)
        if self.asked.max_restarts:
            watch.start()

    def _again(self, ending: Ending, watch: RankWatch, since: float, root: str) -> bool:
        """Say what failed, and whether all is ready for another start."""
        step = watch.furthest_step
        failure = Failure(
            ending=ending,
            hung=watch.hung,
            last_words=read_last_words(self.folder.path, since=since),
            made_new_step=step is not None and step > self._furthest,
        )
        self._failures.append(failure)
        self._furthest = max(self._furthest, step or 0)
        if watch.start_seconds is not None:
            self._usual_start_seconds = max(self._usual_start_seconds or 0.0, watch.start_seconds)
        after = f" after step {step}" if step is not None and watch.hung is None else ""
        why_not = refusal(self._failures, self.asked.max_restarts)
        if why_not is not None:
            self._say(f"{failure.text}{after}; not started again: {why_not}")
            return False
        end_ranks(self.folder.path)
        # A rank killed while it built an operator leaves a lock on which the next would wait for ever.
        left = Leftovers(started=since)
        left.observe_environment(self.folder.environment)
        left.break_stale_locks()
        time.sleep(_SETTLE_SECONDS)
        left.break_stale_locks()
        self._say(f"{failure.text}{after}; restart {len(self._failures)} of {self.asked.max_restarts}")
        resumed = self._choose(root)
        self.restarts.append(
            {
                "failure": failure.text,
                "after_step": step,
                "step": resumed,
                "lost_steps": None if step is None else max(0, step - (resumed or 0)),
                "seconds": None,
            }
        )
        return self._prepare({"resume_step": resumed})

    def _prepare(self, settings: Mapping[str, Any]) -> bool:
        """Write what the next start is to know; say it where that cannot be."""
        try:
            remove_heartbeats(str(self.folder.path))
            change_settings(self.folder.path, settings)
        except OSError as error:
            self._say(f"nothing is recovered from here on: {error.filename}: {error.strerror}")
            return False
        return True

    def _choose(self, root: str) -> int | None:
        """Find the checkpoint to go on from, and say what it brings back."""
        step, torn = newest_whole(root)
        for line in torn:
            self._say(line)
        if step is not None:
            self._say(
                f"goes on from the checkpoint of step {step}: weights, optimizer, learning rate schedule, "
                "loss scale and random numbers are restored; which data comes next is up to the script"
            )
        elif self.asked.checkpoint_every:
            self._say("there is no whole checkpoint of flyball's: the script begins as it is written")
        else:
            self._say("no checkpoints were asked for: the script begins, or resumes, as it is written")
        return step

    def _stepped(self, clock: float) -> None:
        if self.restarts and self.restarts[-1]["seconds"] is None:
            seconds = clock - self._failed
            self.restarts[-1]["seconds"] = seconds
            self._say(f"recovered: {format_duration(seconds)} from the last sign of life to the first step")

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads
            self.err.write(f"flyball: {clean(text)}\n")
            self.err.flush()
