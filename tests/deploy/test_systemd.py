"""The systemd unit and what is installed with it, held against systemd's own tools."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.patience import PATIENCE_SECONDS

SYSTEMD = Path(__file__).parents[2] / "deploy" / "systemd"
UNIT = SYSTEMD / "flyball-agent.service"
EXPOSURE = re.compile(r"Overall exposure level for flyball-agent\.service: (\d+\.\d+)")
MOST_EXPOSURE = 2.0


def run(*command: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


def exposure(unit: Path) -> float:
    done = run("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    found = EXPOSURE.search(done.stdout)
    assert found, done.stdout + done.stderr
    return float(found[1])


def directives() -> dict[str, list[str]]:
    """What the unit sets, in order."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_the_service_is_little_exposed() -> None:
    assert exposure(UNIT) <= MOST_EXPOSURE


def test_a_unit_without_hardening_would_be_seen(tmp_path: Path) -> None:
    bare = tmp_path / UNIT.name
    bare.write_text("[Service]\nExecStart=/bin/true\n")
    assert exposure(bare) > 9


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/flyball/bin/flyball", sys.executable))
    done = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_misspelt_directive_would_be_seen(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    text = UNIT.read_text().replace("/opt/flyball/bin/flyball", sys.executable)
    unit.write_text(text.replace("WatchdogSec", "WatchDogSecs"))
    done = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit)
    assert "WatchDogSecs" in done.stderr


def test_a_hung_agent_is_restarted_and_a_stopping_one_has_time() -> None:
    set_to = directives()
    assert set_to["Type"] == ["notify"]
    assert int(set_to["WatchdogSec"][0]) > 0
    assert int(set_to["TimeoutStopSec"][0]) > 10


def test_only_nvidias_devices_are_allowed() -> None:
    set_to = directives()
    assert set_to["DevicePolicy"] == ["closed"]
    assert all(re.fullmatch(r"char-nvidia\S* rw?", allowed) for allowed in set_to["DeviceAllow"])
    assert "PrivateDevices" not in set_to


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A file system with nothing but what sysusers and tmpfiles need."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "var" / "lib").mkdir(parents=True)
    return tmp_path


def test_the_user_and_the_run_folder_are_made_as_described(root: Path) -> None:
    users = run("systemd-sysusers", f"--root={root}", SYSTEMD / "flyball.sysusers.conf")
    assert users.returncode == 0, users.stderr
    entries = dict(line.split(":", 1) for line in (root / "etc" / "group").read_text().splitlines())
    group = int(entries["flyball"].split(":")[1])
    made = run("systemd-tmpfiles", "--create", f"--root={root}", SYSTEMD / "flyball.tmpfiles.conf")
    assert made.returncode == 0, made.stderr
    runs = (root / "var" / "lib" / "flyball" / "runs").stat()
    assert stat.S_IMODE(runs.st_mode) == 0o3773
    assert (runs.st_uid, runs.st_gid) == (0, group)


def test_one_users_run_is_the_agents_to_read_and_nobody_elses(root: Path) -> None:
    run("systemd-sysusers", f"--root={root}", SYSTEMD / "flyball.sysusers.conf")
    run("systemd-tmpfiles", "--create", f"--root={root}", SYSTEMD / "flyball.tmpfiles.conf")
    for folder in (root, *root.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o111)
    runs = root / "var" / "lib" / "flyball" / "runs"
    group = runs.stat().st_gid
    alice, mallory = 54321, 54322
    as_user(alice, f"umask 027; mkdir {runs}/hers && echo step > {runs}/hers/rank-0.jsonl")
    assert (runs / "hers").stat().st_gid == group
    assert as_user(54323, f"cat {runs}/hers/rank-0.jsonl", group=group) == "step\n"
    assert as_user(mallory, f"cat {runs}/hers/rank-0.jsonl || rm -r {runs}/hers || ls {runs} || true") == ""
    assert (runs / "hers" / "rank-0.jsonl").exists()


def as_user(user: int, command: str, group: int | None = None) -> str:
    """What a command prints that another user runs; needs root, as the agent's own setup does."""
    done = subprocess.run(
        ["sh", "-c", command],
        user=user,
        group=user if group is None else group,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout
