"""What ``--dry-run`` prints: the space, the first configurations, what it would cost; nothing is launched."""

from flyball.tuners.base import Value
from flyball.tuners.job.job import Job
from flyball.tuners.knobs.knob import written
from flyball.tuners.options import StudyOptions
from flyball.tuners.results.summary import duration
from flyball.tuners.search.loop import changed_knobs
from flyball.tuners.search.priors import distinct, first_guesses, suggested_guesses
from flyball.tuners.search.suggestions import leading_alerts, suggested_knobs
from flyball.tuners.space.space import Space
from flyball.tuners.trials.spending import CONFIRMATION_RUNS, FINALISTS
from flyball.tuners.verification.plan import Rules

FIRST = 6
COUNTED = 20_000
"""Spaces up to this size are counted point by point; larger ones are estimated from above."""


def describe(job: Job, space: Space, options: StudyOptions, rules: Rules, seconds_a_run: float | None) -> str:
    """Return the text of a dry run.

    Args:
        seconds_a_run: as an earlier study of the same command took on this machine, or None.
    """
    aim = f"objective {options.objective}, in {options.objective.terms.unit}"
    lines = ["dry run: nothing was launched", "", *place_lines(job), aim, "", *space_lines(space)]
    lines += ["", *left_out_lines(space), *first_lines(space, options), ""]
    return "\n".join([*lines, *cost_lines(options, space, rules, seconds_a_run)]) + "\n"


def place_lines(job: Job) -> list[str]:
    """Return what was understood of the command."""
    command = job.command
    where = str(command.config_path) if command.config_path else "held by the script; read on the first run"
    target = command.script or f"-m {command.module}"
    lines = [f"command   {command.launcher}, {command.ranks} ranks on {job.context.device}, {target}"]
    lines.append(f"config    {where}")
    lines += [f"also      {option} carries {key}" for key, option in sorted(command.maps.items())]
    lines += [f"output    {option} goes to each trial's own folder" for option in command.redirected]
    return [*lines, *(f"warning   {finding.key}: {finding.what}; {finding.mend}" for finding in job.warnings)]


def space_lines(space: Space) -> list[str]:
    """Return the knobs with their values, the user's own in brackets."""
    width = max((len(entry.knob.name) for entry in space.entries), default=0)
    lines = [f"space     {size_text(space)} over {len(space.entries)} knobs; yours in [brackets]"]
    for entry in space.entries:
        values = (
            f"[{written(value)}]" if value == entry.current else written(value) for value in entry.values
        )
        lines.append(f"  {entry.knob.name:<{width}}  {' '.join(values)}  ({entry.source})")
    return lines


def size_text(space: Space) -> str:
    """Return how many points there are: counted where that is quick."""
    size = space.size()
    if size > COUNTED:
        return f"at most {size:,} points"
    return f"{sum(1 for _ in space.enumerate()):,} legal points"


def left_out_lines(space: Space) -> list[str]:
    """Return the knobs that are not varied, and why."""
    if not space.left_out:
        return []
    return ["left out", *(f"  {name}: {why}" for name, why in sorted(space.left_out.items())), ""]


def first_lines(space: Space, options: StudyOptions) -> list[str]:
    """Return the first configurations that would be tried, as long as no alert fires in the first run."""
    lines = ["first configurations", "  0  yours"]
    suggested = tuple(suggested_knobs(leading_alerts(options.lead, ())))
    led = [either[0] for either in suggested_guesses(space, suggested)]
    guesses = distinct([*led, *first_guesses(space)], space.baseline_assignment())
    for number, point in enumerate(guesses[:FIRST], start=1):
        lines.append(f"  {number}  {changes_text(changed_knobs(space, point))}")
    return lines


def changes_text(changes: dict[str, Value]) -> str:
    """Return changed knobs in one line."""
    return ", ".join(f"{name}={written(value)}" for name, value in changes.items()) or "yours"


def cost_lines(options: StudyOptions, space: Space, rules: Rules, seconds_a_run: float | None) -> list[str]:
    """Return the forecast: runs, and time where the length of a run is known."""
    finalists = min(FINALISTS, max(space.size() - 1, 0))
    final = (rules.fewest_runs(1) if finalists else 0) + CONFIRMATION_RUNS
    most = rules.most_runs(max(finalists, 1)) + CONFIRMATION_RUNS
    limit = f"at most {options.trials} search runs" if options.trials else "search runs while they pay"
    lines = [f"cost      1 baseline run, {limit}, {final} to {most} runs to verify the best"]
    if options.budget_seconds is not None:
        lines.append(f"budget    {duration(options.budget_seconds)}, verification included")
    if seconds_a_run is None:
        return [*lines, "          how long a run takes is known after the first one"]
    total = (1 + final + (options.trials or 0)) * seconds_a_run
    known = f"a run took {duration(seconds_a_run)} in an earlier study of this command"
    return [*lines, f"          {known}: about {duration(total)} or more"]
