"""Regular expressions of policies mean one thing to Python and to Prometheus."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from flyball.policies.regular_expression import FLAGS, check, quote

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
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    told = done.stdout + done.stderr
    passed = [
        found for block in told.split("Checking ") for found in files if found in block and "SUCCESS" in block
    ]
    assert passed == (files if taken else []), told
