"""One port in every file, and one run folder: a deployment is wired by what its files agree on."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PORT = "19753"
FILES = sorted(path for path in (ROOT / "deploy").rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_names_no_other_port(path: Path) -> None:
    text = path.read_text()
    named = re.findall(r"(?:0\.0\.0\.0|127\.0\.0\.1|localhost|\)):(\d+)\b", text)
    named += re.findall(r"(?:containerPort|port|EXPOSE):? (\d+)\b", text)
    assert set(named) <= {PORT}


def test_all_users_of_a_machine_write_where_its_agent_reads() -> None:
    folder = "/var/lib/flyball/runs"
    for name in ("slurm/task_prolog.sh", "systemd/flyball.tmpfiles.conf", "systemd/flyball.yaml"):
        assert folder in (ROOT / "deploy" / name).read_text()
    assert f"ReadOnlyPaths=-{folder}" in (ROOT / "deploy" / "systemd" / "flyball-agent.service").read_text()
