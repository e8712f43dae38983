"""A journal read while it is written, rotated, cut and replaced; and journals with every fault we know of."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.collectors.journal_fakes import Host, header, line, step, steps

from flyball.collectors.journal import RankJournal, Record
from flyball.collectors.journal_file import JournalRefused, open_folder
from flyball.collectors.journal_follow import CHUNK_BYTES, JournalFollower, Position, read_position
from flyball.collectors.run_state import RankState
from flyball.collectors.run_state_document import document_of, restore

DATA = Path(__file__).parent / "data"
NAME = "rank-0.jsonl"


class Reader:
    """A follower of one file, and the steps that it handed out."""

    def __init__(self, folder: Path, position: Position | None = None) -> None:
        self.folder = open_folder(folder)
        self.follower = JournalFollower(self.folder, NAME, position=position)
        self.records: list[Record] = []

    def read(self, **options: Any) -> list[Any]:
        before = len(self.records)
        self.follower.read(self._take, **options)
        return [record.get("step") for record in self.records[before:]]

    def _take(self, record: Record) -> bool:
        self.records.append(record)
        return True

    def close(self) -> None:
        self.follower.close()
        os.close(self.folder)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    reader.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / NAME


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_each_line_is_handed_out_once(reader: Reader, path: Path) -> None:
    assert reader.read() == []
    append(path, steps([1, 2]))
    assert reader.read() == [1, 2]
    assert reader.read() == []
    append(path, step(3)[:20])
    assert reader.read() == []
    append(path, step(3)[20:] + step(4))
    assert reader.read() == [3, 4]
    assert reader.follower.torn_lines == 0


def test_a_call_reads_no_more_than_its_limit_and_the_next_goes_on(reader: Reader, path: Path) -> None:
    many = 2 * CHUNK_BYTES // len(step(1)) + 1000
    append(path, step(1) * many)
    first = len(reader.read(limit_bytes=1))
    assert 0 < first * len(step(1)) <= CHUNK_BYTES
    assert not reader.follower.caught_up
    assert first + len(reader.read()) == many
    assert reader.follower.caught_up


def test_a_line_that_is_too_long_is_passed_over_and_counted_once(reader: Reader, path: Path) -> None:
    append(path, step(1) + b'{"kind":"step","junk":"' + b"x" * (3 * CHUNK_BYTES))
    assert reader.read(limit_bytes=CHUNK_BYTES) == [1]
    assert reader.read() == []
    resumed = reader.follower.position()
    append(path, b'"}\n' + step(2))
    assert reader.read() == [2]
    assert reader.follower.torn_lines == 1
    later = Reader(path.parent, resumed)
    assert later.read() == [2]
    later.close()


def test_a_file_that_was_emptied_is_read_from_its_begin(reader: Reader, path: Path) -> None:
    append(path, steps([1, 2]))
    reader.read()
    path.write_bytes(step(3))
    assert reader.read() == [3]
    path.write_bytes(b"")
    assert reader.read() == []
    append(path, step(4))
    assert reader.read() == [4]


def test_a_file_rewritten_longer_than_it_was_is_read_from_its_begin(reader: Reader, path: Path) -> None:
    append(path, steps([1, 2]))
    reader.read()
    path.write_bytes(steps([3, 4, 5]))
    assert reader.read() == [3, 4, 5]
    assert reader.follower.restarts == 1


def test_of_a_file_that_lost_its_end_nothing_is_counted_twice(reader: Reader, path: Path) -> None:
    append(path, steps([1, 2, 3]))
    reader.read()
    os.truncate(path, len(step(1, 0.25)) + len(step(2, 0.5)))
    assert reader.read() == []
    append(path, step(4))
    assert reader.read() == [4]


def test_a_file_that_was_replaced_is_read_from_its_begin(reader: Reader, path: Path) -> None:
    append(path, steps([1, 2]))
    reader.read()
    beside = path.with_name("beside")
    beside.write_bytes(steps([7, 8, 9]))
    beside.replace(path)
    assert reader.read() == [7, 8, 9]


def test_a_rotated_file_is_read_to_its_end_before_the_new_one(reader: Reader, path: Path) -> None:
    append(path, step(1))
    assert reader.read() == [1]
    append(path, step(2))
    path.rename(path.with_name(f"{NAME}.1"))
    assert reader.read() == [2]
    append(path.with_name(f"{NAME}.1"), step(3))
    append(path, step(4))
    assert reader.read() == [3, 4]


def test_a_torn_end_of_a_rotated_file_is_counted(reader: Reader, path: Path) -> None:
    append(path, step(1) + step(2)[:30])
    reader.read()
    path.rename(path.with_name(f"{NAME}.1"))
    append(path, step(3))
    assert reader.read() == [3]
    assert reader.follower.torn_lines == 1


def test_a_journal_that_became_a_link_is_refused_and_what_was_read_stays(reader: Reader, path: Path) -> None:
    append(path, step(1))
    reader.read()
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(JournalRefused) as caught:
        reader.read()
    assert caught.value.reason == "journal_is_a_link"
    path.unlink()
    append(path, step(2))
    assert reader.read() == [2]


@pytest.mark.parametrize(
    "change",
    [
        {"inode": 1},
        {"offset": 10**9},
        {"fingerprint": "20:0000000000000000"},
        {"fingerprint": "x"},
        {"fingerprint": "999999999:00"},
    ],
    ids=str,
)
def test_a_position_of_another_file_is_not_taken_up(path: Path, change: dict[str, Any]) -> None:
    append(path, steps([1, 2]))
    first = Reader(path.parent)
    first.read()
    position = first.follower.position()
    first.close()
    assert position is not None
    second = Reader(path.parent, read_position({**position.document(), **change}))
    assert second.read() == [1, 2]
    second.close()


@pytest.mark.parametrize("document", [None, [], {}, {"device": 1}, {"offset": -1}])
def test_what_is_no_position_is_none(document: object) -> None:
    assert read_position(document) is None


# Any bytes at all

LINES = st.lists(
    st.one_of(
        st.integers(1, 99).map(step),
        st.just(b'{"kind": 1}\n'),
        st.just(b"[" * 50_000 + b"\n"),
        st.binary(max_size=40).map(lambda data: data + b"\n"),
    ),
    max_size=12,
).map(b"".join)


@given(data=LINES, cuts=st.lists(st.integers(0, 2000), max_size=8))
def test_however_the_bytes_arrive_the_records_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("job")
    (folder / NAME).write_bytes(data)
    whole = Reader(folder)
    whole.read()
    (folder / NAME).write_bytes(b"")
    (folder / NAME).unlink()
    parts, begun = Reader(folder), 0
    for cut in [*sorted(cuts), len(data)]:
        append(folder / NAME, data[begun : max(begun, cut)])
        begun = max(begun, cut)
        parts.read()
        # A restart at any point changes nothing either.
        position = parts.follower.position()
        records, torn = parts.records, parts.follower.torn_lines
        parts.close()
        parts = Reader(folder, position)
        parts.records, parts.follower.torn_lines = records, torn
    parts.read()
    assert parts.records == whole.records
    assert parts.follower.torn_lines == whole.follower.torn_lines
    whole.close()
    parts.close()


@given(
    data=LINES,
    sizes=st.lists(st.integers(0, 3000), max_size=6),
    more=st.lists(st.binary(max_size=60), max_size=6),
)
def test_no_truncation_and_no_bytes_raise(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, sizes: list[int], more: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("job")
    append(folder / NAME, header() + data)
    state = RankState(run="job", rank=0, folder=folder)
    descriptor = open_folder(folder)
    follower = JournalFollower(descriptor, NAME)
    for size, appended in zip(sizes, [*more, *[b""] * len(sizes)], strict=False):
        follower.read(state.feed)
        os.truncate(folder / NAME, size)
        append(folder / NAME, appended)
    append(folder / NAME, b"\n")
    follower.read(state.feed)
    before = state.samples
    append(folder / NAME, step(5, samples=3))
    follower.read(state.feed)
    assert state.samples in (before + 3, before)
    assert state.samples == before + 3 or state.engine != 0
    follower.close()
    os.close(descriptor)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
FIELDS = (
    "time", "clock", "engine", "step", "count", "seconds", "samples", "tokens", "skipped", "loss", "memory",
    "communicated", "grad_norm", "schema", "pid", "started", "world_size", "device", "gpu_uuid", "host",
    "purpose", "phase", "edge", "op", "reason", "bounds", "collectives", "p2p", "operations", "config",
    "loss_scale", "queue_length", "running", "command", "launcher", "working_directory",
)  # fmt: skip


@given(
    kind=st.sampled_from(
        ["header", "step", "pause", "communication", "pending", "queue", "probe_off", "end", "x"]
    ),
    name=st.sampled_from(FIELDS),
    value=JSON,
)
def test_a_field_of_any_type_raises_nothing_and_leaves_the_state_restorable(
    kind: str, name: str, value: Any
) -> None:
    good = {
        "kind": kind, "time": 1.0, "clock": 1.0, "schema": 1, "pid": 1, "started": 0.0, "step": 1,
        "seconds": 0.1, "phase": "evaluating", "edge": "begin", "op": "send",
        "queue_length": 1, "command": ["train"],
    }  # fmt: skip
    state = RankState(run="job", rank=0, folder=Path())
    before = document_of(state)
    if not state.feed({**good, name: value}):
        assert repr(document_of(state)) == repr(before)
    twin = RankState(run="job", rank=0, folder=Path())
    restore(twin, document_of(state))
    assert repr(document_of(twin)) == repr(document_of(state))


# Files named after their fault


@pytest.mark.parametrize(
    ("name", "samples", "torn"),
    [
        ("whole.jsonl", 12, 0),
        ("torn_last_line.jsonl", 8, 0),
        ("torn_line_then_mended.jsonl", 12, 1),
        ("garbage_bytes.jsonl", 12, 3),
        ("future_schema.jsonl", 12, 0),
        ("unknown_kinds_and_fields.jsonl", 12, 0),
        ("wall_clock_jumps.jsonl", 12, 0),
        ("wrong_types.jsonl", 12, 11),
        ("deep_nesting.jsonl", 12, 1),
        ("negative_and_endless_numbers.jsonl", 12, 6),
        ("no_header.jsonl", None, None),
        ("empty.jsonl", None, None),
    ],
)
def test_a_faulty_journal_gives_what_is_whole_in_it(
    tmp_path: Path, name: str, samples: int | None, torn: int | None
) -> None:
    host = Host(tmp_path)
    host.write((DATA / name).read_bytes())
    ranks = host.runs().refresh(0)
    if samples is None:
        assert ranks == ()
        return
    (state,) = ranks
    assert (state.samples, state.torn_lines) == (samples, torn)
    assert all(seconds >= 0 for seconds in state.recent_step_seconds)
    assert state.step_seconds.sum == pytest.approx(0.25 * samples / 4)


def test_every_faulty_file_is_tried() -> None:
    tried = next(
        mark.args[1]
        for mark in test_a_faulty_journal_gives_what_is_whole_in_it.pytestmark  # type: ignore[attr-defined]
    )
    assert {name for name, _, _ in tried} == {path.name for path in DATA.glob("*.jsonl")}


def test_the_runners_reader_skips_the_same_lines(tmp_path: Path) -> None:
    for file in ("garbage_bytes.jsonl", "deep_nesting.jsonl"):
        journal = RankJournal(path=DATA / file)
        journal.refresh()
        assert len(journal.steps()) == 3
        assert journal.torn_lines > 0


def test_a_hostile_journal_cannot_make_the_state_grow(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.write(header())
    entry = {"size_class": "8KiB", "source": "timed", "counts": [1], "sum": 0.1}
    for number in range(100):
        many = range(number * 60, number * 60 + 60)
        host.write(step(number + 1, communicated={f"op{one}": 1 for one in many}))
        host.write(
            line(
                "communication",
                bounds=[],
                p2p=[{"src": one, "dst": 0, **entry} for one in many],
                collectives=[{"op": f"op{one}", **entry} for one in many],
                operations={f"op{one}": 1 for one in many},
            )
        )
        host.write(line("pending", op=f"op{number}", seconds=1.0, edge="begin"))
        host.write(line("pause", phase="evaluating", edge="begin", engine=number))
    (state,) = host.runs().refresh(0)
    sizes = [len(state.communicated), len(state.operations), len(state.collectives), len(state.p2p)]
    assert sizes == [64, 64, 512, 4096]
    assert len(state.pending) <= 16
    assert len(state.pauses) <= 8
    assert state.reason == "journal_too_many_names"
