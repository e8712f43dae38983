"""The Fleet dashboard: all hosts and GPUs, the runs on them, and the agents that watch them."""

from grafana_foundation_sdk.builders import dashboard as builders

from flyball.collectors import catalog
from grafana import fleet_agents, fleet_alerts, fleet_gpus, fleet_hosts
from grafana.frame import FLEET, RUN, Panel, choice, dashboard, with_section
from grafana.panels import BAD, GOOD, PLAIN, WARN, number, steps
from grafana.query import most, select, total
from grafana.tables import Column, rows

HOST = "=~$host"


def build() -> builders.Dashboard:
    """The whole dashboard."""
    board = dashboard(
        FLEET,
        "flyball / Fleet",
        "What the GPUs of all hosts do, which runs use them, and what the agents cannot see.",
    )
    host = choice("host", "Host", "Hosts whose agents report.", catalog.HOST_LOAD, several=True)
    board = board.with_variable(host)
    board = with_section(board, "Now", [*overview(), *runs()])
    board = with_section(board, "GPUs", fleet_gpus.panels())
    board = with_section(board, "GPU faults and limits", fleet_gpus.faults())
    board = with_section(board, "Hosts", fleet_hosts.panels())
    board = with_section(board, "Alerts", fleet_alerts.panels())
    return with_section(board, "Agents", fleet_agents.panels())


def overview() -> list[Panel]:
    """One line of numbers."""
    gpus = most("host, uuid", select(catalog.GPU_MEMORY_TOTAL, host=HOST))
    sm = most("host, uuid", select(catalog.GPU_SM_UTILIZATION, host=HOST))
    power = most("host, uuid", select(catalog.GPU_POWER, host=HOST))
    throttled = most("host, uuid", select(catalog.GPU_THROTTLED, host=HOST)) + " == 1"
    ranks = most("run", select(catalog.RUN_INFO, host=HOST, run="!="))
    blind = select(catalog.RUN_INFO, host=HOST, reason="=not_probed")
    down = f"count({most('instance, collector', select(catalog.COLLECTOR_UP))} == 0)"
    alarm, notice = steps((None, GOOD), (1, BAD)), steps((None, GOOD), (1, WARN))
    return [
        number(
            "Hosts",
            "Hosts whose agents report.",
            "none",
            f"count({most('host', select(catalog.HOST_LOAD, host=HOST))})",
        ),
        number("GPUs", "GPUs that the agents can read.", "none", f"count({gpus})"),
        number("Runs", "Runs with at least one probed rank.", "none", f"count({ranks})"),
        number(
            "SM utilization",
            "Mean over all GPUs of the fraction of SM cycles with work: what the fleet is used for.",
            "percentunit",
            f"avg({sm})",
            colours=steps((None, PLAIN)),
        ),
        number("Power", "Drawn by all GPUs together.", "watt", total("", power)),
        number(
            "GPUs throttled",
            "GPUs whose clocks the driver holds down now; the reasons stand under GPU faults and limits.",
            "none",
            f"count({throttled})",
            colours=notice,
        ),
        number(
            "Without a probe",
            "Processes that use a GPU and are not watched: start them with flyball run, or install the "
            "probe.",
            "none",
            f"count({blind})",
            colours=notice,
        ),
        number(
            "Collectors down",
            "Collectors that cannot read their source at all; the reasons stand under Agents.",
            "none",
            down,
            colours=alarm,
        ),
    ]


def runs() -> list[Panel]:
    """Which runs there are."""
    ranks = most("run, rank, host, phase", select(catalog.RUN_INFO, host=HOST, run="!="))
    speed = most("run, rank", f"rate({select(catalog.SAMPLES)}[$__rate_interval])")
    mine = most("run", select(catalog.RUN_INFO, host=HOST, run="!="))
    blind = most("host, gpu, uuid", select(catalog.RUN_INFO, host=HOST, reason="=not_probed"))
    opens = f"/d/{RUN}?var-run=${{__value.text}}&${{__url_time_range}}"
    return [
        rows(
            "Runs",
            "Runs that are going on, by phase. A click on the name opens the run.",
            ["run", "host", "phase"],
            [
                Column(title="ranks", expression=f"count by (run, host, phase) ({ranks})"),
            ],
            width=10,
            links={"run": opens},
        ),
        rows(
            "Speed of runs",
            "Samples that entered forward, a second, summed over the ranks of a run. The stages of a "
            "pipeline each count the same samples.",
            ["run"],
            [
                Column(
                    title="samples/s",
                    expression=f"{total('run', speed)} and on (run) {mine}",
                    unit="short",
                )
            ],
            width=7,
            links={"run": opens},
        ),
        rows(
            "GPUs used without a probe",
            "GPUs on which a process computes that no probe watches: its steps, loss and memory are unknown.",
            ["host", "gpu", "uuid"],
            [Column(title="processes", expression=blind, hidden=True)],
            width=7,
        ),
    ]
