"""Regular expressions of policies mean one thing to Python and to Prometheus."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.patience import PATIENCE_SECONDS

from flyball.policies.linear_matching import LinearPattern
from flyball.policies.regular_expression import FLAGS, check, matching, quote

BOTH = [
    *(
        ".*",
        "gpu-[0-9]+",
        r"gpu-\d{1,3}",
        "a|b|",
        "(a|b)c?",
        "(?:ab)+?",
        "(?i)node",
        "(?P<x>a)b",
        "[]a]",
        "[^]a]",
    ),
    *(r"gpu-\d+(,gpu-\d+)*", "(foo|bar)+", "(far|foo)+", "([0-9]{2}:){5}", r"\d+(\.\d+)*", "(a|bc)*"),
    *(r"[\]a-]", r"\.\*", "{", "a{2,}", "x{1000}", r"\x41", "^a$", "über", "a{,", r"\t"),
]
PYTHON_ALONE = [
    *("(?=a)b", "(?!a)b", "(?<=a)b", "(?<!a)b", r"(a)\1", "(?P<x>a)(?P=x)", "(?>a)", "(a)?(?(1)b)", "(?#a)b"),
    *(r"\u0041", r"\N{DIGIT ONE}", r"\Z", "a++", "a*+", "a?+", "a{2}+", "x{1001}", "(?x)a b", "(?a)b"),
]
RE2_ALONE = [r"\pL", r"\p{Greek}", r"\z", "[[:alpha:]]", r"\Qa.b\E", "(?U)a+", "a(?i)b"]
OTHERWISE = ["a{,3}", r"\07", "[[]"]
"""Both read these, and not alike, or not in every version."""
NEITHER = ["(", ")", "[", "*a", "a**", "[b-a]", "\\", "x{2}{3}"]

FOR_EVER = [
    *("(a+)+", "(a|aa)+", "(a|b+)+", "(.*)*", "(a?){30}a{30}", r"(\w+\s?)*", "((ab)*c*)+", "(a|)+"),
    *("((a{0,30}){0,30}){0,30}", "(x{1000}){2}", "(?i)(aA*)+", "(,[^a]+)+"),
]


@pytest.mark.parametrize("pattern", BOTH)
def test_what_both_read_is_taken(pattern: str) -> None:
    check(pattern)
    re.compile(pattern, FLAGS)


@pytest.mark.parametrize("pattern", [*PYTHON_ALONE, *RE2_ALONE, *OTHERWISE, *NEITHER])
def test_all_else_is_refused_with_a_mend(pattern: str) -> None:
    with pytest.raises(ValueError, match="; write") as caught:
        check(pattern)
    assert f"'{pattern}'" in str(caught.value)


@pytest.mark.parametrize("pattern", FOR_EVER)
def test_what_may_take_for_ever_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="may take for ever; write one repetition, or list the values"):
        check(pattern)


@pytest.mark.parametrize("text", ["a.b", "a|b", "(x)", r"\d", "[a]", "{2}", "^$", "gpu-0/1", "ü b", "a+*?"])
def test_a_quoted_text_matches_itself_alone(text: str) -> None:
    check(quote(text))
    assert re.fullmatch(quote(text), text, FLAGS)
    assert not re.fullmatch(quote(text), text + "x", FLAGS)


MANY_WAYS = [
    "a.*b.*c.*d.*e",
    "a?" * 40 + "a" * 40,
    r"\w*a\w*b\w*c\w*d",
    "(a|ab)(c|bcd)(d*)e*f*",
]


@pytest.mark.parametrize("pattern", MANY_WAYS)
def test_what_can_be_cut_in_many_ways_is_matched_in_the_time_that_the_text_is_long(pattern: str) -> None:
    """Python's own matcher would take years for these."""
    check(pattern)
    matches = matching(pattern)
    assert not matches("ab" * 30 + "a" * 3000 + "bc" * 500 + "!")


@st.composite
def patterns(draw: st.DrawFn) -> str:
    """Patterns of a few letters with every construct that is taken."""
    parts = st.recursive(
        st.sampled_from(
            ["a", "b", "C", ".", "[ab]", "[^a]", r"\d", r"\W", "^", "$", r"\b", r"\B", r"\A", r"\n", "1"]
        ),
        lambda inner: st.one_of(
            st.lists(inner, min_size=1, max_size=4).map("".join),
            st.lists(inner, min_size=2, max_size=3).map(lambda each: f"({'|'.join(each)})"),
            inner.map(lambda each: f"(?i:{each})"),
            inner.map(lambda each: f"(?-s:{each})"),
            st.tuples(inner, st.sampled_from(["*", "+", "?", "*?", "{2}", "{1,3}", "{2,}"])).map(
                lambda each: f"(?:{each[0]}){each[1]}"
            ),
        ),
        max_leaves=6,
    )
    return draw(st.sampled_from(["", "(?i)", "(?m)"])) + draw(parts)


@given(patterns(), st.text("abcAC1! \n", max_size=8))
@settings(max_examples=250)
def test_a_linear_match_is_what_pythons_own_is(pattern: str, text: str) -> None:
    assert LinearPattern(pattern, FLAGS).fullmatch(text) is (re.fullmatch(pattern, text, FLAGS) is not None)


def test_a_pattern_that_is_too_large_is_refused() -> None:
    with pytest.raises(
        ValueError, match="more than 2000 characters with its repetitions written out; write fewer"
    ):
        check("[ab]{0,1000}" * 3)


@pytest.mark.live
@pytest.mark.parametrize(
    ("patterns", "taken"), [(BOTH, True), (PYTHON_ALONE, False), (NEITHER, False), (RE2_ALONE, True)]
)
def test_prometheus_agrees(tmp_path: Path, patterns: list[str], taken: bool, promtool: str) -> None:
    for number, pattern in enumerate(patterns):
        rule = {"alert": "A", "expr": f"x{{a=~{json.dumps(pattern)}}}"}
        document = {"groups": [{"name": "g", "rules": [rule]}]}
        (tmp_path / f"{number:02}.json").write_text(json.dumps(document), "utf-8")
    files = sorted(path.name for path in tmp_path.iterdir())
    command = [promtool, "check", "rules", *files]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    told = done.stdout + done.stderr
    passed = [
        found for block in told.split("Checking ") for found in files if found in block and "SUCCESS" in block
    ]
    assert passed == (files if taken else []), told
