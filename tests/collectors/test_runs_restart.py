"""Runs taken up again where the agent left off."""

from pathlib import Path
from typing import Any

import pytest
from tests.collectors.journal_fakes import Host, header, only, step, steps

from flyball.collectors.run_state import RankState
from flyball.collectors.run_state_document import document_of
from flyball.collectors.runs import Runs


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def same(state: RankState) -> dict[str, Any]:
    return document_of(state)


def test_a_restart_goes_on_where_the_positions_were_saved_and_counts_nothing_twice(host: Host) -> None:
    host.write(header() + steps(range(1, 11)))
    first = host.runs()
    only(first)
    first.save()
    host.write(steps(range(11, 21)))
    # What was read after the save dies with the process.
    assert only(first).samples == 80
    second = host.runs()
    assert only(second).samples == 80
    assert only(second).step_seconds.distribution().count == 20
    whole = only(Runs([host.root], clock=host.clock, host="here", started=host.processes))
    assert same(only(second)) == same(whole)


def test_a_restart_in_the_middle_of_a_line_loses_nothing(host: Host) -> None:
    host.write(header() + step(1) + step(2)[:40])
    first = host.runs()
    only(first)
    first.save()
    host.write(step(2)[40:] + step(3))
    state = only(host.runs())
    assert (state.samples, state.torn_lines) == (12, 0)


def test_a_restart_finds_a_journal_that_was_rotated_meanwhile(host: Host) -> None:
    path = host.write(header() + step(1))
    first = host.runs()
    only(first)
    first.save()
    first.close()
    host.write(step(2))
    path.rename(path.with_name("rank-0.jsonl.1"))
    host.write(step(3))
    assert only(host.runs()).samples == 12


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"null", b'{"schema":99,"ranks":[]}', b'{"schema":1,"ranks":[{"folder":1}]}', b"\xff\xfe"],
)
def test_positions_that_cannot_be_read_mean_reading_anew(host: Host, damage: bytes) -> None:
    host.write(header() + step(1))
    host.positions.write_bytes(damage)
    assert only(host.runs()).samples == 4


def test_a_tally_that_was_damaged_means_reading_its_journal_anew(host: Host) -> None:
    host.write(header() + step(1))
    first = host.runs()
    only(first)
    first.save()
    host.positions.write_text(host.positions.read_text().replace('"samples":4', '"samples":"4"'))
    assert only(host.runs()).samples == 4


def test_a_journal_of_the_same_name_in_a_new_folder_is_read_from_its_begin(host: Host) -> None:
    path = host.write(header() + steps(range(1, 4)))
    first = host.runs()
    only(first)
    first.save()
    path.rename(path.with_name("kept"))
    host.write(header(at=1.0) + step(1))
    assert only(host.runs()).step == 1


def test_a_position_of_a_root_that_is_not_there_is_kept(host: Host, tmp_path: Path) -> None:
    host.write(header() + step(1))
    first = host.runs()
    only(first)
    first.save()
    host.root.rename(tmp_path / "elsewhere")
    without = host.runs()
    assert without.refresh(0) == ()
    without.save()
    (tmp_path / "elsewhere").rename(host.root)
    again = host.runs()
    host.write(step(2))
    assert only(again).samples == 8


# Faults
