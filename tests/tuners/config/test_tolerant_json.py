"""A config is read as DeepSpeed reads it, by Hjson's own reader; all that is wrong is told at once."""

import json

import hjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyball.tuners.config.json_document import JsonError, parse
from flyball.tuners.config.tolerant_json import HJSON_RULES, MOST_FAULTS, read_tolerantly

TAKEN = [
    '{"a": 1, // four ranks\n "b": [1, 2, /* not 3 */ 4,],\n # done\n}',
    '{"a": {"b": "x // no comment", "c": "# none"},}',
    '{a: 1, b_c: {"d": true,}}',
    "{'a': 'x', \"b\": [ 'it', \"is\" ]}",
    '{"a": "x"\n "b": {"c": 1}\n "d": [1\n2]\n}',
    "/* first */ {} // last",
    '{"a": 1e5 // large\n, "b": null # none\n}',
]
LINES = {
    '{"a": True,\n "b": NaN,\n "c": 1 2,\n "d": "e"}': [1, 2, 3],
    '{"a": 1,\n "a": 2,\n b 3,\n "c": \'open,\n "d": 4}': [2, 3, 4],
    '{"a": [1,\n 2}': [2],
    '{"a": {"b": 1}': [1],
    '{"a": 1}\n{': [2],
    "": [1],
    '{"a": "open\n}': [1],
    "]": [1],
    '[1, 2, {"a": -}, nope]': [1, 1],
}


@pytest.mark.parametrize("text", TAKEN)
def test_what_hjson_takes_is_read_as_it_reads_it_and_noted(text: str) -> None:
    read = read_tolerantly(text)
    assert read.values == hjson.loads(text)
    assert read.faults
    assert {each.rule for each in read.faults} <= set(HJSON_RULES)
    with pytest.raises(JsonError):
        parse(text)


@pytest.mark.parametrize("text", LINES)
def test_every_fault_is_told_with_its_line(text: str) -> None:
    read = read_tolerantly(text)
    grave = [each.line for each in read.faults if each.rule not in HJSON_RULES]
    assert grave == LINES[text]


@pytest.mark.parametrize("word", ["True", "None", "NaN", "-inf", "nope", "1.2.3", "08"])
def test_a_text_without_quotes_is_a_fault_though_hjson_makes_a_text_of_it(word: str) -> None:
    text = f'{{"a": {word}\n}}'
    assert isinstance(hjson.loads(text)["a"], str)
    assert [each.rule for each in read_tolerantly(text).faults if each.rule not in HJSON_RULES] != []


def test_thousands_of_faults_are_not_all_told() -> None:
    assert (
        len(read_tolerantly("{" + "\n".join(f'"k{n}": nope,' for n in range(5000)) + "}").faults)
        == MOST_FAULTS
    )


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_plain_json_is_read_without_a_word(value: object) -> None:
    text = json.dumps(value, indent=1)
    read = read_tolerantly(text)
    assert (read.faults, read.values) == ((), value)
    assert (read.values, read.places) == parse(text)


@settings(max_examples=300)
@given(st.text("{}[]\",:'/#* \n1ae-+.tru", max_size=30))
def test_any_text_comes_to_an_end_and_is_plain_json_where_nothing_is_said(text: str) -> None:
    read = read_tolerantly(text)
    try:
        plain = parse(text)
    except JsonError:
        assert read.faults
    else:
        assert ((read.values, read.places), read.faults) == (plain, ())
