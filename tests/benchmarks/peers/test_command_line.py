"""What the bench takes from its command line."""

import pytest
from tests.benchmarks._outside_run import Marks, OutsideRun
from tests.benchmarks.peers.__main__ import budgets_of, main, marks
from tests.benchmarks.peers.cold_runs import on_port
from tests.benchmarks.peers.comparing import Wanted, kept, same_as_before, search
from tests.benchmarks.peers.peer_fakes import bench
from tests.benchmarks.peers.registry import PEERS
from tests.benchmarks.peers.workloads import GPT, NAMED, BadInput, Workload, workload


def test_peers_share_a_budget_unless_they_name_their_own():
    assert budgets_of("flyball,deepspeed-fast=8m", "3m") == {"flyball": 180.0, "deepspeed-fast": 480.0}


def test_there_is_a_peer_for_every_name():
    assert {name: peer.name for name, peer in PEERS.items()} == {name: name for name in PEERS}
    assert set(PEERS) == {"flyball", "random", "tpe", "grid", "deepspeed-fast", "deepspeed-full"}


@pytest.mark.parametrize("name", list(NAMED))
def test_named_scripts_stand_in_the_repository(name):
    chosen = workload(name, None, [])
    assert chosen.script.is_file()
    assert chosen.command(3)[:3] == ("deepspeed", "--num_gpus", "3")
    assert str(chosen.config) in chosen.command(3)


def test_a_script_by_path_takes_its_config_and_arguments(tmp_path):
    script, config = tmp_path / "mine.py", tmp_path / "mine.json"
    script.write_text("")
    config.write_text("{}")
    command = workload(str(script), config, ["--layers", "2"]).command(1)
    assert command[3:] == (str(script), "--deepspeed", "--deepspeed_config", str(config), "--layers", "2")


def test_a_script_without_its_config_is_refused():
    with pytest.raises(BadInput, match="--config FILE"):
        workload(str(GPT / "train.py"), None, [])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--peers", "flyball,bayes"], "there is no 'bayes'"),
        (["--peers", ","], "name at least one"),
        (["--peers", "flyball=4"], "'4' is not a duration"),
        (["--budget", "0s"], "no time at all"),
        (["--script", "gtp"], "no such file"),
        (["--steps", "5"], "write two rising numbers"),
        (["--final-steps", "60:10"], "write two rising numbers"),
        (["--config", "nowhere.json"], "no such file"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, said, tmp_path, capsys):
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_marks_are_two_steps():
    found = marks("5:15", "step (.*)")
    assert (found.first, found.last, found.pattern) == (5, 15, "step (.*)")


def test_a_handed_over_command_gets_a_port_of_its_own():
    script = 'cd /job || exit 1\nexec env A=deepspeed deepspeed --num_gpus 2 train.py deepspeed "$@"\n'
    assert on_port(script, 21000).splitlines()[1] == (
        'exec env A=deepspeed deepspeed --master_port=21000 --num_gpus 2 train.py deepspeed "$@"'
    )


def test_the_scripts_folder_is_no_part_of_a_path_that_looks_like_it():
    assert (
        on_port("exec /opt/deepspeed/bin/python train.py", 21000) == "exec /opt/deepspeed/bin/python train.py"
    )


def wanted(folder, **changes):
    config = folder / "ds.json"
    config.write_text("{}")
    parts = {
        "workload": Workload(script=folder / "train.py", config=config),
        "ranks": 1,
        "budgets": {"random": 60.0},
        "seeds": 1,
        "single": Marks(first=1, last=2),
        "final": Marks(first=1, last=2),
        "rounds": 1,
        "run_limit_seconds": 60.0,
        "folder": folder / "out",
    }
    return Wanted(**{**parts, **changes})


def test_a_folder_goes_on_with_the_same_comparison_and_refuses_another(tmp_path):
    same_as_before(wanted(tmp_path), ("deepspeed", "train.py"))
    same_as_before(wanted(tmp_path, rounds=4, budgets={"tpe": 30.0}), ("deepspeed", "train.py"))
    for changes, command in (({}, "other.py"), ({"final": Marks(first=1, last=9)}, "train.py")):
        with pytest.raises(BadInput, match="name another folder"):
            same_as_before(wanted(tmp_path, **changes), ("deepspeed", command))


def test_a_run_that_was_seen_is_not_made_again(tmp_path):
    def run():
        made.append(1)
        return OutsideRun(steps_per_second=2.0, times={1: 0.5})

    made = []
    seen = [kept(tmp_path, run) for _ in range(2)]
    assert seen[0] == seen[1] == OutsideRun(steps_per_second=2.0)
    assert len(made) == 1


def test_a_search_that_was_found_is_not_made_again(tmp_path):
    first, second = (search(made, "random", tmp_path, 0, 40.0) for made in (bench(tmp_path), bench(tmp_path)))
    assert first == second
    untouched = bench(tmp_path)
    search(untouched, "random", tmp_path, 0, 40.0)
    assert untouched.measure.made == []


def test_a_peer_that_cannot_run_is_a_search_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = search(bench(tmp_path), "deepspeed-full", tmp_path, 0, 40.0)
    assert "needs tabulate" in found.reason
    assert (found.pick, found.trials) == (None, ())
