"""What is read of a DeepSpeed from its source, and which version's facts are taken."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from flyball.tuners.config import deepspeed_facts
from flyball.tuners.config.deepspeed_facts import (
    DeepSpeedFacts,
    facts_of,
    table,
    table_versions,
    versions_with,
)
from flyball.tuners.config.deepspeed_source import read_facts
from flyball.tuners.config.reading import known_keys
from flyball.tuners.legality.context import installed_version, release

ZERO = """
from enum import Enum
class Stage(int, Enum):
    off = 0
    on = 1
class DeepSpeedZeroConfig(DeepSpeedConfigModel):
    stage: Stage = 0
    reduce_bucket_size: int = Field(pp_int(5e8), gt=0)
    prefetch_bucket_size: int = Field(pp_int(5e7), ge=0, alias="stage3_prefetch_bucket_size")
    overlap_comm: Optional[bool] = None
    old: bool = Field(False, json_schema_extra={"deprecated": True, "new_param": "new"})
    anything: Anything = make()
"""
CONFIG = """
ADAM = 'Adam'
DEEPSPEED_OPTIMIZERS = [ADAM, 'lion']
_REMOVED_TOP_LEVEL_CONFIG_KEYS = {"amp": "text"}
_REMOVED_ZERO_CONFIG_KEYS = {"mics_shard_size": "text"}
"""
SCHEDULES = """
WARM = 'Warm'
VALID_LR_SCHEDULES = [WARM]
class Warm:
    def __init__(self, optimizer, total, steps=5): ...
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for file, text in (
        ("runtime/zero/config.py", ZERO),
        ("runtime/config.py", CONFIG),
        ("runtime/lr_schedules.py", SCHEDULES),
        ("runtime/precision_config.py", "class DeepSpeedFP16Config(:"),
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    return tmp_path


def test_fields_are_read_from_the_syntax(package: Path) -> None:
    assert read_facts(package)["sections"] == {
        "zero_optimization": {
            "stage": {"kinds": [], "choices": [0, 1], "default": 0},
            "reduce_bucket_size": {"kinds": ["int"], "bounds": {"gt": 0}, "default": 5e8},
            "prefetch_bucket_size": {
                "kinds": ["int"],
                "bounds": {"ge": 0},
                "alias": "stage3_prefetch_bucket_size",
                "default": 5e7,
            },
            "overlap_comm": {"kinds": ["null", "bool"], "default": None},
            "old": {"kinds": ["bool"], "deprecated": True, "replacement": "new", "default": False},
            "anything": {},
        }
    }


def test_optimizers_schedules_and_removed_keys_are_read(package: Path) -> None:
    found = read_facts(package)
    assert found["optimizers"] == ["adam", "lion"]
    assert found["schedulers"] == {
        "Warm": {"parameters": ["total", "steps"], "required": ["total"]},
    }
    assert found["removed"] == ["amp", "zero_optimization.mics_shard_size"]


def test_a_package_that_is_not_as_expected_has_no_facts(tmp_path: Path) -> None:
    assert read_facts(tmp_path) == {"sections": {}, "optimizers": [], "schedulers": {}, "removed": []}


@pytest.mark.parametrize(
    ("version", "held"),
    [
        (None, "0.19.8"),
        ("0.19.8", "0.19.8"),
        ("0.19.8+cu130", "0.19.8"),
        ("0.18.6", "0.18.4"),
        ("0.99.0", "0.19.8"),
        ("0.9.5", "0.16.0"),
    ],
)
def test_a_version_without_a_table_takes_the_nearest_older_one(version: str | None, held: str) -> None:
    assert facts_of(version).version == held


def test_an_installed_version_without_a_table_is_read_from_its_files(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deepspeed_facts, "_installed_folder", lambda _: package)
    facts_of.cache_clear()
    found = facts_of("0.77.0")
    facts_of.cache_clear()
    assert found.version == "0.77.0"
    assert set(found.sections["zero_optimization"]) >= {"stage3_prefetch_bucket_size", "prefetch_bucket_size"}


def test_the_table_of_the_installed_version_says_what_its_files_say() -> None:
    spec, version = find_spec("deepspeed"), installed_version("deepspeed")
    assert spec is not None
    assert spec.origin is not None
    assert version is not None
    release_name = version.partition("+")[0]
    assert release_name in table_versions()
    read = deepspeed_facts._facts(release_name, read_facts(Path(spec.origin).parent))
    assert read == table(release_name)


TABLES = [table(version) for version in table_versions()]


@pytest.mark.parametrize("facts", TABLES, ids=lambda facts: facts.version)
def test_the_keys_of_every_version_are_known(facts: DeepSpeedFacts) -> None:
    known = known_keys()
    for section, fields in facts.sections.items():
        assert set(fields) <= known.strict_sections.get(section, frozenset())
    now = release(facts.version) or ()
    listed = {
        key for since, keys in known.removed_in.items() if now >= (release(since) or ()) for key in keys
    }
    assert facts.removed == listed


def test_the_versions_that_have_a_key_are_told() -> None:
    assert versions_with("zero_optimization", "parameter_alignment") == ("0.19.7", "0.19.8")
    assert versions_with("zero_optimization", "overlap_com") == ()
