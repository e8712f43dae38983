import json
import shlex
from pathlib import Path

import pytest

from flyball.errors import CommandError
from flyball.runner.command import Command, parse_command, shell_line

SCRIPT = "import deepspeed\ndeepspeed.initialize(config={'train_batch_size': 2})\n"
PLAIN = "print('no engine here')\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "plain.py").write_text(PLAIN)
    (tmp_path / "broken.py").write_text("def f(:\n  import deepspeed\n")
    (tmp_path / "split.py").write_text("import engine_maker\n")
    (tmp_path / "engine_maker.py").write_text("import deepspeed\n")
    (tmp_path / "ds.json").write_text(json.dumps({"train_batch_size": 4}))
    (tmp_path / "auto.json").write_text(
        json.dumps({"train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": "auto"})
    )
    (tmp_path / "trainer.py").write_text("from transformers import Trainer\n")
    (tmp_path / "hosts").write_text("a slots=2\nb slots=2\n")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__main__.py").write_text(SCRIPT)
    return tmp_path


def parse(line: str, folder: Path, **options: object) -> Command:
    return parse_command(shlex.split(line), cwd=folder, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "launcher", "script", "ranks", "place"),
    [
        (
            "deepspeed --num_gpus 2 train.py --deepspeed_config ds.json",
            "deepspeed",
            "train.py",
            2,
            "argument",
        ),
        (
            "deepspeed --num_gpus=3 --no_local_rank train.py --deepspeed_config=ds.json",
            "deepspeed",
            "train.py",
            3,
            "argument",
        ),
        (
            "deepspeed --master_port 29501 --num_accelerators 2 -q train.py --ds_config ds.json",
            "deepspeed",
            "train.py",
            2,
            "argument",
        ),
        ("deepspeed -i localhost:0,1 train.py --deepspeed ds.json", "deepspeed", "train.py", 2, "argument"),
        (
            "python -m deepspeed.launcher.runner --num_gpus 2 train.py --deepspeed --ds_config ds.json",
            "deepspeed",
            "train.py",
            2,
            "argument",
        ),
        (
            "torchrun --nproc_per_node 2 -- train.py --ds_config ds.json",
            "torchrun",
            "train.py",
            2,
            "argument",
        ),
        (
            "python -m torch.distributed.launch --use-env --nproc_per_node 2 train.py --ds_config ds.json",
            "torchrun",
            "train.py",
            2,
            "argument",
        ),
        (
            "deepspeed -H hosts --include a:0,1 train.py --ds_config ds.json",
            "deepspeed",
            "train.py",
            2,
            "argument",
        ),
        ("python package --ds_config ds.json", "python", "package", 1, "argument"),
        ("python package", "python", "package", 1, "probe"),
        (
            "python train.py --ds_config auto.json --ds_config ds.json",
            "python",
            "train.py",
            1,
            "argument",
        ),
        (
            "torchrun --standalone --nproc-per-node 2 --log-dir /t train.py --deepspeed --ds_config ds.json",
            "torchrun",
            "train.py",
            2,
            "argument",
        ),
        (
            "torchrun --nproc_per_node=2 --max-restarts=0 train.py --x {ds_config} --config2 y",
            "torchrun",
            "train.py",
            2,
            "placeholder",
        ),
        (
            "python -u -m torch.distributed.run --nnodes 1:1 --nproc_per_node 4 train.py",
            "torchrun",
            "train.py",
            4,
            "probe",
        ),
        (
            "accelerate launch --use_deepspeed --num_processes 2 --deepspeed_config_file ds.json train.py",
            "accelerate",
            "train.py",
            2,
            "argument",
        ),
        (
            "accelerate launch --cpu --num-processes=2 --mixed_precision bf16 train.py --deepspeed ds.json",
            "accelerate",
            "train.py",
            2,
            "argument",
        ),
        ("python -W ignore -X dev train.py --deepspeed_config ds.json", "python", "train.py", 1, "argument"),
        ("python -um package.train --deepspeed_config ds.json", "python", None, 1, "argument"),
        ("python split.py", "python", "split.py", 1, "probe"),
        ("python broken.py", "python", "broken.py", 1, "probe"),
    ],
)
def test_finds_the_parts_of_a_command(
    folder: Path, line: str, launcher: str, script: str | None, ranks: int, place: str
) -> None:
    config = folder / "ds.json" if place == "placeholder" else None
    command = parse(line, folder, config=config)
    assert command.launcher == launcher
    assert command.script == (folder / script if script else None)
    assert command.module == (None if script else "package.train")
    assert (command.ranks, command.config_place) == (ranks, place)
    assert command.config_path == (None if place == "probe" else folder / "ds.json")
    assert Path(command.interpreter).is_file()


def test_the_config_that_accelerates_own_file_names_is_found(folder: Path) -> None:
    (folder / "acc.yaml").write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: DEEPSPEED\nnum_processes: 2\n"
        "deepspeed_config:\n  deepspeed_config_file: ds.json\n  zero3_init_flag: false\n"
    )
    line = f"accelerate launch --config_file {folder / 'acc.yaml'} train.py"
    command = parse(line, folder)
    assert (command.config_place, command.config_path, command.ranks) == ("argument", folder / "ds.json", 2)
    rendered = " ".join(command.render(trial_dir=Path("T"), config_path=Path("T/ds.json"), arguments={}))
    assert rendered.startswith("accelerate launch --deepspeed_config_file T/ds.json --config_file")
    # What the script is told itself wins there too.
    (folder / "other.json").write_text("{}")
    assert parse(f"{line} --deepspeed other.json", folder).config_path == folder / "other.json"


def test_a_checkpoint_folder_that_holds_something_may_be_read(folder: Path) -> None:
    (folder / "weights").mkdir()
    (folder / "weights" / "model.pt").write_text("")
    line = "python train.py --ds_config ds.json --ckpt_dir weights --save_dir weights --checkpoint_dir=new"
    command = parse(line, folder)
    rendered = " ".join(command.render(trial_dir=Path("T"), config_path=Path("c"), arguments={}))
    assert rendered.endswith("--ckpt_dir weights --save_dir T/output --checkpoint_dir=T/output")
    assert command.redirected == ("--save_dir", "--checkpoint_dir")


def test_an_interval_is_no_folder(folder: Path) -> None:
    command = parse("python train.py --ds_config ds.json --save 500 --output false --save_dir out", folder)
    rendered = " ".join(command.render(trial_dir=Path("T"), config_path=Path("c"), arguments={}))
    assert rendered.endswith("--save 500 --output false --save_dir T/output")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "no command to tune"),
        ("no-such-launcher train.py", "there is no executable no-such-launcher"),
        ("deepspeed --num_gpus 2 gone.py --deepspeed_config ds.json", "there is no script gone.py"),
        ("deepspeed --num_gpus 2", "names no training script"),
        ("deepspeed --num_gpus two train.py", "'two' is not a number"),
        ("deepspeed --num_nodes 2 train.py --deepspeed_config ds.json", "several hosts"),
        ("torchrun --nnodes=2 train.py --deepspeed_config ds.json", "several hosts"),
        (
            "deepspeed --force_multi --num_gpus 2 train.py --deepspeed_config ds.json",
            "watched or ended; leave it out",
        ),
        ("accelerate test", "accelerate launch"),
        ("python -c pass", "python -c holds no script"),
        ("python plain.py", "add `--deepspeed_config {ds_config}`, or --config FILE"),
        ("python plain.py --deepspeed", "no place for a DeepSpeed config"),
        ("python train.py --x {ds_config}", "add --config FILE"),
        ("ls train.py", "neither a Python script nor a launcher"),
    ],
)
def test_refuses_in_one_line_what_it_cannot_tune(folder: Path, line: str, says: str) -> None:
    with pytest.raises(CommandError) as raised:
        parse(line, folder)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_config_given_beside_a_script_without_a_place_goes_through_the_probe(folder: Path) -> None:
    command = parse("python plain.py", folder, config=Path("ds.json"))
    assert (command.config_place, command.config_path) == ("probe", folder / "ds.json")


def test_config_overrides_the_file_in_the_command(folder: Path) -> None:
    command = parse(
        "deepspeed --num_gpus 1 train.py --deepspeed_config gone.json", folder, config=Path("ds.json")
    )
    assert command.config_path == folder / "ds.json"
    assert str(folder / "t.json") in command.render(
        trial_dir=folder / "0", config_path=folder / "t.json", arguments={}
    )


def test_a_shebang_script_runs_with_its_own_interpreter(folder: Path) -> None:
    script = folder / "run.py"
    script.write_text("#!/usr/bin/env python3\nimport deepspeed\n")
    script.chmod(0o755)
    command = parse("./run.py --deepspeed_config ds.json", folder)
    assert (command.launcher, command.script) == ("python", script)


@pytest.mark.parametrize(
    ("line", "arguments", "expected"),
    [
        (
            "deepspeed --num_gpus 2 train.py --deepspeed_config ds.json --lr 0.1",
            {"--micro": "4"},
            "deepspeed --num_gpus 2 train.py --deepspeed_config T/ds.json --lr 0.1 --micro 4",
        ),
        (
            "python train.py --deepspeed=ds.json --micro=1",
            {"--micro": "8"},
            "python train.py --deepspeed=T/ds.json --micro=8",
        ),
        (
            "python train.py --deepspeed ds.json --per-device-size 1 --x",
            {"--per_device_size": "8"},
            "python train.py --deepspeed T/ds.json --per-device-size 8 --x",
        ),
        (
            "python train.py --ds_config ds.json --output_dir ckpt --logging-dir=logs --save",
            {},
            "python train.py --ds_config T/ds.json --output_dir T/output --logging-dir=T/output --save",
        ),
        (
            "python train.py --ds_config ds.json --output result.json --resume_from_checkpoint ckpt --y 2",
            {},
            "python train.py --ds_config T/ds.json --output T/output/result.json --y 2",
        ),
        (
            "python train.py --cfg={ds_config} --out {trial_dir}/deep --output_dir {trial_dir}/mine",
            {},
            "python train.py --cfg=T/ds.json --out T/deep --output_dir T/mine",
        ),
    ],
)
def test_renders_a_trial(folder: Path, line: str, arguments: dict[str, str], expected: str) -> None:
    trial = folder / "trials" / "3"
    command = parse(line, folder, config=Path("ds.json"))
    rendered = command.render(trial_dir=trial, config_path=trial / "ds.json", arguments=arguments)
    assert rendered == shlex.split(expected.replace("T/", f"{trial}/"))


def test_the_optimal_command_keeps_the_users_own_outputs(folder: Path) -> None:
    command = parse("python train.py --deepspeed ds.json --output_dir ckpt --micro 1", folder)
    best = folder / "results" / "ds_config_optimal.json"
    assert command.render_optimal(best, {"--micro": "4"}) == shlex.split(
        f"python train.py --deepspeed {best} --output_dir ckpt --micro 4"
    )


def test_auto_values_move_with_the_trainers_options(folder: Path) -> None:
    command = parse("deepspeed --num_gpus 2 trainer.py --deepspeed auto.json", folder)
    assert command.maps == {
        "train_micro_batch_size_per_gpu": "--per_device_train_batch_size",
        "gradient_accumulation_steps": "--gradient_accumulation_steps",
    }
    assert parse("deepspeed --num_gpus 2 train.py --deepspeed auto.json", folder).maps == {}
    assert parse("deepspeed --num_gpus 2 trainer.py --deepspeed ds.json", folder).maps == {}
    own = parse(
        "python trainer.py --deepspeed auto.json", folder, maps={"gradient_accumulation_steps": "--acc"}
    )
    assert own.maps["gradient_accumulation_steps"] == "--acc"


def test_the_trainers_options_move_with_a_config_that_says_the_same_numbers(folder: Path) -> None:
    both = {
        "train_micro_batch_size_per_gpu": "--per_device_train_batch_size",
        "gradient_accumulation_steps": "--gradient_accumulation_steps",
    }
    (folder / "parsed.py").write_text("from transformers import HfArgumentParser, Trainer\n")
    line = "parsed.py --per_device_train_batch_size 4 --deepspeed"
    # The Trainer refuses a config that says another number than its options do.
    assert parse(f"python {line} ds.json", folder).maps == both
    # A config that the probe gives is not seen by the Trainer at all, which counts by its options.
    assert parse("python parsed.py --gradient-accumulation-steps=2", folder).maps == both
    (folder / "own.py").write_text("from transformers import Trainer\n")
    assert parse("python own.py --per_device_train_batch_size 4 --deepspeed ds.json", folder).maps == {
        "train_micro_batch_size_per_gpu": "--per_device_train_batch_size"
    }


def test_the_ranks_of_deepspeed_without_a_count_are_what_it_would_start_itself(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_SIZE", "3")
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    assert parse("deepspeed train.py --deepspeed_config ds.json", folder).ranks == 3


def test_the_shell_line_survives_any_quoting() -> None:
    tokens = ["python", "a b.py", "--text", "it's $HOME; `x`"]
    line = shell_line(tokens, {"OMP_NUM_THREADS": "2"})
    assert shlex.split(line) == ["env", "OMP_NUM_THREADS=2", *tokens]


def test_the_last_of_a_config_given_twice_is_the_one_that_a_trial_replaces(folder: Path) -> None:
    command = parse("python train.py --ds_config auto.json --ds_config ds.json", folder)
    assert command.config_path == folder / "ds.json"
    rendered = command.render(
        trial_dir=folder / "t", config_path=folder / "t" / "ds_config.json", arguments={}
    )
    assert rendered[-1] == str(folder / "t" / "ds_config.json")


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [("PET_NPROC_PER_NODE", "abc", "not a number"), ("PET_NNODES", "2", "several hosts")],
)
def test_what_torchrun_takes_from_the_environment_is_checked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(CommandError, match=says):
        parse("torchrun train.py --ds_config ds.json", folder)
