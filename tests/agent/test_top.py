"""``flyball top --once``: what it prints, in 80 columns and others, and as JSON."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from rich.cells import cell_len
from tests.agent.fakes import HOSTILE
from tests.agent.top_fakes import FakeGpu, Machine, cells, header, line, links, step, steps

import flyball.agent.top.once
from flyball.collectors.runs import Runs
from flyball.collectors.unprobed import Unprobed

HEAVY = (
    "torch",
    "deepspeed",
    "transformers",
    "optuna",
    "sqlalchemy",
    "alembic",
    "scipy",
    "starlette",
    "uvicorn",
)


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("platform.node", lambda: "node-7")


def four_gpus() -> list[FakeGpu]:
    return [FakeGpu(uuid=f"GPU-{index}", used=(60 + index) << 30) for index in range(4)]


def test_a_page_of_eighty_columns(tmp_path: Path) -> None:
    machine = Machine(tmp_path, *four_gpus())
    machine.nvml.gpus[1].clock_reasons = 0x4
    machine.write_run("nightly", 0.25, 0.25, 0.4, 0.25, world_size=8, data_parallel_size=8)
    machine.host.write(links(3.0, (0, 1), (1, 0)), run="nightly")
    machine.host.clock.advance(3)
    page = machine.page()
    assert cells(page[0])[:2] == ["node-7", "driver 580.1"]
    assert cells(page[0])[3:] == ["cpu 25%", "memory 12.0/64.0 GiB", "load 3.20"]
    assert page[1:] == [
        "",
        "gpu   SM  busy  tensor    mem GiB  power  temp   MHz  throttled by",
        "  0  90%  100%     80%  60.0/80.0  350 W  60 C  1980  nothing",
        "  1  90%  100%     80%  61.0/80.0  350 W  60 C  1980  sw_power_cap",
        "  2  90%  100%     80%  62.0/80.0  350 W  60 C  1980  nothing",
        "  3  90%  100%     80%  63.0/80.0  350 W  60 C  1980  nothing",
        "",
        "nightly  stepping for 4s  step 8  world 8, 4 here  checkpoint none",
        "  2.5 steps/s  80 samples/s  1280 tokens/s  loss 0.125",
        "  rank  gpu  phase     step s  straggler  reserved  frag  p2p p50",
        "     0    0  stepping   0.250       1.00  41.0 GiB   25%  in_band 35us",
        "     1    1  stepping   0.250       1.00  41.0 GiB   25%  in_band 35us",
        "     2    2  stepping   0.400       1.60  41.0 GiB   25%  -",
        "     3    3  stepping   0.250       1.00  41.0 GiB   25%  -",
        "",
        "- p2p of nightly: p2p not measured; start the run with `flyball run",
        "  --ping-every-steps 100`",
    ]


def test_a_wide_page_has_the_links_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "130")
    page = Machine(tmp_path, FakeGpu(uuid="GPU-0")).page()
    assert cells(page[2])[-3:] == ["PCIe MB/s in/out", "NVLink MB/s in/out", "throttled by"]
    assert cells(page[3])[-3:] == ["210/105", "0/0", "nothing"]


def test_a_machine_without_a_gpu_says_why_in_one_sentence(tmp_path: Path) -> None:
    page = "\n".join(Machine(tmp_path).page())
    assert page.count("no GPU") == 1
    assert "no GPU: library not found: NVML Shared Library Not Found; install NVIDIA's\ndriver;" in page
    assert "no run: one shows once it has its engine; start it with `flyball run -- ...`" in page
    assert "driver 5" not in page


def test_a_rank_on_the_cpu_has_no_allocator_and_no_zero(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.write_run("job", 0.25, 0.25)
    page = machine.page()
    assert cells(page[8]) == ["0", "-", "stepping", "0.250", "1.00", "-", "-", "-"]
    assert "- reserved, frag of job: no cuda allocator: the rank trains on the CPU" in "\n".join(page)


def test_the_gpu_of_before_hopper_keeps_what_it_knows(tmp_path: Path) -> None:
    machine = Machine(tmp_path, *four_gpus())
    machine.nvml.gpus[2].gpm_supported = False
    page = machine.page()
    assert cells(page[5])[:4] == ["2", "-", "100%", "-"]
    text = " ".join("\n".join(page).split())
    assert text.count("gpm not supported") == 1
    assert "- SM, tensor, PCIe, NVLink of GPU 2: gpm not supported: GPM needs a Hopper GPU or a later" in text
    assert "read busy instead: it says whether any kernel ran" in text


def test_errors_of_a_gpu_stand_beneath_only_where_there_are_any(tmp_path: Path) -> None:
    machine = Machine(tmp_path, *four_gpus())
    assert not [each for each in machine.page() if each.startswith("!")]
    machine.nvml.gpus[3].ecc[1] = 2
    machine.nvml.events += [(machine.nvml.gpus[3], 79)] * 2
    assert "! GPU 3: XID 79 2x, 2 uncorrected ECC errors" in machine.page()


def test_a_lost_gpu_is_a_row_of_dashes_with_its_reason(tmp_path: Path) -> None:
    machine = Machine(tmp_path, *four_gpus())
    machine.nvml.lost.add("GPU-1")
    page = machine.page()
    row = page[4]
    assert set(cells(row)[1:]) == {"-"}
    assert any("gpu lost" in each for each in page)


def test_with_many_ranks_the_worst_are_shown_and_the_others_counted(tmp_path: Path) -> None:
    machine = Machine(tmp_path, *four_gpus())
    machine.write_run("job", *(0.2 if rank != 41 else 0.5 for rank in range(64)))
    machine.host.write(line("pause", 4.0, phase="checkpointing", edge="begin", engine=0), run="job", rank=50)
    page = machine.page()
    first = page.index(next(each for each in page if "straggler  reserved" in each)) + 1
    assert [cells(row)[0] for row in page[first : first + 8]] == ["50", "41", "0", "1", "2", "3", "4", "5"]
    assert page[first + 8] == "  ... and 56 more, straggler 1.00 to 1.00"
    status, out, _ = machine.top("--once", "--json")
    assert status == 0
    assert [rank["rank"] for rank in json.loads(out)["runs"][0]["ranks"]] == list(range(64))


@pytest.mark.parametrize(
    ("records", "first_line"),
    [
        (b"", "job  starting for 2s  step 0  world 1  checkpoint none"),
        (step(1, 1.0), "job  stepping for 1s  step 1  world 1  checkpoint none"),
        (
            steps(range(1, 5)) + line("pause", 1.0, phase="checkpointing", edge="begin", engine=0),
            "job  checkpointing for 1s  step 4  world 1  checkpoint none",
        ),
        (
            steps(range(1, 5)) + line("pause", 1.0, phase="checkpointing", edge="begin", engine=0)
            + line("pause", 1.5, phase="checkpointing", edge="end", engine=0, seconds=0.5),
            "job  stepping for 0s  step 4  world 1  checkpoint at 4",
        ),
        (
            step(1) + line("exception", 1.0, type="ValueError") + line("end", 1.0, steps=1, reason="exit"),
            "job  finished (exception) 2s ago  step 1  world 1  checkpoint none",
        ),
    ],
)  # fmt: skip
def test_the_first_line_of_a_run_says_what_it_does(tmp_path: Path, records: bytes, first_line: str) -> None:
    machine = Machine(tmp_path)
    machine.host.write(header(world_size=1) + records, run="job")
    machine.host.clock.advance(1)
    assert first_line in machine.page()


def test_a_run_that_ended_over_a_minute_ago_is_gone(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.host.write(header(world_size=1) + step(1) + line("end", 1.0, steps=1, reason="exit"), run="job")
    assert any(each.startswith("job  finished (exit)") for each in machine.page())
    machine.host.clock.advance(70)
    assert not any(each.startswith("job") for each in machine.page())


def test_a_run_that_steps_no_more_has_no_rates(tmp_path: Path) -> None:
    machine = Machine(tmp_path, *four_gpus())
    machine.write_run("job", 0.25, 0.25)
    machine.host.clock.advance(60)
    page = machine.page()
    assert "  - steps/s  - samples/s  - tokens/s  loss 0.125" in page
    assert "- rates of job: no recent step: rank 0 made its last step 59 s ago; `flyball" in page


def test_loss_that_is_no_number_is_shown_as_it_is(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.host.write(header(world_size=1) + step(1, loss=float("nan")), run="job")
    assert any(each.endswith("loss nan") for each in machine.page())
    assert json.loads(machine.top("--once", "--json")[1])["runs"][0]["loss"] == "nan"


def test_stages_of_a_pipeline_count_their_batch_once(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for rank in range(4):
        fed = {"samples": 4, "tokens": 64} if rank % 2 == 0 else {"samples": 0, "tokens": 0}
        head = header(rank=rank, world_size=4, data_parallel_size=2)
        machine.host.write(head + steps(range(1, 5), **fed), run="job", rank=rank)
    assert "  4 steps/s  32 samples/s  512 tokens/s  loss 0.25" in machine.page()


def test_trials_are_not_shown(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.host.write(header(purpose="trial") + step(1), run="trial")
    assert any(each.startswith("no run") for each in machine.page())


def test_processes_without_the_probe_are_named_with_the_mend(tmp_path: Path) -> None:
    machine = Machine(tmp_path, *four_gpus())
    machine.unprobed = [Unprobed(pid=50 + number, rank=str(number), gpu=str(number)) for number in range(6)]
    text = " ".join(" ".join(machine.page()).split())
    assert "! not probed: pid 50 rank 0 on GPU 0, pid 51 rank 1 on GPU 1," in text
    assert "pid 53 rank 3 on GPU 3 and 2 more; start it under `flyball run --`," in text
    assert "`flyball probe install DIR`" in text


def test_a_driver_that_hangs_hides_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flyball.agent.top.once, "ANSWER_SECONDS", 0.05)
    machine = Machine(tmp_path, *four_gpus())
    machine.write_run("job", 0.25, 0.25)
    let_go = threading.Event()
    machine.nvml.nvmlInit = let_go.wait  # type: ignore[method-assign, assignment]
    try:
        status, out, _ = machine.top("--once", "--interval", "5s")
    finally:
        let_go.set()
    assert status == 0
    assert "no GPU: no answer: for 5 s; it hangs or is very slow;" in out
    assert "job  stepping" in out


def test_journals_that_hang_are_not_taken_for_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flyball.agent.top.once, "ANSWER_SECONDS", 0.05)
    let_go = threading.Event()
    monkeypatch.setattr(Runs, "refresh", lambda self, max_age_seconds=0.5: let_go.wait())
    machine = Machine(tmp_path, *four_gpus())
    try:
        out = machine.top("--once", "--interval", "5s")[1]
    finally:
        let_go.set()
    assert "no run:" not in out
    assert "workload, allocator, nccl, host, runs: no answer: for 5 s; it hangs or" in " ".join(out.split())
    assert "1980  nothing" in out


def test_a_journal_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    (machine.host.root / "linked").symlink_to(tmp_path)
    text = " ".join(" ".join(machine.page()).split())
    assert "some journals: run folder is a link: linked: " in text
    assert "links are not followed: move the folder there" in text


@pytest.mark.parametrize("width", [20, 40, 60, 79, 80, 120, 200])
def test_no_text_of_a_journal_breaks_the_page(
    tmp_path: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    machine = Machine(tmp_path, *four_gpus())
    names = [HOSTILE.replace("\n", "").replace("/", ""), "a" * 200, "模型" * 20]
    for name in names:
        machine.write_run(name, *(0.2 for _ in range(30)), world_size=300)
    machine.unprobed = [Unprobed(pid=5, rank=HOSTILE, gpu=HOSTILE)]
    page = machine.page()
    assert max(cell_len(each) for each in page) <= width
    assert not any(ord(character) < 32 or character in "\x7f\u202e" for character in "".join(page))


def test_json_has_everything_and_null_for_what_is_not_known(tmp_path: Path) -> None:
    machine = Machine(tmp_path, *four_gpus())
    machine.nvml.gpus[2].gpm_supported = False
    machine.write_run("job", 0.25, 0.25)
    status, out, err = machine.top("--once", "--json")
    found = json.loads(out)
    assert (status, err, found["schema"]) == (0, "", 1)
    assert [gpu["sm_utilization_ratio"] for gpu in found["gpus"]] == [0.9, 0.9, None, 0.9]
    assert found["gpus"][0]["throttled"] == []
    assert found["host"]["cpu_ratio"] == pytest.approx(0.25)
    assert found["runs"][0]["ranks"][0]["reserved_bytes"] == 41 << 30
    assert {each["reason"] for each in found["missing"]} == {"gpm_not_supported", "p2p_not_measured"}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--json",), "error: --json: a live view is no JSON; add --once\n"),
        (("--interval", "2"), "error: --interval: '2' is not a duration; write a number with its unit"),
        (
            ("--interval", "0.1s"),
            "error: --interval: '0.1s' is shorter than a reading; write at least 0.5s\n",
        ),
        (("--runs", "/nowhere"), "error: --runs: /nowhere is no folder; name the folder of a job's runs\n"),
    ],
)
def test_bad_options_are_one_line(tmp_path: Path, options: tuple[str, ...], error: str) -> None:
    status, out, err = Machine(tmp_path).top(*options, runs=False)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(error)


def test_in_a_pipe_one_view_is_printed_as_with_once(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.write_run("job", 0.25, 0.25)
    status, out, _ = machine.top()
    assert status == 0
    assert out.count("job  stepping") == 1
    assert "\x1b" not in out


def test_it_loads_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from tests.agent.top_fakes import Machine\n"
        "from pathlib import Path\n"
        f"machine = Machine(Path({str(tmp_path)!r}))\n"
        "assert machine.top('--once')[0] == 0\n"
        f"loaded = [name for name in {HEAVY} if name in sys.modules]\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert (done.returncode, done.stderr) == (0, "")
