"""torch's fp16 and bf16 hooks are what DeepSpeed's ``communication_data_type`` does at stage 0."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.patience import PATIENCE_SECONDS

TWO_RANKS = Path(__file__).parent / "wire_types_two_ranks.py"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bool]]:
    folder = tmp_path_factory.mktemp("ranks")
    ranks = [
        subprocess.Popen([sys.executable, str(TWO_RANKS), str(rank), str(folder)], stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    errors = [each.communicate(timeout=PATIENCE_SECONDS)[1] for each in ranks]
    assert [each.returncode for each in ranks] == [0, 0], errors
    content: dict[str, dict[str, bool]] = json.loads((folder / "0.json").read_text())
    return content


@pytest.mark.parametrize("wire", ["fp16", "bf16"])
@pytest.mark.parametrize("scaling", ["prescaled", "postscaled"])
def test_the_average_is_the_same_to_the_last_bit(
    found: dict[str, dict[str, bool]], wire: str, scaling: str
) -> None:
    assert found[f"{wire} small {scaling}"] == {"equal": True, "finite": True}


def test_only_fp16_summed_before_it_is_divided_overflows_where_the_hook_does_not(
    found: dict[str, dict[str, bool]],
) -> None:
    assert found["fp16 large postscaled"] == {"equal": False, "finite": False}
    assert found["fp16 large prescaled"] == {"equal": True, "finite": True}
    assert found["bf16 large postscaled"] == {"equal": True, "finite": True}
