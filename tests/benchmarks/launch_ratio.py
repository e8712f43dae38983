"""Spawn to first training step: a forked trial over the ``deepspeed`` launcher's, interleaved in one run.

    python tests/benchmarks/launch_ratio.py [--pairs 3] [--script train|trainer] [--gpu]

Same script, same configs, CPU, two ranks. Asked: a ratio of at most 0.25; aimed at: 0.15; equal losses. With
``--gpu``, one rank on a GPU that trains a model of 124 M parameters: at most 0.35, aimed at 0.25. What
remains is listed by cause, by the probe's ``startup`` record of the rank that is ready last; ``launcher`` is
what passes before that rank's process starts.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from flyball.collectors.journal import RankJournal
from flyball.runner import workload
from flyball.runner.base import Placement, TrialRequest, TrialResult
from flyball.runner.command import Command, parse_command
from flyball.runner.launch_cold import ColdLauncher
from flyball.runner.launch_warm import WarmLauncher
from flyball.runner.outcome import OutcomeKind
from flyball.tuners.measurement.journal_facts import startup

ASKED, AIMED = {False: 0.25, True: 0.35}, {False: 0.15, True: 0.25}
"""By whether it is a GPU."""
STEPS = 4
WORKLOAD = Path(next(iter(workload.__path__)))
SCRIPTS = {
    "train": ("ds_config.json", ["--deepspeed", "--deepspeed_config", "{config}"]),
    "trainer": (
        "ds_config_trainer.json",
        ["--deepspeed", "{config}", "--use_cpu", "--output_dir", "out", "--max_steps", "100"],
    ),
}
ON_GPU = (
    "ds_config_gpu.json",
    [
        *SCRIPTS["train"][1],
        "--hidden-size",
        "768",
        "--layers",
        "12",
        "--heads",
        "12",
        "--sequence-length",
        "512",
    ],
)


def enough(ranks: int) -> Callable[[Mapping[int, RankJournal]], str | None]:
    """Stops a run once every rank has made its steps."""

    def judge(journals: Mapping[int, RankJournal]) -> str | None:
        made = [len(journal.steps()) for journal in journals.values()]
        return "enough" if len(made) == ranks and min(made) >= STEPS else None

    return judge


def request(command: Command, config: Mapping[str, object], directory: Path, ranks: int) -> TrialRequest:
    rendered = command.render(trial_dir=directory, config_path=directory / "ds_config.json", arguments={})
    return TrialRequest(
        directory=directory, command=rendered, ds_config=config, placement=Placement(ranks=ranks)
    )


def losses(result: TrialResult) -> list[list[float]]:
    return [[step["loss"] for step in journal.steps()[:STEPS]] for journal in result.journals.values()]


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def by_cause(results: Sequence[TrialResult]) -> str:
    """Median seconds of each part of the start-up, the greatest first."""
    found: dict[str, list[float]] = {}
    for result in results:
        parts = startup(result.journals)
        launcher = (result.startup_seconds or 0.0) - sum(parts.values())
        for part, seconds in {"launcher": launcher, **parts}.items():
            found.setdefault(part, []).append(seconds)
    medians = {part: statistics.median(seconds) for part, seconds in found.items()}
    ordered = sorted(medians.items(), key=lambda item: -item[1])
    return ", ".join(f"{part} {seconds:.2f}" for part, seconds in ordered)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--script", choices=SCRIPTS, default="train")
    parser.add_argument("--gpu", action="store_true", help="one rank on a GPU")
    arguments = parser.parse_args()
    if not arguments.gpu:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    name, options = ON_GPU if arguments.gpu else SCRIPTS[arguments.script]
    ranks = 1 if arguments.gpu else 2
    folder = Path(tempfile.mkdtemp(prefix="launch-ratio-"))
    script = [option.format(config=WORKLOAD / name) for option in options]
    tokens = ["deepspeed", "--num_gpus", str(ranks), str(WORKLOAD / f"{arguments.script}.py"), *script]
    command = parse_command(tokens, cwd=folder)
    config = json.loads((WORKLOAD / name).read_text())
    cold, warm = ColdLauncher(cwd=folder), WarmLauncher(command, ColdLauncher(cwd=folder))
    try:
        return compare(arguments.pairs, command, config, folder, cold, warm, ranks)
    finally:
        warm.close()


def compare(
    pairs: int,
    command: Command,
    config: Mapping[str, object],
    folder: Path,
    cold: ColdLauncher,
    warm: WarmLauncher,
    ranks: int,
) -> int:
    for name in ("learned", "proven"):  # the ops are built, the server has imported
        warm.launch(request(command, config, folder / name, ranks)).wait(enough(ranks))
    results: dict[str, list[TrialResult]] = {"cold": [], "warm": []}
    for pair in range(pairs):
        for launcher in (cold, warm) if pair % 2 else (warm, cold):
            directory = folder / f"{launcher.name}-{pair}"
            result = launcher.launch(request(command, config, directory, ranks)).wait(enough(ranks))
            if result.outcome.kind is not OutcomeKind.COMPLETED or result.launcher != launcher.name:
                say(f"{launcher.name} trial {pair}: {result.outcome} {result.notes}")
                return 1
            results[launcher.name].append(result)
    seconds = {name: [r.startup_seconds or 0.0 for r in found] for name, found in results.items()}
    ratios = [w / c for w, c in zip(seconds["warm"], seconds["cold"], strict=True)]
    equal = len({json.dumps(losses(r)) for found in results.values() for r in found}) == 1
    for name, found in seconds.items():
        say(f"{name}: spawn to first step {', '.join(f'{value:.2f}' for value in found)} s")
        say(f"  medians by cause: {by_cause(results[name])}")
    got = statistics.median(ratios)
    asked, aimed = (wanted[ranks == 1] for wanted in (ASKED, AIMED))
    say(f"ratio: asked {asked:.2f}, aim {aimed:.2f}, got {got:.3f}; losses equal: {equal}")
    return 0 if got <= asked and equal else 1


if __name__ == "__main__":
    sys.exit(main())
