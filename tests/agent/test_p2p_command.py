"""``flyball p2p``: what it refuses before it starts, and the matrix that it prints."""

from itertools import permutations

import pytest

from flyball.agent.cli import run
from flyball.agent.p2p_command import local_ranks, parse_sizes
from flyball.agent.p2p_display import render
from flyball.agent.wiring import Wiring
from flyball.errors import OptionError
from flyball.runner.p2p.links import Link, Links


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("8", (8,)),
        ("1MiB,8,64KiB", (8, 65536, 1 << 20)),
        ("64k, 64KiB", (65536,)),
        ("4GiB", (4 << 30,)),
        ("1b", (1,)),
    ],
)
def test_sizes_are_bytes_and_powers_of_two(text: str, sizes: tuple[int, ...]) -> None:
    assert parse_sizes(text) == sizes


@pytest.mark.parametrize("text", ["", "0", "8,", "3x", "1.5MiB", "-8", "5GiB", "9" * 20, "1MB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="is not a size of a message"):
        parse_sizes(text)


def test_too_many_sizes_are_refused() -> None:
    with pytest.raises(OptionError, match="17 sizes"):
        parse_sizes(",".join(map(str, range(1, 18))))


@pytest.mark.parametrize(
    ("ranks", "backend", "gpus", "expected"),
    [
        (None, "auto", 0, (2, "gloo")),
        (None, "auto", 1, (2, "gloo")),
        (None, "auto", 4, (4, "auto")),
        (2, "auto", 4, (2, "auto")),
        (4, "auto", 2, (4, "gloo")),
        (None, "gloo", 4, (2, "gloo")),
        (None, "nccl", 2, (2, "nccl")),
    ],
)
def test_ranks_on_this_host_follow_its_gpus(
    ranks: int | None, backend: str, gpus: int, expected: tuple[int, str]
) -> None:
    assert local_ranks(ranks, backend, Wiring(count_gpus=lambda: gpus)) == expected


@pytest.mark.parametrize(
    ("ranks", "gpus", "what"),
    [(None, 0, "there is no GPU"), (None, 1, "there is 1 GPU for 2 ranks"), (3, 2, "2 GPUs for 3 ranks")],
)
def test_nccl_with_too_few_gpus_is_refused(ranks: int | None, gpus: int, what: str) -> None:
    with pytest.raises(OptionError, match=f"{what}; NCCL refuses two ranks on one GPU"):
        local_ranks(ranks, "nccl", Wiring(count_gpus=lambda: gpus))


def test_what_is_measured_instead_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    local_ranks(None, "auto", Wiring(count_gpus=lambda: 1))
    assert "no link between GPUs is measured" in capsys.readouterr().err


BAD = [
    (["--sizes", "lots"], "--sizes: 'lots' is not a size"),
    (["--backend", "mpi"], "--backend: 'mpi' is no backend; write one of auto, nccl, gloo"),
    (["--ranks", "1"], "--ranks: "),
    (["--timeout", "5"], "--timeout: '5' is not a duration"),
    (["torchrun"], "torchrun: p2p takes options only"),
    (["--"], "there is no launcher behind the --"),
    (["--", "no-such-launcher"], "there is no program named no-such-launcher"),
    (["--ranks", "2", "--", "torchrun"], "--ranks: the launcher behind -- decides"),
]


@pytest.mark.parametrize(("arguments", "text"), BAD)
def test_bad_input_is_one_line(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["p2p", *arguments], wiring=Wiring(count_gpus=lambda: 0)) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"error: {text}")
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def links(ranks: int, *, seconds: float, slow: dict[tuple[int, int], float]) -> Links:
    found = []
    for size in (8, 16 << 20):
        for pair in permutations(range(ranks), 2):
            one = slow.get(pair, seconds) if size > 8 else seconds
            times = {"p10_seconds": one, "p50_seconds": one, "p99_seconds": 2 * one}
            link = Link(
                src=pair[0], dst=pair[1], size_bytes=size, rounds=9, counts=(9,), sum=9 * one, **times
            )
            found.append(link)
    return Links(
        started=0.0, backend="gloo", torch="2.13.0", concurrent=False, sizes=(8, 16 << 20),
        hosts=tuple(f"host-{rank % 2}" for rank in range(ranks)), devices=("cpu",) * ranks,
        links=tuple(found),
    )  # fmt: skip


@pytest.mark.parametrize("seconds", [1.2345e-6, 123.45e-6, 12.345e-3, 1.2345, 123.45])
@pytest.mark.parametrize("ranks", [2, 8, 9, 64])
def test_the_report_fits_80_columns(ranks: int, seconds: float) -> None:
    text = render(links(ranks, seconds=seconds, slow={(0, 1): 3 * seconds + 1e-3}))
    assert max(map(len, text.splitlines())) <= 80
    assert text.endswith("\n")


def test_the_slow_link_is_marked_where_it_is_slow_and_named_by_its_hosts() -> None:
    text = render(links(3, seconds=1e-3, slow={(0, 1): 0.5}))
    small, large = text.split("16 MiB, one way")
    assert "*" not in small
    assert large.count("500000*") + large.count("500k*") == 1
    assert "0 (host-0) to 1 (host-1) at 16 MiB: 500.0 times" in text
    assert "MB/s" not in small.split("8 B, one way")[1]
    assert "host-0: ranks 0, 2 (cpu)" in text


def test_without_a_slow_link_it_says_so() -> None:
    assert "no link is slow beside the others" in render(links(2, seconds=1e-3, slow={}))
