"""The Dockerfile, held against hadolint and against what the deployments promise of the image."""

import re
import subprocess
import sys
from pathlib import Path

from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
HADOLINT = Path(sys.executable).with_name("hadolint")


def hadolint(file: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [HADOLINT, "--no-color", file], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


def instructions() -> list[str]:
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def of(name: str) -> list[str]:
    return [line.partition(" ")[2].strip() for line in instructions() if line.startswith(name + " ")]


def test_hadolint_finds_nothing() -> None:
    done = hadolint(DOCKERFILE)
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_would_see_a_fault(tmp_path: Path) -> None:
    faulty = tmp_path / "Dockerfile"
    faulty.write_text("FROM python\nRUN pip install torch\n")
    assert {"DL3006", "DL3013"} <= set(re.findall(r"DL\d+", hadolint(faulty).stdout))


def test_bases_are_pinned_by_tag() -> None:
    assert of("FROM")
    assert all(re.match(r"\S+:\d+\.\d+-\S+", base) for base in of("FROM"))


def test_it_runs_as_a_number_that_is_not_root() -> None:
    [user] = of("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_what_travels_into_the_image_exists() -> None:
    kept = [
        line[1:]
        for line in (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    assert [path for path in kept if not (ROOT / path).exists()] == []
    for source in of("COPY"):
        first = source.split()[0]
        if not first.startswith("--from"):
            assert first == "." or any(first.startswith(path) for path in kept)


def test_the_context_has_all_that_the_package_is_built_from() -> None:
    kept = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    links = [link.name for link in (ROOT / "src" / "flyball").iterdir() if link.is_symlink()]
    needed = [*links, "src", "pyproject.toml", "README.md", "LICENSE", "constraints.txt"]
    assert [name for name in needed if f"!{name}" not in kept] == []
