"""Pretends to train: writes the journal that the probe would write, with no torch, so that it starts at once.

The first argument is the trial's folder; the others say what goes wrong, and when.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--pause", type=float, default=0.02)
    parser.add_argument("--exit", type=int, default=0)
    parser.add_argument("--signal", type=int, default=0)
    parser.add_argument("--raise", dest="error", default="")
    parser.add_argument("--print-megabytes", type=int, default=0)
    parser.add_argument(
        "--escape", type=Path, help="leave a grandchild in a session of its own; note its pid"
    )
    parser.add_argument("--stubborn", action="store_true", help="ignore SIGTERM")
    parser.add_argument("--silent", action="store_true", help="no engine at all")
    parser.add_argument("--forever", action="store_true")
    arguments = parser.parse_args()
    if arguments.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if arguments.escape:
        escape(arguments.escape)
    if not arguments.silent:
        train(arguments)
    line = b"x" * 1023 + b"\n"
    for _ in range(arguments.print_megabytes * 1024):
        sys.stdout.buffer.write(line)
    sys.stdout.flush()
    while arguments.forever:
        time.sleep(1)
    if arguments.error:
        raise RuntimeError(arguments.error)
    if arguments.signal:
        os.kill(os.getpid(), arguments.signal)
    sys.exit(arguments.exit)


def escape(note: Path) -> None:
    """A grandchild that left our session and lost its parent, as daemons do."""
    code = (
        "import subprocess as s; "
        "print(s.Popen(['sleep', '600'], start_new_session=True, stdout=s.DEVNULL, stderr=s.DEVNULL).pid)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    note.write_text(done.stdout)


def train(arguments: argparse.Namespace) -> None:
    path = arguments.directory / "rank-0.jsonl"
    with path.open("a") as file:

        def write(**fields: object) -> None:
            file.write(json.dumps({**fields, "time": time.time(), "clock": time.monotonic()}) + "\n")
            file.flush()

        write(kind="header", pid=os.getpid(), engine=0, world_size=1, micro_batch=2, threads=1)
        for step in range(1, arguments.steps + 1):
            time.sleep(arguments.pause)
            write(
                kind="step",
                engine=0,
                step=step,
                count=1,
                seconds=arguments.pause,
                samples=2,
                forwards=1,
                loss=1.0,
            )


if __name__ == "__main__":
    main()
