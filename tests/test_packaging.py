"""The layout holds in every form in which it travels: the tree, the sdist and the wheel made from it."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINKS = ("agent", "collectors", "policies", "runner", "tuners")
LEFT_BEHIND = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*", "build", "dist", "flyball_results")


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel built from that sdist, out of a copy of the tree."""
    tree, out = tmp_path_factory.mktemp("tree") / "flyball", tmp_path_factory.mktemp("dist")
    shutil.copytree(ROOT, tree, symlinks=True, ignore=LEFT_BEHIND)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(tree)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return out


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    return next(distributions.glob("*.whl"))


@pytest.fixture(scope="module")
def wheel_names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.mark.parametrize("name", LINKS)
def test_each_folder_is_linked_by_a_relative_link(name: str) -> None:
    link = ROOT / "src" / "flyball" / name
    assert str(link.readlink()) == f"../../{name}"
    assert link.resolve(strict=True) == (ROOT / name).resolve()


def test_the_wheel_holds_one_import_name(wheel_names: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"flyball"}


def files(folder: Path) -> list[Path]:
    """What belongs in a distribution; ``rglob`` does not go through links."""
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def test_the_wheel_holds_every_source_and_data_file(wheel_names: set[str]) -> None:
    source = ROOT / "src"
    expected = {str(path.relative_to(source)) for path in files(source / "flyball")}
    for name in LINKS:
        expected |= {f"flyball/{path.relative_to(ROOT)}" for path in files(ROOT / name)}
    assert expected - wheel_names == set()


def test_the_sdist_holds_the_root_folders(distributions: Path) -> None:
    with tarfile.open(next(distributions.glob("*.tar.gz"))) as archive:
        folders = {name.split("/")[1] for name in archive.getnames() if name.count("/") > 1}
    assert {*LINKS, "src", "tests", "docs", "deploy", "grafana"} <= folders


def test_the_wheel_imports_and_leaves_the_folders_names_alone(wheel: Path, tmp_path: Path) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(wheel)!r})
import importlib.util
import flyball.errors, flyball.runner.base
assert flyball.errors.__file__.startswith(sys.path[0]), flyball.errors.__file__
found = [name for name in {LINKS!r} if importlib.util.find_spec(name)]
assert not found, found
"""
    command = [sys.executable, "-I", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
