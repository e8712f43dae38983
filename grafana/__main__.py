"""``python -m grafana`` writes the dashboards; ``--check`` only says whether those on disk are current."""

import argparse
import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana import fleet, run

DASHBOARDS = Path(__file__).parent / "dashboards"


def built() -> dict[Path, str]:
    """Each dashboard's JSON by the file it belongs in."""
    boards = {"fleet.json": fleet.build().build(), "run.json": run.build().build()}
    return {
        DASHBOARDS / name: json.dumps(_numbered(json.loads(json.dumps(board, cls=JSONEncoder))), indent=2)
        + "\n"
        for name, board in boards.items()
    }


def _numbered(board: dict[str, list[dict[str, object]]]) -> dict[str, list[dict[str, object]]]:
    # Grafana gives panels without an id one of its own at each load, so that links to a panel would break.
    for index, panel in enumerate(board["panels"], start=1):
        panel["id"] = index
    return board


def main() -> int:
    """0: written, or current; 1: not current."""
    parser = argparse.ArgumentParser(prog="python -m grafana", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 where a file is not current"
    )
    check = parser.parse_args().check
    stale = [
        path
        for path, text in built().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        if check:
            sys.stderr.write(f"{path}: not current; write it with: python -m grafana\n")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(built()[path], encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
