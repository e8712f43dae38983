"""A pick as files that its user can run: a config and one line for ``sh``."""

import json
from pathlib import Path

from tests.benchmarks.peers.base import Found

from flyball.runner.command import Command, shell_line

CONFIG, SCRIPT = "recommended.json", "recommended.sh"


def hand_over(found: Found, command: Command, place: Path) -> Path | None:
    """Write what a search recommends into its folder; return the script, or None where there is nothing."""
    if found.pick is None:
        return None
    place.mkdir(parents=True, exist_ok=True)
    config, script = place / CONFIG, place / SCRIPT
    config.write_text(json.dumps(dict(found.pick.ds_config), indent=2) + "\n")
    tokens = command.render_optimal(config, found.pick.arguments)
    own = shell_line(tokens, found.pick.environment)
    script.write_text(found.pick.script or f"cd {shell_line([str(command.cwd)]).strip()} || exit 1\n{own}")
    return script
