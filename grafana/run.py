"""The Run dashboard: one run, rank by rank."""

from grafana_foundation_sdk.builders import dashboard as builders

from flyball.collectors import catalog
from grafana import run_links, run_memory, run_steps
from grafana.frame import RUN, Panel, choice, dashboard, with_section
from grafana.panels import BAD, GOOD, PLAIN, WARN, Query, lines, number, states, steps
from grafana.query import (
    most,
    of_the_runs_gpus,
    of_the_runs_hosts,
    quantile,
    quantile_so_far,
    rate,
    select,
    total,
)

MINE = {"run": "=$run", "rank": "=~$rank"}
PHASES = {
    1: ("starting", "blue"),
    2: ("stepping", GOOD),
    3: ("evaluating", "purple"),
    4: ("checkpointing", WARN),
    5: ("finished", PLAIN),
}


def build() -> builders.Dashboard:
    """The whole dashboard."""
    board = dashboard(
        RUN, "flyball / Run", "One run: its speed, its ranks, its memory, its links, its GPUs and hosts."
    )
    run = choice(
        "run", "Run", "Runs that a probe watches.", catalog.RUN_INFO, several=False, where='{run!=""}'
    )
    rank = choice("rank", "Rank", "Ranks of the run.", catalog.RUN_INFO, several=True, where='{run="$run"}')
    board = board.with_variable(run).with_variable(rank)
    board = with_section(board, "Now", [*overview(), phases()])
    board = with_section(board, "Steps", run_steps.panels())
    board = with_section(board, "GPUs of the run", gpus())
    board = with_section(board, "Memory", run_memory.panels())
    board = with_section(board, "Links", run_links.panels())
    return with_section(board, "Hosts of the run", hosts())


def overview() -> list[Panel]:
    """One line of numbers."""
    samples = total("", rate(catalog.SAMPLES, "run, rank", **MINE))
    tokens = total("", rate(catalog.TOKENS, "run, rank", **MINE))
    peak = select(catalog.ALLOCATOR_FRAGMENTATION, **MINE, method="=peak")
    small = quantile_so_far(
        0.99,
        catalog.P2P_LATENCY,
        "run",
        run="=$run",
        size_class=f"={catalog.SIZE_CLASSES[0]}",
        source="=~in_band|preflight",
    )
    return [
        number(
            "Samples a second",
            "What entered forward, summed over the ranks shown. The stages of a pipeline each count the "
            "same samples.",
            "short",
            samples,
        ),
        number(
            "Tokens a second", "Tokens that entered forward, summed over the ranks shown.", "short", tokens
        ),
        number(
            "Step",
            "Median time of an optimizer step over the ranks shown.",
            "s",
            quantile(0.5, catalog.STEP_SECONDS, "run", **MINE),
        ),
        number(
            "Loss",
            "Mean over ranks of the last known training loss; NaN where a rank's is.",
            "none",
            f"avg({most('run, rank', select(catalog.LOSS, **MINE))})",
        ),
        number(
            "SM utilization",
            "Mean over the run's GPUs of the fraction of SM cycles with work.",
            "percentunit",
            f"avg({of_the_runs_gpus(select(catalog.GPU_SM_UTILIZATION))})",
            colours=steps((None, BAD), (0.70, GOOD)),
        ),
        number(
            "Fragmentation",
            "The worst rank's, by method peak: memory that the allocator holds and could not use.",
            "percentunit",
            f"max({peak})",
            colours=steps((None, GOOD), (run_memory.FRAGMENTED, BAD)),
        ),
        number(
            "P2P latency, p99",
            "One way, messages of at most 8 KiB, over all pairs of ranks since the run began, where the "
            "ping-pong in the run or before it measured them. The limit is for NCCL; gloo is above it.",
            "s",
            small,
            colours=steps((None, GOOD), (run_links.SLOW_SECONDS, BAD)),
        ),
        number(
            "Last checkpoint",
            "Step after which every rank shown had saved its last checkpoint.",
            "none",
            f"min({select(catalog.LAST_CHECKPOINT_STEP, **MINE)})",
        ),
    ]


def phases() -> Panel:
    """What each rank was at."""
    numbered = [
        f"{number} * {select(catalog.RUN_INFO, **MINE, phase=f'={phase}')}"
        for number, (phase, _) in PHASES.items()
    ]
    return states(
        "Phases",
        "What each rank was at. Ranks that leave the others behind, or stay in starting, are the ones to "
        "look at.",
        Query(expression=most("rank", " or ".join(numbered)), legend="rank {{rank}}"),
        PHASES,
    )


def gpus() -> list[Panel]:
    """The GPUs that the ranks use, joined to them by their uuid."""
    ratios = [
        (
            "SM utilization",
            "Fraction of SM cycles with work, by rank; the line is the limit of the default policy.",
            catalog.GPU_SM_UTILIZATION,
        ),
        (
            "Tensor cores active",
            "Fraction of cycles in which a tensor core was active, by rank.",
            catalog.GPU_TENSOR_ACTIVE,
        ),
        (
            "Memory bandwidth",
            "Device memory bandwidth in use over the most there is, by rank.",
            catalog.GPU_DRAM_BANDWIDTH,
        ),
    ]
    curves: list[Panel] = [
        lines(
            title,
            description,
            "percentunit",
            Query(expression=of_the_runs_gpus(select(metric)), legend="rank {{rank}}"),
            top=1,
            limit=run_steps.SM_LIMIT if metric is catalog.GPU_SM_UTILIZATION else None,
        )
        for title, description, metric in ratios
    ]
    throttled = of_the_runs_gpus(select(catalog.GPU_THROTTLED))
    return [
        *curves,
        lines(
            "Power",
            "Power drawn by each rank's GPU.",
            "watt",
            Query(expression=of_the_runs_gpus(select(catalog.GPU_POWER)), legend="rank {{rank}}"),
        ),
        lines(
            "SM clock",
            "Clock of each rank's SMs: the slowest holds the others back.",
            "hertz",
            Query(expression=of_the_runs_gpus(select(catalog.GPU_SM_CLOCK)), legend="rank {{rank}}"),
        ),
        states(
            "Throttled",
            "Whether the driver held the clocks of a rank's GPU down, for any reason.",
            Query(expression=throttled, legend="rank {{rank}}"),
            {0: ("no", GOOD), 1: ("throttled", BAD)},
            width=8,
        ),
    ]


def hosts() -> list[Panel]:
    """The hosts that the ranks run on."""
    idle = total("host", rate(catalog.HOST_CPU, "host, mode", mode="=idle"))
    every = total("host", rate(catalog.HOST_CPU, "host, mode"))
    free = most("host, path", select(catalog.HOST_FILESYSTEM_FREE))
    memory = most("host", select(catalog.HOST_MEMORY_AVAILABLE))
    return [
        lines(
            "Processors used",
            "Fraction of all CPUs' time that was not idle, on the run's hosts.",
            "percentunit",
            Query(expression=of_the_runs_hosts(f"(1 - {idle} / {every})"), legend="{{host}}"),
            top=1,
        ),
        lines(
            "Memory available",
            "Memory that can be had without swapping, on the run's hosts.",
            "bytes",
            Query(expression=of_the_runs_hosts(memory), legend="{{host}}"),
        ),
        lines(
            "Free for checkpoints",
            "Free space where the run's hosts save checkpoints.",
            "bytes",
            Query(expression=of_the_runs_hosts(free), legend="{{host}} {{path}}"),
        ),
    ]
