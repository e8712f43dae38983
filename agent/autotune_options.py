"""The options of ``autotune``, each one declaration: type, placeholder, help, group of the help page."""

from pathlib import Path
from typing import Annotated

import typer

from flyball.agent.version import show_version

_WHAT = "What is tuned"
_EFFORT = "How much is spent"
_SAFETY = "What trials may do"
_RESULT = "What comes out"

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The DeepSpeed config, where the command does not name it.",
        rich_help_panel=_WHAT,
    ),
]
Space = Annotated[
    Path | None,
    typer.Option(
        "--space",
        metavar="FILE",
        help="The search space (YAML); by default the one that comes with flyball.",
        rich_help_panel=_WHAT,
    ),
]
Maps = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="KEY=OPTION",
        help="A config key whose value stands in the command as well; repeatable.",
        rich_help_panel=_WHAT,
    ),
]
FromAlert = Annotated[
    str | None,
    typer.Option(
        "--from-alert",
        metavar="URL",
        help="Start from a tuning request of an agent: its run's command and folder, and first the knobs "
        "that its alert suggests. The agent's own address means its newest request.",
        rich_help_panel=_WHAT,
    ),
]
AgentTokenFile = Annotated[
    Path | None,
    typer.Option(
        "--agent-token-file",
        metavar="FILE",
        help="Holds the bearer token for the agent of --from-alert.",
        rich_help_panel=_WHAT,
    ),
]
AgentCaFile = Annotated[
    Path | None,
    typer.Option(
        "--agent-ca-file",
        metavar="FILE",
        help="Certificates to trust for the agent of --from-alert, in place of the system's.",
        rich_help_panel=_WHAT,
    ),
]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        metavar="",
        help="Start from the tuning request of --from-alert also where somebody has begun with it.",
        rich_help_panel=_WHAT,
    ),
]
Policies = Annotated[
    list[str] | None,
    typer.Option(
        "--policies",
        metavar="FILE",
        help="Policies that trials are held against, in place of those that come with flyball; repeatable. "
        "'default' stands for the latter.",
        rich_help_panel=_WHAT,
    ),
]
ObjectiveOf = Annotated[
    str | None,
    typer.Option(
        "--objective",
        metavar="WHAT",
        help="What is made better: 'throughput' (samples a second; the default), 'latency' (seconds a step "
        "at your global batch) or 'energy' (joules a sample of all the job's GPUs).",
        rich_help_panel=_WHAT,
    ),
]
LeastThroughput = Annotated[
    str | None,
    typer.Option(
        "--least-throughput",
        metavar="RATIO",
        help="With --objective energy: recommend nothing that trains slower than this share of your own "
        "throughput; 0.80 by default.",
        rich_help_panel=_SAFETY,
    ),
]
SamplesFrom = Annotated[
    str,
    typer.Option(
        "--samples-from",
        metavar="SOURCE",
        help="What counts as a sample: a row of the 'batch' that enters forward, or, where rows are packed "
        "or paired, the micro batch of the 'config'.",
        rich_help_panel=_WHAT,
    ),
]
AllowGlobalBatch = Annotated[
    bool,
    typer.Option(
        "--allow-global-batch",
        metavar="",
        help="Let the global batch change too; the learning-rate rule is then reported.",
        rich_help_panel=_WHAT,
    ),
]
Trials = Annotated[
    str | None,
    typer.Option(
        "--trials",
        metavar="N",
        help="The most search trials; verification comes on top.",
        rich_help_panel=_EFFORT,
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="TIME",
        help="Wall-clock limit, verification included: 90s, 10m, 1h30m; "
        "30m where --trials is not given either.",
        rich_help_panel=_EFFORT,
    ),
]
Seed = Annotated[
    str | None,
    typer.Option(
        "--seed",
        metavar="N",
        help="Seed of the search and of the verification's order; by default drawn and recorded.",
        rich_help_panel=_EFFORT,
    ),
]
AblationLimit = Annotated[
    str | None,
    typer.Option(
        "--ablation",
        metavar="TIME",
        help="The most that measuring what each change brings may take, after the verdict: 5m, or 'off'; "
        "by default what the budget leaves.",
        rich_help_panel=_EFFORT,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        metavar="",
        help="Print the legal space, the first configs and the cost forecast; launch nothing.",
        rich_help_panel=_EFFORT,
    ),
]
Resume = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="EXPERIMENT",
        help="Go on with an experiment, by its name or its results folder; without a value, the newest.",
        rich_help_panel=_EFFORT,
    ),
]
Cold = Annotated[
    bool,
    typer.Option(
        "--cold",
        metavar="",
        help="Launch every trial by the command itself, never from a warm server.",
        rich_help_panel=_SAFETY,
    ),
]
AllowWrites = Annotated[
    list[Path] | None,
    typer.Option(
        "--allow-writes",
        metavar="DIR",
        help="A folder that the script may write to during trials; repeatable.",
        rich_help_panel=_SAFETY,
    ),
]
MemoryLimitRatio = Annotated[
    str,
    typer.Option(
        "--memory-limit-ratio",
        metavar="RATIO",
        help="Recommend nothing that reserves more than this share of the device's memory.",
        rich_help_panel=_SAFETY,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--name", metavar="NAME", help="Name of the experiment; by default made up.", rich_help_panel=_RESULT
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="DIR",
        help="Results folder; by default ./flyball_results/<experiment>/.",
        rich_help_panel=_RESULT,
    ),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--db",
        metavar="URL",
        envvar="FLYBALL_DB",
        help="History database; by default history.db in flyball's state folder.",
        rich_help_panel=_RESULT,
    ),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        metavar="",
        help="Print recommendation.json at the end; progress goes to stderr.",
        rich_help_panel=_RESULT,
    ),
]
DetailedExitcode = Annotated[
    bool,
    typer.Option(
        "--detailed-exitcode",
        metavar="",
        help="Exit 3 on the verdict keep and 4 on unverified, not 0.",
        rich_help_panel=_RESULT,
    ),
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug", metavar="", help="Show tracebacks of unexpected errors.", rich_help_panel=_RESULT
    ),
]
Version = Annotated[
    bool,
    typer.Option(
        "--version",
        metavar="",
        callback=show_version,
        is_eager=True,
        help="Print the version and exit.",
        rich_help_panel=_RESULT,
    ),
]
