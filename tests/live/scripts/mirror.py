"""Writes down what it sees of itself, so that a forked run can be held against a fresh interpreter's."""

import argparse
import atexit
import json
import multiprocessing
import os
import random
import sys
import threading
import time
from pathlib import Path

import neighbour


class Pickled:
    """Of ``__main__``: it must be found again by its name."""

    def __init__(self, value: int) -> None:
        self.value = value


def double(item: Pickled) -> Pickled:
    return Pickled(item.value * 2)


def doubled(method: str) -> list[int]:
    with multiprocessing.get_context(method).Pool(1) as pool:
        return [item.value for item in pool.map(double, [Pickled(1), Pickled(2)])]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--modules", default="decimal")
    parser.add_argument("--late-modules", default="fractions")
    parser.add_argument("--value", default="")
    parser.add_argument("--exit", type=int)
    parser.add_argument("--raise", dest="error", default="")
    arguments = parser.parse_args()
    atexit.register(lambda: (arguments.directory / "atexit").touch())
    report = {
        "argv": sys.argv,
        "name": __name__,
        "file": __file__,
        "path": sys.path[:2],
        "neighbour": neighbour.NAME,
        "cwd": str(Path.cwd()),
        "environment": {k: v for k, v in os.environ.items() if k != "MASTER_PORT" and k[:8] != "FLYBALL_"},
        "fork": doubled("fork"),
        "spawn": doubled("spawn"),
        "process": multiprocessing.current_process().name,
        "value": arguments.value,
    }
    (arguments.directory / "report.json").write_text(json.dumps(report))
    unequal = {
        "random": random.random(),
        "pid": os.getpid(),
        "session": os.getsid(0),
        "port": os.environ["MASTER_PORT"],
        "imported": [name for name in ("decimal", "fractions", "starts_a_thread") if name in sys.modules],
    }
    (arguments.directory / "unequal.json").write_text(json.dumps(unequal))
    with (arguments.directory / "rank-0.jsonl").open("a") as file:
        now = {"time": time.time(), "clock": time.monotonic()}
        header = {"kind": "header", "pid": os.getpid(), "engine": 0, "world_size": 1, "threads": 1, **now}
        file.write(json.dumps({**header, "modules": arguments.modules.split(",")}) + "\n")
        file.flush()
        late = {"kind": "modules", "names": arguments.late_modules.split(","), **now}
        file.write(json.dumps(late) + "\n")
        file.flush()
        # Who starts it learns how from what it is while it runs: on a busy machine it would be gone by then.
        while not (arguments.directory / "seen").exists():
            time.sleep(0.01)
        for step in range(1, 4):
            time.sleep(0.05)
            now = {"time": time.time(), "clock": time.monotonic()}
            file.write(json.dumps({"kind": "step", "engine": 0, "step": step, "seconds": 0.05, **now}) + "\n")
            file.flush()
    sys.stdout.write("last words without a newline")
    threading.Thread(target=lambda: (time.sleep(0.1), (arguments.directory / "thread").touch())).start()
    if arguments.error:
        raise RuntimeError(arguments.error)
    if arguments.exit is not None:
        sys.exit(arguments.exit)


if __name__ == "__main__":
    main()
