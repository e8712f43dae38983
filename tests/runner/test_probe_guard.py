import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from tests.patience import PATIENCE_SECONDS
from tests.runner.probe_fakes import read

from flyball.runner.probe.guard_libraries import _guard_safetensors
from flyball.runner.probe_install import install

ATTEMPTS = {
    "append": "open('data.txt', 'a')",
    "update": "open('data.txt', 'r+')",
    "create": "open('new.txt', 'w')",
    "os.open": "os.open('data.txt', os.O_RDWR)",
    "remove": "os.remove('data.txt')",
    "rename": "os.rename('data.txt', 'other.txt')",
    "move away": "shutil.move('data.txt', OWN + '/data.txt')",
    "copy over": "shutil.copyfile(__file__, 'data.txt')",
    "rmtree": "shutil.rmtree('folder')",
    "mkdir": "os.makedirs('ckpt/step')",
    "truncate": "os.truncate('data.txt', 0)",
    "symlink": "os.symlink('data.txt', 'link')",
    "torch.save": "torch.save({}, 'data.txt')",
    "torch.save elsewhere": "torch.save({}, os.path.expanduser('~/model.pt'))",
    "safetensors": "safetensors.torch.save_file({'a': torch.zeros(1)}, 'data.txt')",
    "open an older temporary file": "open(TMP + '/model/ckpt.pt', 'wb')",
    "update an older temporary file": "open(TMP + '/model/ckpt.pt', 'r+b')",
    "torch.save over an older temporary file": "torch.save({}, TMP + '/model/ckpt.pt')",
    "remove an older temporary file": "os.remove(TMP + '/model/ckpt.pt')",
    "replace an older temporary file": "os.replace(OWN + '/x', TMP + '/model/ckpt.pt')",
    "rename an older temporary folder": "os.rename(TMP + '/model', TMP + '/gone')",
    "rmtree of an older temporary folder": "shutil.rmtree(TMP + '/model')",
    "rm of an older temporary folder": "subprocess.run(['rm', '-r', TMP + '/model'])",
    "cp into an older temporary folder": "os.system('cp ' + OWN + '/ckpt.pt ' + TMP + '/model')",
    "os.system": "os.system('cd folder && rm -f *.txt')",
    "Popen": "subprocess.run(['rm', '-rf', 'folder'])",
    "Popen elsewhere": "subprocess.run(['rm', 'inner.txt'], cwd='folder')",
    "shell": "subprocess.run('FOO=1 mv data.txt ' + OWN, shell=True)",
    "shell in a shell": "subprocess.run(['bash', '-c', 'sh -c \"tee data.txt\"'])",
    "posix_spawn": "os.posix_spawn('/bin/cp', ['cp', '/etc/hostname', 'data.txt'], os.environ)",
    "rsync": "subprocess.run(['rsync', '-a', OWN + '/', '.'])",
    "dd": "os.system('dd if=/dev/zero of=data.txt count=1')",
    "redirection": "os.system('echo x > data.txt')",
    "sqlite": "sqlite3.connect('base.db')",
    "sqlite by address": "sqlite3.connect('file:base.db?mode=rw', uri=True)",
    "chmod": "os.chmod('data.txt', 0o600)",
    "utime": "os.utime('data.txt')",
}
HARMLESS = {
    "read": "open('data.txt').read()",
    "folder that is there": "os.makedirs('folder', exist_ok=True)",
    "file that is not there": "pathlib.Path('absent').unlink(missing_ok=True)",
    "own folder": "torch.save({}, OWN + '/model.pt')",
    "allowed folder": "open(ALLOWED + '/log.txt', 'w').close()",
    "temporary file": "tempfile.NamedTemporaryFile().close()",
    "cache": "os.makedirs(os.environ['HF_HOME'] + '/hub')",
    "bytecode": "os.makedirs('__pycache__', exist_ok=True)",
    "device": "open('/dev/null', 'w').close()",
    "temporary file without a name": "tempfile.TemporaryFile().close()",
    "own temporary file": (
        "[open(TMP + '/new.txt', 'w').write('x') for _ in range(2)]; "
        "os.rename(TMP + '/new.txt', TMP + '/newer.txt'); os.remove(TMP + '/newer.txt')"
    ),
    "own temporary folder": "os.makedirs(TMP + '/a/b'); shutil.rmtree(TMP + '/a')",
    "append to an older temporary file": "open(TMP + '/model/ckpt.pt', 'ab').close()",
    "lock in a temporary folder": "open(TMP + '/old.lock', 'w').close()",
    "shared cache in a temporary folder": "open(TMP + '/torchinductor_me/old', 'w').close()",
    "copy out": "subprocess.run(['cp', 'data.txt', OWN + '/copy.txt'], check=True)",
    "rm of nothing": "subprocess.run(['rm', '-f', 'absent'], check=True)",
    "quiet command": "os.system('echo x 2>&1 > /dev/null; true >&2')",
    "unclosed quotes": "subprocess.run(['sh', '-c', \"echo 'x\"], stderr=subprocess.DEVNULL)",
    "sqlite to read": "sqlite3.connect('file:base.db?mode=ro', uri=True).close()",
    "sqlite in memory": "sqlite3.connect(':memory:').close()",
}
SCRIPT = """
import json, os, pathlib, shutil, sqlite3, subprocess, sys, tempfile
import safetensors.torch, torch
ATTEMPTS, OWN, ALLOWED, TMP = json.loads(sys.argv[1])
results = {}
for name, code in ATTEMPTS.items():
    try:
        exec(code)
        results[name] = 'done'
    except PermissionError:
        results[name] = 'refused'
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One script that tries everything, in a working folder that itself lies in the temporary folder."""
    root = tmp_path_factory.mktemp("guard")
    user, trial, allowed, home, temporary = (
        root / name for name in ("user", "user/results/trials/0", "allowed", "home", "tmp")
    )
    old = [temporary / name for name in ("model/ckpt.pt", "old.lock", "torchinductor_me/old")]
    for folder in (user / "folder", trial, allowed, home, *(path.parent for path in old)):
        folder.mkdir(parents=True, exist_ok=True)
    for path in old:
        path.write_text("older")
    (user / "base.db").touch()
    (user / "data.txt").write_text("the user's own")
    (user / "folder" / "inner.txt").write_text("as well")
    (user / "train.py").write_text(SCRIPT)
    environment = install(
        trial / "probe",
        {"purpose": "trial", "directory": str(trial), "guard_writes": True, "allowed_writes": [str(allowed)]},
    )
    began = max(path.stat().st_ctime for path in old) + 0.001
    os.utime(trial / "probe" / "settings.json", (began, began))
    attempts = json.dumps([{**ATTEMPTS, **HARMLESS}, str(trial), str(allowed), str(temporary)])
    done = subprocess.run(
        [sys.executable, str(user / "train.py"), attempts],
        env={
            **os.environ,
            **environment,
            "HOME": str(home),
            "HF_HOME": str(user / "hf"),
            "RANK": "1",
            "TMPDIR": str(temporary),
        },
        cwd=user,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    return {"results": results, "user": user, "trial": trial, "home": home, "temporary": temporary}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_a_write_outside_the_trial_is_refused(outcome: dict[str, Any], name: str) -> None:
    assert outcome["results"][name] == "refused"


@pytest.mark.parametrize("name", HARMLESS)
def test_what_harms_nothing_is_done(outcome: dict[str, Any], name: str) -> None:
    assert outcome["results"][name] == "done"


def test_the_users_files_are_as_they_were(outcome: dict[str, Any]) -> None:
    user = outcome["user"]
    assert (user / "data.txt").read_text() == "the user's own"
    assert (user / "folder" / "inner.txt").read_text() == "as well"
    assert (outcome["temporary"] / "model" / "ckpt.pt").read_text() == "older"
    assert (user / "base.db").stat().st_size == 0
    expected = {"__pycache__", "base.db", "data.txt", "folder", "hf", "results", "train.py"}
    assert {path.name for path in user.iterdir()} <= expected
    assert list(outcome["home"].iterdir()) == []


def test_each_refusal_is_in_the_journal_of_the_rank(outcome: dict[str, Any]) -> None:
    records = read(outcome["trial"], rank=1).of_kind("foreign_write")
    found = {(Path(record["path"]).name, record["operation"]) for record in records}
    assert {
        ("data.txt", "open"), ("new.txt", "open"), ("data.txt", "remove"), ("data.txt", "rename"),
        ("ckpt", "mkdir"), ("data.txt", "truncate"), ("link", "link"), ("model.pt", "torch.save"),
        ("data.txt", "safetensors"),
    } <= found  # fmt: skip


def test_a_writer_that_was_imported_before_a_fork_is_guarded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (safetensors, safetensors.torch):
        monkeypatch.setattr(module, "serialize_file", safetensors.serialize_file)
    _guard_safetensors(safetensors)
    assert safetensors.torch.serialize_file is safetensors.serialize_file
    assert safetensors.torch.serialize_file._flyball
