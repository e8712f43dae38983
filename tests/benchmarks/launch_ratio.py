"""Spawn to first training step: a forked trial over the ``deepspeed`` launcher's, interleaved in one run.

    python tests/benchmarks/launch_ratio.py [--pairs 3] [--script train|trainer]

Same script, same configs, CPU, two ranks. Asked: a ratio of at most 0.30; aimed at: 0.20; equal losses.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from flyball.collectors.journal import RankJournal
from flyball.runner import workload
from flyball.runner.base import Placement, TrialRequest, TrialResult
from flyball.runner.command import Command, parse_command
from flyball.runner.launch_cold import ColdLauncher
from flyball.runner.launch_warm import WarmLauncher
from flyball.runner.outcome import OutcomeKind

ASKED, AIMED = 0.30, 0.20
STEPS = 4
WORKLOAD = Path(next(iter(workload.__path__)))
SCRIPTS = {
    "train": ("ds_config.json", ["--deepspeed", "--deepspeed_config", "{config}"]),
    "trainer": (
        "ds_config_trainer.json",
        ["--deepspeed", "{config}", "--use_cpu", "--output_dir", "out", "--max_steps", "100"],
    ),
}


def enough(journals: Mapping[int, RankJournal]) -> str | None:
    made = [len(journal.steps()) for journal in journals.values()]
    return "enough" if len(made) == 2 and min(made) >= STEPS else None


def request(command: Command, config: Mapping[str, object], directory: Path) -> TrialRequest:
    rendered = command.render(trial_dir=directory, config_path=directory / "ds_config.json", arguments={})
    return TrialRequest(directory=directory, command=rendered, ds_config=config, placement=Placement(ranks=2))


def losses(result: TrialResult) -> list[list[float]]:
    return [[step["loss"] for step in journal.steps()[:STEPS]] for journal in result.journals.values()]


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--script", choices=SCRIPTS, default="train")
    arguments = parser.parse_args()
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    name, options = SCRIPTS[arguments.script]
    folder = Path(tempfile.mkdtemp(prefix="launch-ratio-"))
    script = [option.format(config=WORKLOAD / name) for option in options]
    tokens = ["deepspeed", "--num_gpus", "2", str(WORKLOAD / f"{arguments.script}.py"), *script]
    command = parse_command(tokens, cwd=folder)
    config = json.loads((WORKLOAD / name).read_text())
    cold, warm = ColdLauncher(cwd=folder), WarmLauncher(command, ColdLauncher(cwd=folder))
    try:
        return compare(arguments.pairs, command, config, folder, cold, warm)
    finally:
        warm.close()


def compare(
    pairs: int,
    command: Command,
    config: Mapping[str, object],
    folder: Path,
    cold: ColdLauncher,
    warm: WarmLauncher,
) -> int:
    for name in ("learned", "proven"):  # the ops are built, the server has imported
        warm.launch(request(command, config, folder / name)).wait(enough)
    results: dict[str, list[TrialResult]] = {"cold": [], "warm": []}
    for pair in range(pairs):
        for launcher in (cold, warm) if pair % 2 else (warm, cold):
            directory = folder / f"{launcher.name}-{pair}"
            result = launcher.launch(request(command, config, directory)).wait(enough)
            if result.outcome.kind is not OutcomeKind.COMPLETED or result.launcher != launcher.name:
                say(f"{launcher.name} trial {pair}: {result.outcome} {result.notes}")
                return 1
            results[launcher.name].append(result)
    seconds = {name: [r.startup_seconds or 0.0 for r in found] for name, found in results.items()}
    ratios = [w / c for w, c in zip(seconds["warm"], seconds["cold"], strict=True)]
    equal = len({json.dumps(losses(r)) for found in results.values() for r in found}) == 1
    for name, found in seconds.items():
        say(f"{name}: spawn to first step {', '.join(f'{value:.2f}' for value in found)} s")
    got = statistics.median(ratios)
    say(f"ratio: asked {ASKED:.2f}, aim {AIMED:.2f}, got {got:.3f}; losses equal: {equal}")
    return 0 if got <= ASKED and equal else 1


if __name__ == "__main__":
    sys.exit(main())
