"""``flyball run``: a command under the probe, as if flyball were not there, and a summary at its end."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from flyball.agent import recovery_options as recovery
from flyball.agent import run_options as given
from flyball.agent.arguments import require_command
from flyball.agent.database_option import Database
from flyball.agent.run_options import StudyGiven, asked_of
from flyball.agent.study_options import absolute, check_name, current_folder, parse_whole
from flyball.agent.wiring import Wiring
from flyball.errors import OptionError
from flyball.settings import history_url
from flyball.tuners.objective import Objective

if TYPE_CHECKING:
    from flyball.agent.run_attempt import Attempt
    from flyball.agent.run_study import StudyOfRun
    from flyball.tuners.between_runs.turn import Asked, Turn

EXAMPLE = "flyball run -- deepspeed train.py --deepspeed_config ds.json"


def run(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the run; by default made up.")
    ] = None,
    ping_every_steps: Annotated[
        str | None,
        typer.Option(
            "--ping-every-steps",
            metavar="N",
            help="Measure the links between the ranks every N steps; by default never.",
        ),
    ] = None,
    checkpoint_every: recovery.CheckpointEvery = None,
    checkpoint_dir: recovery.CheckpointDir = None,
    keep_checkpoints: recovery.KeepCheckpoints = None,
    max_restarts: recovery.MaxRestarts = None,
    hang_after: recovery.HangAfter = None,
    study: given.Study = None,
    search_runs: given.SearchRuns = None,
    space: given.Space = None,
    config: given.Config = None,
    maps: given.Maps = None,
    objective: given.ObjectiveOf = None,
    least_throughput: given.LeastThroughput = None,
    samples_from: given.SamplesFrom = "batch",
    policies: given.Policies = None,
    memory_limit_ratio: given.MemoryLimitRatio = None,
    seed: given.Seed = None,
    output: given.Output = None,
    no_explore: given.NoExplore = False,
    first_step_within: given.FirstStepWithin = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", metavar="", help="Print no summary.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the summary there as JSON.")
    ] = None,
    db: Database = None,
) -> None:
    """Run a command under the probe and print a summary at its end; with --study, tune it run by run.

    With --max-restarts it is started again, from its newest checkpoint, after a failure.

    Its terminal, its signals and its exit status are its own; whatever fails in flyball, it runs on.
    """
    wiring: Wiring = context.obj
    command = require_command(
        wiring.command, context.args, program="flyball run", purpose="run", example=EXAMPLE
    )
    check_name(name, what="a run")
    every = parse_whole(ping_every_steps, where="--ping-every-steps", least=1, most=10**9)
    of_study = StudyGiven(
        study=study,
        search_runs=search_runs,
        space=space,
        config=config,
        maps=maps,
        objective=objective,
        least_throughput=least_throughput,
        samples_from=samples_from,
        policies=policies,
        memory_limit_ratio=memory_limit_ratio,
        seed=seed,
        output=output,
        no_explore=no_explore,
        first_step_within=first_step_within,
    )
    recovers = recovery.recovering(
        checkpoint_every=checkpoint_every,
        checkpoint_dir=checkpoint_dir,
        keep_checkpoints=keep_checkpoints,
        max_restarts=max_restarts,
        hang_after=hang_after,
        study=study,
    )
    url = db or history_url()
    _Running(
        err=wiring.err,
        command=command,
        name=name,
        ping_every_steps=every or 0,
        recovering=recovers,
        quiet=quiet,
        target=_json_target(json_file),
        database_url=url,
        asked=asked_of(of_study, command, url),
        first_step_within=of_study.first_step_seconds(),
    ).to_the_end()


def _json_target(path: Path | None) -> Path | None:
    if path is None:
        return None
    whole = absolute(path, current_folder(), where="--json")
    if whole.is_dir() or not whole.parent.is_dir():
        mend = "name a file in a folder that exists"
        raise OptionError(f"{whole} cannot be written", where="--json", mend=mend)
    return whole


@dataclass(kw_only=True)
class _Running:
    """One invocation: the command, started once or, in a study, a second time as the user has it."""

    err: TextIO
    command: Sequence[str]
    name: str | None
    ping_every_steps: int
    recovering: recovery.Recovering | None
    quiet: bool
    target: Path | None
    database_url: str
    asked: "Asked | None"
    first_step_within: float | None

    def to_the_end(self) -> None:
        from flyball.agent.run_study import StudyOfRun
        from flyball.runner.foreground import leave
        from flyball.tuners.between_runs.turn import Turn

        study = StudyOfRun(asked=self.asked) if self.asked else None
        turn = study.take() if study else Turn(study="")
        self._say(turn.lines, study)
        attempt = self._attempt(turn, self.name)
        ended = [attempt]
        attempt.run()
        if study and self._restarts(attempt, study):
            turn = study.take_own()
            self._say(turn.lines, study)
            attempt = self._attempt(turn, f"{self.name}-own" if self.name else None)
            ended.append(attempt)
            attempt.run()
        for each in ended:
            self._finish(each, study if each is attempt else None)
        leave(attempt.ending)

    def _attempt(self, turn: "Turn", name: str | None) -> "Attempt":
        from flyball.agent.run_attempt import Attempt
        from flyball.agent.run_study import first_step_seconds

        return Attempt(
            command=self.command,
            name=name,
            ping_every_steps=self.ping_every_steps,
            database_url=self.database_url,
            turn=turn,
            recovering=self.recovering,
            err=self.err,
            first_step_seconds=first_step_seconds(turn, self.first_step_within),
        )

    def _restarts(self, attempt: "Attempt", study: "StudyOfRun") -> bool:
        """Whether the user's own follows a configuration that failed; its failure is recorded first."""
        ending = attempt.ending
        if attempt.turn.is_own or (ending.signal is None and ending.exit_status == 0):
            return False
        attempt.watch.stop()
        # One that a scheduler ended counts as well, and its joules stand in no journal.
        needs_joules = attempt.turn.objective == Objective.ENERGY
        ended = attempt.ended(attempt.watch.seen() if needs_joules else None)
        if ended is None:
            return False
        recorded = study.record(ended)
        attempt.recorded = True
        self._say(recorded.lines, study)
        return recorded.restart

    def _finish(self, attempt: "Attempt", study: "StudyOfRun | None") -> None:
        watch, known = attempt.watch, None
        more: dict[str, Any] = {"study": attempt.turn.study} if attempt.turn.study else {}
        if attempt.recovered is not None:
            more["restarts"] = attempt.recovered.restarts
        try:
            known = watch.end(attempt.ending, **more)
            _tell(self.err, known, quiet=self.quiet, target=self.target, faults=watch.faults)
        except Exception as error:  # a closed stderr, a full disk: the command's status is what counts
            watch.faults.append(f"{type(error).__name__}: {error}")
        if study is None or attempt.recorded:
            return
        ended = attempt.ended(known)
        if ended is not None:
            self._say(study.record(ended).lines, study)

    def _say(self, lines: Sequence[str], study: "StudyOfRun | None") -> None:
        """Print what the study says, and at once what went wrong with it."""
        from flyball.agent.redact import redact_urls
        from flyball.agent.text import clean

        faults = [redact_urls(f"study {study.name}: {each}") for each in study.faults] if study else []
        if study is not None:
            study.faults.clear()
        said = [*([] if self.quiet else lines), *faults]
        with contextlib.suppress(OSError, ValueError):  # nobody reads
            self.err.write("".join(f"flyball: {clean(line)}\n" if line else "\n" for line in said))
            self.err.flush()


def _tell(
    err: TextIO, known: dict[str, Any], *, quiet: bool, target: Path | None, faults: Sequence[str]
) -> None:
    from flyball.agent.redact import redact_urls
    from flyball.agent.run_display import summary_lines
    from flyball.agent.text import clean
    from flyball.history.columns import plain

    lines = [] if quiet else summary_lines(known)
    if faults:
        lines.append(redact_urls(clean("flyball: " + "; ".join(faults))))
    if target is not None:
        try:
            target.write_text(json.dumps(plain(known), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            lines.append(clean(f"flyball: {target} was not written: {error.strerror}"))
    if lines:
        err.write("\n".join(lines) + "\n")
        err.flush()
