"""From the crossing of a threshold to the alert's body received: the agent, and Prometheus with Alertmanager.

python tests/benchmarks alert_latency [--alerts 200] [--spread 60] [--for 0] [--alone]

The same series cross the same threshold at the same moments, known beforehand, for both: the agent's
collector and the page that Prometheus scrapes work them out of the wall clock, both once a second. Both
post to one server. Prometheus evaluates the rule that `flyball policies export` writes, Alertmanager waits
for no group.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from _runs import verdict
from tests.grafana.prometheus_server import LISTENING
from tests.live.agent_process import running
from tests.live.alertmanager_process import alertmanager
from tests.live.scripts.agent_with_dials import Plan
from tests.live.webhook_server import SECRET, WebhookServer, webhook_server

from flyball.collectors import catalog
from flyball.policies.export import prometheus_rules
from flyball.policies.rule_file import read_rules

SCRIPT = Path(__file__).parents[1] / "live" / "scripts" / "agent_with_dials.py"
INTERVAL_SECONDS = 1.0
WARM_SECONDS = 40.0
"""Prometheus takes 5 s to find its Alertmanager."""
HIGH_SECONDS = 20.0
RULE = """\
policies:
  - alert: Crossed
    metric: gpu_power_watts
    above: 0.5
    for: %ds
"""
CONFIG = """\
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs: [{job_name: plan, static_configs: [{targets: ["%s"]}]}]
alerting: {alertmanagers: [{static_configs: [{targets: ["%s"]}]}]}
"""


@contextmanager
def page(plan: Plan) -> Iterator[str]:
    """Serve the series as they are at the moment of the scrape; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            now, name = time.time(), catalog.GPU_POWER.full_name
            lines = [f'{name}{{host="planned",gpu="{n}"}} {plan.value(n, now)}' for n in range(plan.series)]
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(("\n".join(lines) + "\n").encode())

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextmanager
def prometheus(folder: Path, target: str, to: str, policies: Path) -> Iterator[None]:
    """Prometheus, ready, with the exported rule."""
    command = shutil.which("prometheus")
    assert command is not None, "install Debian's package prometheus"
    rules = prometheus_rules(read_rules([policies], known_knobs=()))
    (folder / "rules.yml").write_text(rules, "utf-8")
    (folder / "prometheus.yml").write_text(CONFIG % (target, to), "utf-8")
    log = folder / "prometheus.log"
    options = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    with (
        log.open("w") as output,
        subprocess.Popen(
            [command, *options, "--web.listen-address=127.0.0.1:0"], stdout=output, stderr=output
        ) as process,
    ):
        try:
            while not LISTENING.search(log.read_text("utf-8")):
                assert process.poll() is None, log.read_text("utf-8")
                time.sleep(0.1)
            yield
        finally:
            process.kill()


def latencies(server: WebhookServer, receiver: str, plan: Plan, for_seconds: float) -> list[float]:
    """Seconds from each crossing, after ``for``, to the first body that says so."""
    first: dict[int, float] = {}
    for one in server.received:
        if one.body["receiver"] == receiver and one.status == "firing":
            for alert in one.body["alerts"]:
                first.setdefault(int(alert["labels"]["gpu"]), one.time)
    return sorted(at - plan.rises[number] - for_seconds for number, at in first.items())


def printed(name: str, seconds: Sequence[float], count: int) -> float:
    """Print p50, p99 and the greatest; return p99."""
    p99 = statistics.quantiles(seconds, n=100, method="inclusive")[98]
    middle = statistics.median(seconds)
    print(
        f"{name:<28} {len(seconds)} of {count}: p50 {middle:.3f} s, p99 {p99:.3f} s, most {seconds[-1]:.3f} s"
    )
    return p99


def main() -> int:
    """Measure once; the exit status says whether the agent's p99 is what is asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alerts", type=int, default=200)
    parser.add_argument("--spread", type=float, default=60.0, help="seconds over which the series cross")
    parser.add_argument("--for", type=int, default=0, dest="for_seconds", help="of the rule, in seconds")
    parser.add_argument("--alone", action="store_true", help="the agent only")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="flyball-latency-"))
    plan = Plan(
        series=arguments.alerts,
        begin=time.time() + WARM_SECONDS,
        spread_seconds=arguments.spread,
        high_seconds=HIGH_SECONDS + arguments.for_seconds,
    )
    (folder / "rules.yaml").write_text(RULE % arguments.for_seconds, "utf-8")
    (folder / "ops.secret").write_text(SECRET, "utf-8")
    with ExitStack() as stack:
        server = stack.enter_context(webhook_server())
        if not arguments.alone:
            command = shutil.which("prometheus-alertmanager") or "alertmanager"
            theirs = stack.enter_context(
                alertmanager(command, folder / "am", webhook_url=server.url, external_url="http://am:9093")
            )
            target = stack.enter_context(page(plan))
            stack.enter_context(prometheus(folder, target, theirs.address, folder / "rules.yaml"))
        agent = stack.enter_context(running(folder, configured(plan, server), (sys.executable, str(SCRIPT))))
        agent.url()
        assert time.time() < plan.begin, "the servers took too long to start"
        time.sleep(max(0.0, plan.end + arguments.for_seconds + 5 - time.time()))
        agent.end()
    count = plan.series
    ours = printed("flyball", latencies(server, "flyball", plan, arguments.for_seconds), count)
    if not arguments.alone:
        printed("Prometheus and Alertmanager", latencies(server, "ops", plan, arguments.for_seconds), count)
    assert server.faults == []
    most = INTERVAL_SECONDS + 0.5
    return 0 if verdict(f"p99 at most {most} s", f"{ours:.3f} s", met=ours <= most) else 1


def configured(plan: Plan, server: WebhookServer) -> str:
    """The agent's configuration."""
    planned = ", ".join(
        f"{name}: {getattr(plan, name)}" for name in ("series", "begin", "spread_seconds", "high_seconds")
    )
    receiver = f"{{type: webhook, url: '{server.url}', private_network: true, secret_files: [ops.secret]}}"
    collector = f"  planned: {{interval_seconds: {INTERVAL_SECONDS}, {planned}}}\n"
    return f"policies: [rules.yaml]\ncollectors:\n{collector}receivers:\n  flyball: {receiver}\n"


if __name__ == "__main__":
    sys.exit(main())
