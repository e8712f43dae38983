"""The command line as a user meets it: what it says and the status it leaves with."""

import json
from pathlib import Path

import pytest
from tests.agent.fakes import FakeClock, FakeStudy, play_long_study

from flyball.agent.cli import run
from flyball.agent.wiring import Wiring
from flyball.errors import (
    BaselineFailed,
    CommandError,
    ConfigError,
    DatabaseError,
    FlyballError,
    Interrupted,
    StorageFailed,
)
from flyball.tuners.base import StudyObserver
from flyball.tuners.interruption import Interruption
from flyball.tuners.objective import Objective
from flyball.tuners.options import LATEST, StudyOptions

COMMAND = ["deepspeed", "train.py", "--deepspeed_config", "ds.json"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLYBALL_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("FLYBALL_DB", raising=False)


def autotune(*options: str, study: FakeStudy | None = None, command: list[str] | None = None) -> int:
    command = COMMAND if command is None else command
    study = study or FakeStudy()
    return run([*options, "--", *command], program="autotune", wiring=Wiring(run_study=study))


def options_of(*options: str, command: list[str] | None = None) -> StudyOptions:
    study = FakeStudy()
    assert autotune(*options, study=study, command=command) == 0
    return study.seen[0]


def test_a_bare_command_asks_for_the_defaults(tmp_path: Path) -> None:
    options = options_of()
    assert options == StudyOptions(
        command=tuple(COMMAND), cwd=tmp_path, database_url=f"sqlite:///{tmp_path}/state/history.db"
    )
    assert options.memory_limit_ratio == 0.90
    assert options.warm


def test_every_option_reaches_the_study(tmp_path: Path) -> None:
    given = (
        "--config ds.json --space space.yaml --trials 7 --budget 1h30m --ablation 5m --seed 3 --output out "
        "--db sqlite:///x.db --map a.b=--ab --map c=-c --name my.run-1 --cold "
        "--allow-writes cache --allow-writes /var/tmp --memory-limit-ratio 0.8 --allow-global-batch "
        "--objective energy --least-throughput 0.7 --samples-from config "
        "--policies default --policies mine.yaml"
    )
    assert options_of(*given.split()) == StudyOptions(
        command=tuple(COMMAND),
        cwd=tmp_path,
        database_url="sqlite:///x.db",
        config=tmp_path / "ds.json",
        space=tmp_path / "space.yaml",
        trials=7,
        budget_seconds=5400,
        ablation_seconds=300,
        seed=3,
        output=tmp_path / "out",
        maps={"a.b": "--ab", "c": "-c"},
        name="my.run-1",
        warm=False,
        allowed_writes=(tmp_path / "cache", Path("/var/tmp")),
        memory_limit_ratio=0.8,
        allow_global_batch=True,
        objective=Objective.ENERGY,
        least_throughput_ratio=0.7,
        samples_from="config",
        policies=("default", str(tmp_path / "mine.yaml")),
    )


def test_the_ablation_can_be_left_off() -> None:
    assert options_of("--ablation", "off").ablation_seconds == 0


def test_the_users_command_is_taken_token_by_token() -> None:
    command = ["sh", "-c", "a b", "", "--", "--trials", "ünï", "$X", "{ds_config}"]
    assert options_of(command=command).command == tuple(command)


@pytest.mark.parametrize(
    ("arguments", "resume", "command"),
    [
        (["--resume"], LATEST, ()),
        (["--resume", "--trials", "1"], LATEST, ()),
        (["--resume", "name"], "name", ()),
        (["--resume=name"], "name", ()),
        (["--resume", "--", *COMMAND], LATEST, tuple(COMMAND)),
        (["--resume", "out/dir", "--", *COMMAND], "out/dir", tuple(COMMAND)),
    ],
)
@pytest.mark.parametrize("program", ["autotune", "flyball"])
def test_resume_takes_a_name_or_none(
    program: str, arguments: list[str], resume: str, command: tuple[str, ...]
) -> None:
    study = FakeStudy()
    first = ["autotune"] if program == "flyball" else []
    assert run([*first, *arguments], program=program, wiring=Wiring(run_study=study)) == 0
    assert (study.seen[0].resume, study.seen[0].command) == (resume, command)


def test_the_database_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYBALL_DB", "postgresql://u:s3cret@h/d")
    options = options_of()
    assert options.database_url == "postgresql://u:s3cret@h/d"
    assert "s3cret" not in repr(options)


BAD_INPUT = [
    ("", "no command to tune; write it after --, as in: autotune -- deepspeed"),
    ("--", "no command to tune"),
    ("deepspeed train.py", "put -- in front of the command: autotune [OPTIONS] -- deepspeed train.py"),
    ("--trials 3 python train.py --lr 1", "autotune [OPTIONS] -- python train.py --lr 1"),
    ("x -- y", "x: autotune takes options only before the --"),
    (
        "--deepspeed_config ds.json",
        "--deepspeed_config: no such option; options of your own command stand after --",
    ),
    ("--trails 3 -- x", "--trails: no such option; did you mean --trials?"),
    ("--memory-limit 0.5 -- x", "did you mean --memory-limit-ratio?"),
    ("-q -- x", "-q: no such option; see autotune --help"),
    ("--trials", "--trials: requires an argument"),
    ("--trials x -- x", "--trials: 'x' does not fit; write a whole number of at least 1"),
    ("--trials 0 -- x", "--trials: '0' does not fit"),
    ("--trials 1.5 -- x", "--trials: '1.5' does not fit"),
    ("--seed=-1 -- x", "--seed: '-1' does not fit; write a whole number from 0 to 4294967295"),
    ("--seed 99999999999 -- x", "--seed: '99999999999' does not fit"),
    ("--budget 5 -- x", "--budget: '5' is not a duration"),
    ("--ablation 5 -- x", "--ablation: '5' is not a duration"),
    ("--budget= -- x", "--budget: '' is not a duration"),
    ("--memory-limit-ratio 0 -- x", "--memory-limit-ratio: '0' is no share"),
    ("--memory-limit-ratio 1.01 -- x", "--memory-limit-ratio: '1.01' is no share"),
    ("--memory-limit-ratio nan -- x", "--memory-limit-ratio: 'nan' is no share"),
    ("--memory-limit-ratio 90% -- x", "--memory-limit-ratio: '90%' is no share"),
    (
        "--objective speed -- x",
        "--objective: 'speed' does not fit; write one of: throughput, latency, energy",
    ),
    ("--objective= -- x", "--objective: '' does not fit"),
    ("--objective energy --least-throughput 0 -- x", "--least-throughput: '0' is no share"),
    ("--objective energy --least-throughput 80% -- x", "--least-throughput: '80%' is no share"),
    ("--least-throughput 0.8 -- x", "--least-throughput: only energy is saved at the cost of throughput"),
    ("--objective latency --least-throughput 0.8 -- x", "leave out --least-throughput, or add"),
    ("--resume old --objective energy", "--objective: a resumed experiment keeps what it was started with"),
    ("--map a -- x", "--map: 'a' maps nothing; write KEY=OPTION"),
    ("--map a=b -- x", "--map: 'a=b' maps nothing"),
    ("--map =--b -- x", "--map: '=--b' maps nothing"),
    ("--map a=--x --map a=--y -- x", "--map: a is mapped twice"),
    ("--map a=--x --map b=--x -- x", "--map: --x is mapped twice"),
    ("--name a/b -- x", "--name: 'a/b' cannot name an experiment"),
    ("--name .. -- x", "--name: '..' cannot name an experiment"),
    ("--name= -- x", "--name: '' cannot name an experiment"),
    ("--output a-file -- x", "a-file is not a folder"),
    ("--output a-file/below -- x", "a-file is not a folder"),
    ("--allow-writes a-file -- x", "--allow-writes: "),
    ("--dry-run --json -- x", "--json: a dry run recommends nothing"),
    ("--dry-run --resume -- x", "--dry-run: a dry run launches nothing"),
    ("--resume old --name new", "--name: a resumed experiment has its name already"),
    ("--json=yes -- x", "--json: does not take a value"),
]


@pytest.mark.parametrize(("line", "message"), BAD_INPUT)
def test_bad_input_is_one_line_and_launches_nothing(
    line: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a-file").touch()
    study = FakeStudy()
    assert run(line.split(), program="autotune", wiring=Wiring(run_study=study)) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert (shown.out, study.seen) == ("", [])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("histroy", "histroy: no such command; did you mean history?"),
        (
            "zzz",
            "zzz: no such command; the commands are agent, alerts, autotune, doctor, history, lint, p2p",
        ),
        ("--nope", "--nope: no such option; see flyball --help"),
        ("-- autotune x", "the command to tune is not marked off"),
        ("history", "missing command; the commands are experiments, p2p, run, runs, show, trials"),
        ("history trails", "trails: no such command; did you mean trials?"),
        ("alerts tset", "tset: no such command; did you mean test?"),
        ("alerts test", "RECEIVER: is missing; see flyball alerts test --help"),
        ("alerts test ops", "--config: is missing; see flyball alerts test --help"),
        ("probe", "missing command; the commands are install"),
        ("probe install", "DIR: is missing; see flyball probe install --help"),
        ("probe install a b", "unexpected extra argument"),
        ("autotune --trials", "--trials: requires an argument; see flyball autotune --help"),
    ],
)
def test_flyball_itself_is_helpful_in_one_line(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line.split()) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (ConfigError("is not JSON", where="ds.json:3:1"), 2),
        (CommandError("no such program"), 2),
        (DatabaseError("locked"), 2),
        (BaselineFailed("does not train"), 5),
        (StorageFailed("disk full"), 6),
        (Interrupted("stopped"), 130),
        (KeyboardInterrupt(), 130),
        (FlyballError("whatever"), 1),
        (RuntimeError("two\nlines"), 1),
        (BrokenPipeError(32, "Broken pipe"), 1),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_every_fault_has_its_status_and_a_traceback_only_on_request(
    raised: BaseException, status: int, debug: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--debug"] if debug else []
    assert autotune(*flags, study=FakeStudy(raises=raised)) == status
    shown = capsys.readouterr()
    assert debug or "Traceback" not in shown.err
    assert debug or shown.err.count("\n") <= 1


def test_an_unexpected_error_says_how_to_see_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune(study=FakeStudy(raises=ZeroDivisionError("division by zero"))) == 1
    expected = "internal error: ZeroDivisionError: division by zero; run again with --debug\n"
    assert capsys.readouterr().err == expected
    assert run(["--debug", "autotune", "--", "x"], wiring=Wiring(run_study=FakeStudy(raises=KeyError()))) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "raised", [DatabaseError("postgresql://u:s3cret@h/d: refused"), OSError("://u:s3cret@h")]
)
def test_no_password_is_printed(raised: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune("--db", "postgresql://u:s3cret@h/d", study=FakeStudy(raises=raised)) in (1, 2)
    shown = capsys.readouterr()
    assert "s3cret" not in shown.err + shown.out
    assert "***@h" in shown.err


@pytest.mark.parametrize(
    ("verdict", "plain", "detailed"),
    [("recommended", 0, 0), ("keep", 0, 3), ("unverified", 0, 4), (None, 0, 0)],
)
def test_a_verdict_is_a_success_unless_asked_in_detail(
    verdict: str | None, plain: int, detailed: int
) -> None:
    assert autotune(study=FakeStudy(verdict=verdict)) == plain
    assert autotune("--detailed-exitcode", study=FakeStudy(verdict=verdict)) == detailed


def test_the_summary_is_the_last_thing_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    study = FakeStudy(summary="one screen\nof text", script=play_at_once)
    assert autotune(study=study) == 0
    shown = capsys.readouterr()
    assert shown.out.endswith("\none screen\nof text\n")
    assert "trial=13" in shown.out
    assert shown.err == ""


def test_json_is_all_there_is_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune("--json", "--output", "out", study=FakeStudy(script=play_at_once)) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"verdict": "recommended"}
    assert "trial=13" in shown.err


def test_a_result_that_cannot_be_read_back_is_a_storage_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune("--json", "--output", "out", study=FakeStudy(verdict=None)) == 6
    assert "recommendation.json: cannot be read" in capsys.readouterr().err


def test_our_options_behind_the_dashes_are_pointed_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune(command=[*COMMAND, "--budget", "10m", "--seed", "1"]) == 0
    shown = capsys.readouterr().out
    assert "--budget stands behind --, so it goes to your script" in shown
    assert "--seed stands" not in shown


def test_a_study_that_was_asked_to_finish_reports_and_exits_130(capsys: pytest.CaptureFixture[str]) -> None:
    def ask_to_finish(observer: StudyObserver, interruption: Interruption) -> None:
        interruption.request("SIGINT")

    assert autotune(study=FakeStudy(script=ask_to_finish, summary="so far")) == 130
    assert capsys.readouterr().out.endswith("so far\n")


def test_help_is_asked_for_in_every_place(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], [], ["-h"]):
        assert run(arguments) == 0
        assert "flyball autotune -- deepspeed train.py" in capsys.readouterr().out
    for program, arguments in (("autotune", ["--help"]), ("flyball", ["autotune", "--help"])):
        assert run(arguments, program=program) == 0
        shown = capsys.readouterr().out
        assert "[OPTIONS] -- COMMAND..." in shown
        assert "autotune -- deepspeed train.py --deepspeed_config ds.json" in shown
    assert run(["history", "show", "--help"]) == 0


def play_at_once(observer: StudyObserver, interruption: Interruption) -> None:
    play_long_study(observer, FakeClock().sleep)
