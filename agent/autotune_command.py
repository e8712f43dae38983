"""``autotune``: options in, validated; a study run; its summary or its recommendation out."""

from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import typer

from flyball.agent import autotune_options as given
from flyball.agent.arguments import misplaced_options, require_command
from flyball.agent.display import open_display
from flyball.agent.durations import parse_duration
from flyball.agent.study_options import (
    absolute,
    absolute_folder,
    check_choice,
    check_name,
    check_resumed,
    check_together,
    current_folder,
    parse_ablation,
    parse_least_throughput,
    parse_maps,
    parse_memory_limit_ratio,
    parse_objective,
    parse_whole,
    policy_files,
    space_path,
)
from flyball.agent.study_start import StudyStart, check_no_agent, led_text, start_from_alert
from flyball.agent.wiring import Wiring
from flyball.errors import StorageFailed
from flyball.settings import history_url
from flyball.tuners.interruption import Interruption
from flyball.tuners.options import StudyOptions, StudyResult

_DETAILED_STATUS = {"recommended": 0, "keep": 3, "unverified": 4}


def autotune(
    context: typer.Context,
    config: given.Config = None,
    space: given.Space = None,
    maps: given.Maps = None,
    objective: given.ObjectiveOf = None,
    allow_global_batch: given.AllowGlobalBatch = False,
    samples_from: given.SamplesFrom = "batch",
    policies: given.Policies = None,
    from_alert: given.FromAlert = None,
    agent_token_file: given.AgentTokenFile = None,
    agent_ca_file: given.AgentCaFile = None,
    force: given.Force = False,
    trials: given.Trials = None,
    budget: given.Budget = None,
    ablation: given.AblationLimit = None,
    seed: given.Seed = None,
    dry_run: given.DryRun = False,
    resume: given.Resume = None,
    cold: given.Cold = False,
    allow_writes: given.AllowWrites = None,
    memory_limit_ratio: given.MemoryLimitRatio = "0.90",
    least_throughput: given.LeastThroughput = None,
    name: given.Name = None,
    output: given.Output = None,
    db: given.DatabaseUrl = None,
    as_json: given.AsJson = False,
    detailed_exitcode: given.DetailedExitcode = False,
    debug: given.Debug = False,
    version: given.Version = False,
) -> None:
    """Find a faster DeepSpeed configuration for a command, by running it briefly with others.

    The command stands behind --, just as you type it, or comes with --from-alert. Its files, checkpoints
    and trackers are left alone.
    """
    wiring: Wiring = context.obj
    wiring.debug = wiring.debug or debug
    check_together(dry_run=dry_run, as_json=as_json, resume=resume, name=name)
    given_again = {
        "--config": config,
        "--space": space,
        "--map": maps,
        "--objective": objective,
        "--least-throughput": least_throughput,
        "--allow-global-batch": allow_global_batch,
        "--samples-from": samples_from != "batch",
        "--policies": policies,
        "--from-alert": from_alert,
        "--seed": seed,
        "--output": output,
    }
    if resume is not None:
        check_resumed(given_again)
    cwd = current_folder()
    needs_command = resume is None or wiring.command is not None or bool(context.args)
    sought = parse_objective(objective)
    own_config = absolute(config, cwd, where="--config") if config else None
    if from_alert is not None:
        stray = wiring.command is not None or bool(context.args)
        own = require_command(wiring.command, context.args) if stray else None
        start = start_from_alert(
            from_alert,
            command=own,
            cwd=cwd,
            config=own_config,
            token_file=agent_token_file,
            ca_file=agent_ca_file,
            force=force,
            clock=wiring.clock,
        )
    else:
        check_no_agent(token_file=agent_token_file, ca_file=agent_ca_file, force=force)
        command = require_command(wiring.command, context.args) if needs_command else ()
        start = StudyStart(command=command, cwd=cwd, config=own_config)
    options = StudyOptions(
        command=start.command,
        cwd=start.cwd,
        typed_in=cwd if start.cwd != cwd else None,
        database_url=db or history_url(),
        config=start.config,
        space=space_path(space, cwd) if space else None,
        trials=parse_whole(trials, where="--trials", least=1),
        budget_seconds=parse_duration(budget, where="--budget") if budget is not None else None,
        ablation_seconds=parse_ablation(ablation),
        seed=parse_whole(seed, where="--seed", least=0, most=2**32 - 1),
        output=absolute_folder(output, cwd, where="--output"),
        resume=resume,
        dry_run=dry_run,
        maps=parse_maps(maps or ()),
        name=check_name(name),
        warm=not cold,
        allowed_writes=_folders(allow_writes or [], cwd),
        memory_limit_ratio=parse_memory_limit_ratio(memory_limit_ratio),
        objective=sought,
        least_throughput_ratio=parse_least_throughput(least_throughput, sought),
        allow_global_batch=allow_global_batch,
        samples_from=check_choice(samples_from, ("batch", "config"), where="--samples-from"),
        policies=policy_files(policies, cwd),
        lead=start.lead,
    )
    result = _run(wiring, options, take=start.take, progress=wiring.err if as_json else wiring.out)
    _print_result(wiring.out, result, as_json=as_json)
    if detailed_exitcode and result.verdict is not None:
        raise typer.Exit(_DETAILED_STATUS[result.verdict])


def _folders(paths: list[Path], cwd: Path) -> tuple[Path, ...]:
    found = (absolute_folder(path, cwd, where="--allow-writes") for path in paths)
    return tuple(path for path in found if path is not None)


def _run(
    wiring: Wiring, options: StudyOptions, *, take: Callable[[], str | None], progress: TextIO
) -> StudyResult:
    with open_display(progress) as display, Interruption(display.note) as interruption:
        for option in misplaced_options(options.command):
            display.note(f"{option} stands behind --, so it goes to your script, not to autotune")
        if options.lead is not None and options.resume is None:
            display.note(led_text(options.lead))

        def begin() -> None:
            if told := take():
                display.note(told)

        result = wiring.run_study(options, observer=display, interruption=interruption, begin=begin)
        wiring.interrupted = interruption.finish_requested
    return result


def _print_result(out: TextIO, result: StudyResult, *, as_json: bool) -> None:
    if not as_json:
        out.write(result.summary.rstrip("\n") + "\n")
        return
    path = result.output_directory / "recommendation.json"
    try:
        out.write(path.read_text(encoding="utf-8").rstrip("\n") + "\n")
    except OSError as error:
        raise StorageFailed(f"cannot be read: {error.strerror}", where=str(path)) from error
