"""Digests by which the history finds what is alike."""

import pytest

from flyball.history.digest import command_digest


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ((["a", "b"],), (["a", "b"],), True),
        ((["a", "b"], {"x": 1, "y": 2}), (["a", "b"], {"y": 2, "x": 1}), True),
        ((["a b"],), (["a", "b"],), False),
        ((["a"], "/here"), (["a"], "/there"), False),
        ((["a"], {"x": float("nan")}), (["a"], {"x": None}), True),
    ],
)
def test_a_digest_tells_jobs_apart(first: tuple[list[str]], second: tuple[list[str]], same: bool) -> None:
    assert (command_digest(*first) == command_digest(*second)) is same
