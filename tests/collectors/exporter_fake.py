"""A dcgm-exporter on a real local port: it answers what it is told, byte for byte, or not at all."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.collectors.gate import Gate

A100 = (
    'gpu="{index}",UUID="{uuid}",device="nvidia{index}",modelName="NVIDIA A100-SXM4-80GB",Hostname="{host}"'
)
RATIOS = {
    "DCGM_FI_PROF_SM_ACTIVE": "0.75",
    "DCGM_FI_PROF_SM_OCCUPANCY": "0.5",
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": "0.25",
    "DCGM_FI_PROF_DRAM_ACTIVE": "0.125",
}
RATES = {
    "DCGM_FI_PROF_PCIE_RX_BYTES": "1000",
    "DCGM_FI_PROF_PCIE_TX_BYTES": "2000",
    "DCGM_FI_PROF_NVLINK_RX_BYTES": "3000",
    "DCGM_FI_PROF_NVLINK_TX_BYTES": "4000",
}
PLAIN = {"DCGM_FI_DEV_GPU_UTIL": "100", "DCGM_FI_DEV_FB_USED": "2048"}
"""What every counters file has."""


def gpu_lines(
    uuid: str,
    values: Mapping[str, str] = PLAIN | RATIOS | RATES,
    *,
    index: int = 0,
    host: str = "node-7",
    more: str = "",
) -> str:
    """The lines of one GPU; ``more`` are further labels, each with a comma in front."""
    labels = A100.format(index=index, uuid=uuid, host=host) + more
    return "".join(f"{name}{{{labels}}} {value}\n" for name, value in values.items())


def page(*lines: str) -> bytes:
    """A whole page with its comments."""
    kinds = PLAIN | RATIOS | RATES
    head = "".join(f"# HELP {name} What it is.\n# TYPE {name} gauge\n" for name in kinds)
    return (head + "".join(lines)).encode()


class Exporter:
    """What the server answers; may be changed while it runs."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/metrics"
        self.status, self.body = 200, page(gpu_lines("GPU-a"))
        self.headers: dict[str, str] = {}
        self.length: int | None = None
        """The length that it claims; None for the body's own, -1 for none."""
        self.asked: list[str] = []
        self.gate = Gate()
        """While it is shut, a request is read and not answered."""


class _Handler(BaseHTTPRequestHandler):
    exporter: Exporter

    def do_GET(self) -> None:
        told = self.exporter
        told.asked.append(self.path)
        told.gate.go_through()
        self.send_response(told.status)
        for name, value in told.headers.items():
            self.send_header(name, value)
        length = len(told.body) if told.length is None else told.length
        if length >= 0:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        try:
            self.wfile.write(told.body)
        except OSError:
            return  # the client has had enough

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Exporter]:
    """An exporter until the block ends; requests that hang are let go."""

    class Handler(_Handler):
        pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        exporter = Handler.exporter = Exporter(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield exporter
        finally:
            exporter.gate.open()
            server.shutdown()
            thread.join()
