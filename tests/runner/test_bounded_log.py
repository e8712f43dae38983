import os
from pathlib import Path

from flyball.runner.bounded_log import LogPump


def test_a_full_disk_costs_the_log_and_does_not_block_who_prints(tmp_path: Path) -> None:
    pump = LogPump(Path("/dev/full"), tmp_path / "stderr.log")
    stdout, stderr = pump.write_ends
    for _ in range(100):  # more than a pipe holds
        os.write(stdout, b"x" * 16384)
    os.write(stderr, b"last words")
    pump.release()
    assert pump.finish() == ["full is incomplete: No space left on device"]
    assert (tmp_path / "stderr.log").read_bytes() == b"last words"


def test_what_fits_is_kept_and_nothing_is_reported(tmp_path: Path) -> None:
    pump = LogPump(tmp_path / "stdout.log", tmp_path / "stderr.log")
    os.write(pump.write_ends[0], b"hello")
    pump.release()
    assert pump.finish() == []
    assert (tmp_path / "stdout.log").read_bytes() == b"hello"
