"""Owns a trial that never ends, so that a test can kill it: prints the trial's pid once it runs."""

import sys
from pathlib import Path

from flyball.runner.base import TrialRequest
from flyball.runner.launch_cold import ColdLauncher


def main() -> None:
    directory, script = Path(sys.argv[1]), sys.argv[2]
    command = [
        sys.executable,
        script,
        str(directory),
        "--escape",
        str(directory / "pid"),
        "--stubborn",
        "--forever",
    ]
    handle = ColdLauncher(cwd=directory.parent).launch(
        TrialRequest(directory=directory, command=command, ds_config={})
    )
    shown = False

    def show(journals: object) -> None:
        nonlocal shown
        if not shown:
            shown = True
            sys.stdout.write("training\n")
            sys.stdout.flush()

    handle.wait(show)


if __name__ == "__main__":
    main()
