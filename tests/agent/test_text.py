import pytest

from flyball.agent.text import clean, describe_changes, describe_rate, describe_value, shorten


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\tand tabs", "two lines and tabs"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07window", "window"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("bell\x07 null\x00 del\x7f", "bell null del"),
        ("\u202egnp.exe", "gnp.exe"),
        ("[bold]markup[/]", "[bold]markup[/]"),
        ("模型 ünïcode", "模型 ünïcode"),
        ("\ud800 lone surrogate", "lone surrogate"),
    ],
)
def test_clean_leaves_what_can_be_seen_on_one_line(text: str, shown: str) -> None:
    assert clean(text) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (True, "true"),
        (500_000_000, "5e8"),
        (1_000_000, "1e6"),
        (1_234_567, "1234567"),
        (8, "8"),
        (3e-07, "3e-07"),
        (0.1 + 0.2, "0.3"),
        ("bf16", "bf16"),
        (-(10**12), "-1e12"),
    ],
)
def test_values_for_people(value: object, shown: str) -> None:
    assert describe_value(value) == shown


def test_a_value_without_end_is_cut() -> None:
    assert len(describe_value("x" * 10_000)) < 200


def test_changes_name_every_knob_and_nothing_is_the_users_own() -> None:
    assert describe_changes({"micro_batch": 8, "overlap": False}) == "micro_batch=8 overlap=false"
    assert describe_changes({}) == "your own configuration"


@pytest.mark.parametrize(
    ("rate", "shown"), [(None, "-"), (0.01234567, "0.01235"), (127.84, "127.8"), (12345.6, "12,346")]
)
def test_rates_for_people(rate: float | None, shown: str) -> None:
    assert describe_rate(rate) == shown


def test_shorten_marks_what_it_cut() -> None:
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdefg", 6) == "abcde…"
