"""docs/adding_a_collector.md: its example works as it stands, and its reasons are those that there are."""

import importlib.util
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
from tests.collectors.reasons import Unresolved, reasons_in

from flyball.agent.daemon.readings import BAD_SAMPLE, TOO_MANY_SERIES, known_reason
from flyball.agent.daemon.states import Stalled
from flyball.collectors.registry import ENTRY_POINT_GROUP, CollectorType
from flyball.collectors.testing import CHECKS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding_a_collector.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def load(name: str, text: str, folder: Path) -> ModuleType:
    path = folder / f"{name}.py"
    path.write_text(text, "utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def example(tmp_path: Path) -> Iterator[ModuleType]:
    """The example's test, with its collector installed as the page says."""
    collector, test = blocks("python")
    load("flyball_amdgpu", collector, tmp_path)
    yield load("amdgpu_example_test", test, tmp_path)
    del sys.modules["flyball_amdgpu"], sys.modules["amdgpu_example_test"]


def test_the_example_passes_its_own_test(example: ModuleType, tmp_path: Path) -> None:
    for check in CHECKS:
        folder = tmp_path / check.__name__
        folder.mkdir()
        example.test_it_conforms(check, folder)


def test_the_examples_values_are_in_base_units(example: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "drm"
    folder.mkdir()
    samples = example.AmdGpuBench(folder).collector.collect()
    assert [(each.metric.name, each.labels, each.value) for each in samples] == [
        ("gpu_busy_ratio", ("here", "0", "", "amdgpu"), 0.42),
        ("gpu_memory_used_bytes", ("here", "0", ""), 1024.0),
        ("gpu_memory_total_bytes", ("here", "0", ""), 4096.0),
    ]


@pytest.mark.usefixtures("example")
def test_the_examples_entry_point_is_a_collector() -> None:
    (text,) = blocks("toml")
    ((group, entries),) = tomllib.loads(text)["project"]["entry-points"].items()
    ((name, value),) = entries.items()
    assert group == ENTRY_POINT_GROUP
    loaded = metadata.EntryPoint(name=name, value=value, group=group).load()
    assert isinstance(loaded, CollectorType)
    assert loaded.name == name


def rows(title: str) -> set[str]:
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE))


def test_the_table_has_every_reason_that_there_is_and_no_other() -> None:
    own = {BAD_SAMPLE, TOO_MANY_SERIES, known_reason(""), "exception", Stalled(since=0.0, detail="").reason}
    assert rows("Reasons") == reasons_in(ROOT / "collectors") | own


def test_the_table_of_checks_is_whole() -> None:
    assert rows("The test") == {check.__name__ for check in CHECKS} | {"check_samples"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('Unavailable(reason="a", detail="b")', {"a"}),
        ('CollectorFailed("a" if x else "b", "c")', {"a", "b"}),
        ('WHY = "a"\nraise CollectorFailed(WHY)', {"a"}),
        ('_fault(*key, "a", "b")', {"a"}),
        ('_fault("run", None, "a", "b")', {"a"}),
        ('TABLE = {1: "a"}\ndef reason_of(code): return TABLE.get(code, "b")', {"a", "b"}),
    ],
)
def test_reasons_are_found(tmp_path: Path, text: str, expected: set[str]) -> None:
    (tmp_path / "source.py").write_text(text)
    assert reasons_in(tmp_path) == expected


def test_a_reason_that_cannot_be_found_is_said(tmp_path: Path) -> None:
    (tmp_path / "source.py").write_text("raise CollectorFailed(f'error_{code}')")
    with pytest.raises(Unresolved, match=r"source\.py:1"):
        reasons_in(tmp_path)
