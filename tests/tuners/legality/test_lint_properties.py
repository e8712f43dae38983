"""Whatever stands in a config, every rule has an answer."""

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flyball.tuners.config.deepspeed_facts import facts_of
from flyball.tuners.config.reading import known_keys
from flyball.tuners.legality.lint import Question, lint_file

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 5)
    | st.sampled_from([5e8, 0.5, -1.5, 1e300, "auto", "cpu", "3", "x", "fp16", "AdamW", "Lamb", "WarmupLR"])
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
)
SECTIONS = facts_of("0.19.8").sections
LOOSE = known_keys().loose_sections


def section(name: str) -> st.SearchStrategy[Any]:
    """A section with keys that it has and any values, its own sections likewise; or anything at all."""
    own = {*SECTIONS.get(name, ()), *LOOSE.get(name, ())} - {"tp", "tensor_parallel"}
    nested = [key for key in SECTIONS if key.startswith(f"{name}.")]
    inner = {key.rpartition(".")[2]: section(key) for key in nested}
    keys = {key: inner.get(key, ANYTHING) for key in sorted(own | set(inner))}
    chosen = st.lists(st.sampled_from(sorted(keys)), max_size=4, unique=True) if keys else st.just([])
    return ANYTHING | chosen.flatmap(
        lambda names: st.fixed_dictionaries({each: keys[each] for each in names})
    )


VALUES = {key: section(key) for key in sorted(known_keys().top_level)}
CONFIGS = st.lists(st.sampled_from(sorted(VALUES)), max_size=5, unique=True).flatmap(
    lambda keys: st.fixed_dictionaries({key: VALUES[key] for key in keys})
)


@settings(max_examples=300)
@given(CONFIGS, st.sampled_from(["0.16.0", "0.19.5", "0.19.8"]), st.sampled_from([None, 1, 8]))
def test_every_config_has_a_report(config: dict[str, Any], version: str, ranks: int | None) -> None:
    asked = Question(deepspeed_version=version, ranks=ranks, device="cpu")
    report = lint_file(Path("ds.json"), json.dumps(config).encode(), asked)
    assert report.unreadable is None
    for placed in report.placed:
        assert placed.finding.what
        assert len(placed.finding.what) < 300
        assert (
            placed.finding.key == "" or placed.position or placed.finding.key.partition(".")[0] not in config
        )
