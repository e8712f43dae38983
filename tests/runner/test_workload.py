"""The reference workload's text: the same samples for any cut of the batch, each once an epoch."""

import json
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flyball.runner
from flyball.runner.workload.corpus import Corpus, sample_indices, standard_library

WORKLOAD = Path(flyball.runner.__file__).parent / "workload"


def step_samples(step: int, *, ranks: int, micro_batch: int, accumulation: int) -> list[list[int]]:
    """Sample numbers of one step, by rank."""
    return [
        list(
            chain.from_iterable(
                sample_indices(
                    step=step,
                    micro_step=micro_step,
                    rank=rank,
                    ranks=ranks,
                    micro_batch=micro_batch,
                    global_batch=ranks * micro_batch * accumulation,
                )
                for micro_step in range(accumulation)
            )
        )
        for rank in range(ranks)
    ]


small = st.integers(min_value=1, max_value=6)


@given(step=st.integers(0, 10_000), ranks=small, micro_batch=small, accumulation=small)
def test_a_step_holds_its_own_samples_once(
    step: int, ranks: int, micro_batch: int, accumulation: int
) -> None:
    by_rank = step_samples(step, ranks=ranks, micro_batch=micro_batch, accumulation=accumulation)
    batch = ranks * micro_batch * accumulation
    assert list(chain.from_iterable(by_rank)) == list(range(step * batch, (step + 1) * batch))


@given(step=st.integers(0, 10_000), ranks=small, micro_batch=small, accumulation=small)
def test_a_rank_sees_the_same_samples_however_they_are_cut(
    step: int, ranks: int, micro_batch: int, accumulation: int
) -> None:
    cut = step_samples(step, ranks=ranks, micro_batch=micro_batch, accumulation=accumulation)
    whole = step_samples(step, ranks=ranks, micro_batch=micro_batch * accumulation, accumulation=1)
    assert cut == whole


@given(
    text=st.binary(min_size=1, max_size=400),
    sequence_length=st.integers(1, 20),
    seed=st.integers(0, 1000),
    epoch=st.integers(0, 3),
)
def test_every_sample_comes_once_an_epoch(text: bytes, sequence_length: int, seed: int, epoch: int) -> None:
    if len(text) < sequence_length:
        text = text * sequence_length
    corpus = Corpus(text, sequence_length=sequence_length, seed=seed)
    seen = sorted(corpus[epoch * len(corpus) + index] for index in range(len(corpus)))
    cut = [text[place : place + sequence_length] for place in range(0, len(text), sequence_length)]
    assert seen == sorted(piece for piece in cut if len(piece) == sequence_length)


def test_a_text_shorter_than_one_sample_names_the_option() -> None:
    with pytest.raises(SystemExit, match="--sequence-length 8"):
        Corpus(b"short", sequence_length=8)


def test_the_text_is_the_library_s_own_source_and_bounded() -> None:
    text = standard_library(10_000)
    assert len(text) == 10_000
    assert text == standard_library(20_000)[:10_000]
    assert b"import " in text


@pytest.mark.parametrize("path", sorted(WORKLOAD.glob("ds_config*.json")), ids=lambda path: path.name)
def test_configs_are_json_without_comments(path: Path) -> None:
    config = json.loads(path.read_text())
    assert config["optimizer"]["type"] == "AdamW"
    assert config["zero_optimization"]["stage"] in range(4)


@pytest.mark.parametrize("path", sorted(WORKLOAD.glob("*.py")), ids=lambda path: path.name)
def test_flyball_is_nowhere_in_the_scripts(path: Path) -> None:
    assert "flyball" not in path.read_text()
