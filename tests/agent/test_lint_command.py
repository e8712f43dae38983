"""``flyball lint``: lines, JSON, exit statuses, and files that are no configs."""

import errno
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import flyball.tuners.legality.lint as module
from flyball.agent.cli import run
from flyball.tuners.legality.environment import LOOKED_AT

SCHEMA = json.loads((Path(module.__file__).parents[1] / "schema" / "lint.schema.json").read_text("utf-8"))
BAD = '{\n  "train_batch_size": 8,\n  "zero_optimization": {\n    "stage": 5\n  }\n}\n'
WARNED = '{"train_batch_size": 8, "wall_clock_breakdown": true}'
GOOD = '{"train_micro_batch_size_per_gpu": 8, "timers": {"throughput": {"synchronized": false}}}'
VERSION = "--deepspeed-version=0.19.8"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in LOOKED_AT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    for name, text in (("bad", BAD), ("warned", WARNED), ("good", GOOD)):
        (tmp_path / f"{name}.json").write_text(text, encoding="utf-8")
    return tmp_path


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    run(["lint", "--json", *arguments])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    return found


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["good.json"], 0),
        (["warned.json"], 0),
        (["--strict", "warned.json"], 1),
        (["--strict", "good.json"], 0),
        (["bad.json"], 1),
        (["good.json", "bad.json"], 1),
        (["bad.json", "missing.json"], 2),
        (["--ranks", "0", "good.json"], 2),
        (["--device", "tpu", "good.json"], 2),
        (["--deepspeed-version", "newest", "good.json"], 2),
        ([], 2),
    ],
)
def test_the_exit_status_tells_the_gravest_finding(arguments: list[str], status: int) -> None:
    assert run(["lint", *arguments]) == status


def test_a_finding_is_one_line_with_place_key_mend_and_rule(capsys: pytest.CaptureFixture[str]) -> None:
    run(["lint", VERSION, "bad.json"])
    lines = capsys.readouterr().out.splitlines()
    what = "zero_optimization.stage: 5 is not a ZeRO stage; write 0, 1, 2 or 3"
    assert lines[0] == f"bad.json:4:5: error: {what} [value-choice]"
    assert lines[-1] == "1 error, 0 warnings, 2 notes in 1 file"


def test_all_files_are_told_also_beside_one_that_cannot_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lint", VERSION, "bad.json", "missing.json", "warned.json"]) == 2
    out, err = capsys.readouterr()
    assert "bad.json:4:5: error" in out
    assert "warned.json:1:25: warning" in out
    assert err == "error: missing.json: no such file; give the path of a DeepSpeed config\n"


def test_json_has_every_finding_by_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, VERSION, "--ranks=4", "--device=cpu", "bad.json", "good.json", "missing.json")
    assert (found["errors"], found["warnings"], found["unreadable"]) == (1, 0, 1)
    assert (found["ranks"], found["device"], found["deepspeed"]["version"]) == (4, "cpu", "0.19.8")
    assert [each["name"] for each in found["files"]] == ["bad.json", "good.json", "missing.json"]
    first = found["files"][0]["findings"][0]
    assert (first["rule"], first["line"], first["column"]) == ("value-choice", 4, 5)
    assert found["files"][2]["unreadable"]["what"] == "no such file"


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_config_is_read_from_stdin(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(BAD.encode())))
    assert run(["lint", VERSION, "-"]) == 1
    assert "<stdin>:4:5: error: zero_optimization.stage" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ranks", "status"),
    [([], 0), (["--ranks=4"], 0), (["--ranks=3"], 1)],
)
def test_the_batch_is_held_against_the_ranks_that_are_told(
    ranks: list[str], status: int, folder: Path
) -> None:
    (folder / "batch.json").write_text('{"train_batch_size": 16, "train_micro_batch_size_per_gpu": 2}')
    assert run(["lint", VERSION, *ranks, "batch.json"]) == status


@pytest.mark.parametrize(
    ("version", "rule"), [("0.19.8", "one-bit-gone"), ("0.19.5", None), ("0.16.0", None)]
)
def test_what_a_version_does_not_have_is_an_error_in_that_version_only(
    capsys: pytest.CaptureFixture[str], version: str, rule: str | None, folder: Path
) -> None:
    text = '{"train_batch_size": 16, "optimizer": {"type": "OneBitAdam", "params": {"freeze_step": 9}}}'
    (folder / "one_bit.json").write_text(text)
    found = document(capsys, f"--deepspeed-version={version}", "one_bit.json")
    errors = [each["rule"] for each in found["files"][0]["findings"] if each["severity"] == "error"]
    assert errors == ([rule] if rule else [])


def test_a_version_without_a_table_is_held_against_an_older_one(capsys: pytest.CaptureFixture[str]) -> None:
    run(["lint", "--deepspeed-version=0.17.4", "good.json"])
    assert "DeepSpeed 0.17.4" in (said := capsys.readouterr().err)
    assert "those of 0.17.0" in said


def test_without_a_deepspeed_the_newest_known_is_taken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "installed_version", lambda _: None)
    assert run(["lint", "good.json"]) == 0
    assert capsys.readouterr().err == (
        "note: no DeepSpeed is installed here: held against 0.19.8, the newest that is known\n"
    )


def test_the_environment_is_told_once_for_all_files(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_NCCL_ENABLE_TIMING", "1")
    run(["lint", VERSION, "good.json", "warned.json"])
    assert capsys.readouterr().out.count("environment: warning: $TORCH_NCCL_ENABLE_TIMING") == 1


HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "binary": (bytes(range(256)), "is not UTF-8 text"),
    "a_list": (b"[1, 2]", "the config is not a JSON object"),
    "many_keys": (b"{" + b",".join(b'"k%d": 1' % i for i in range(20_000)) + b"}", "has 20000 keys"),
    "too_large": (b'{"a": "' + b"x" * (17 << 20) + b'"}', "is larger than 16 MiB"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_config_is_one_line(name: str, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    data, what = HOSTILE[name]
    (folder / f"{name}.json").write_bytes(data)
    assert run(["lint", f"{name}.json"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {name}.json: {what}")


def test_a_folder_is_one_line(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "folder.json").mkdir()
    assert run(["lint", "folder.json"]) == 2
    assert capsys.readouterr().err == "error: folder.json: is a folder; give the config file itself\n"


def test_a_file_that_may_not_be_read_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert run(["lint", "good.json"]) == 2
    assert "good.json: cannot be read (Permission denied)" in capsys.readouterr().err


FAULTY: dict[str, tuple[str, str]] = {
    "deep_objects": ('{"a":' * 5000 + "1" + "}" * 5000, "nested deeper than 64 levels"),
    "deep_lists": ('{"a": ' + "[" * 100000, "nested deeper than 64 levels"),
    "terminal": ('{"train_batch_size": 8, "\\u001b[2Jx": 1}', "DeepSpeed reads no such key"),
    "many_digits": ('{"train_batch_size": ' + "9" * 5000 + "}", "is too large"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_hostile_config_is_a_finding_on_one_line(
    name: str, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    text, what = FAULTY[name]
    (folder / f"{name}.json").write_text(text)
    assert run(["lint", f"{name}.json"]) in (0, 1)
    out = capsys.readouterr().out
    assert sum(what in line for line in out.splitlines()) == 1
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) < 400


def test_neither_torch_nor_deepspeed_is_imported(folder: Path) -> None:
    program = (
        "import sys; from flyball.agent.cli import run; run(['lint', 'bad.json']);"
        "print(sorted({'torch', 'deepspeed', 'optuna', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
