import pytest

from flyball.agent.durations import format_duration, parse_duration
from flyball.errors import OptionError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("1d", 86400),
        ("2h 5s", 7205),
        ("10M", 600),
    ],
)
def test_durations_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text, where="--budget") == seconds


@pytest.mark.parametrize(
    "text", ["", "10", "m", "10x", "-5m", "0s", "0h0m", "30m1h", "1h30", "nan", "1e3s", "٣m?"]
)
def test_what_is_no_duration_is_one_line_with_an_example(text: str) -> None:
    with pytest.raises(OptionError, match=r"^--budget: .*10m or 1h30m$"):
        parse_duration(text, where="--budget")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (8.4, "8s"),
        (59.6, "1m00s"),
        (247, "4m07s"),
        (3720, "1h02m"),
        (273_600, "3d04h"),
        (-3, "0s"),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
