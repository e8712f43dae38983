"""``flyball doctor``: each thing that can be wrong with a machine is one line with its mend."""

import json
import os
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from tests.collectors.nvml_fake import FakeGpu, FakeNvml

from flyball.agent.cli import run
from flyball.agent.doctor import config, gpu, leftovers, state, workload
from flyball.agent.doctor.base import Finding, Level, Question
from flyball.agent.doctor.checks import examine
from flyball.collectors.nvml_health import nvml_health


@pytest.fixture
def question(tmp_path: Path) -> Question:
    return Question(
        python="python3",
        config=None,
        database_url=f"sqlite:///{tmp_path}/history.db",
        state=tmp_path / "state",
        cwd=tmp_path,
        agent_port=1,
    )


def changed(question: Question, **changes: object) -> Question:
    fields = {name: getattr(question, name) for name in Question.__slots__}
    return Question(**{**fields, **changes})  # type: ignore[arg-type]


def one(findings: Iterable[Finding], name: str) -> Finding:
    found = [finding for finding in findings if finding.name == name]
    assert len(found) == 1, found
    return found[0]


def on_gpus(question: Question, nvml: FakeNvml) -> list[Finding]:
    return list(gpu.check(question, lambda: nvml_health(nvml)))


def test_gpus_in_order_are_named_with_their_driver(question: Question) -> None:
    found = on_gpus(question, FakeNvml(FakeGpu(uuid="GPU-a"), FakeGpu(uuid="GPU-b")))
    assert {finding.level for finding in found} == {Level.OK}
    assert one(found, "driver").text == "580.1: 2 NVIDIA Fake"


@pytest.mark.parametrize(
    ("fault", "name", "level", "words"),
    [
        ("no GPM", "gpm", Level.WARNING, "dcgm"),
        ("no rights", "gpm", Level.WARNING, "NVreg_RestrictProfilingToAdminUsers"),
        ("hot", "clocks", Level.WARNING, "hw_thermal_slowdown"),
        ("lost", "driver", Level.FAILING, "GPU 0 does not answer"),
        ("no driver", "driver", Level.WARNING, "no GPU can be seen"),
        ("no GPU", "driver", Level.WARNING, "lists no GPU"),
    ],
)
def test_a_fault_of_the_gpus_is_a_line_with_its_mend(
    question: Question, fault: str, name: str, level: Level, words: str
) -> None:
    card = FakeGpu(uuid="GPU-a", gpm_supported=fault != "no GPM")
    card.clock_reasons = 0x40 if fault == "hot" else 0x1
    nvml = FakeNvml(*([] if fault == "no GPU" else [card, FakeGpu(uuid="GPU-b")]))
    nvml.faults = {"no rights": {"nvmlGpmSampleGet": 4}, "no driver": {"nvmlInit": 9}}.get(fault, {})
    nvml.lost = {"GPU-a"} if fault == "lost" else set()
    found = [finding for finding in on_gpus(question, nvml) if finding.level is not Level.OK]
    assert [finding.name for finding in found] == [name]
    assert found[0].level is level
    assert words in f"{found[0].text}; {found[0].mend}"
    assert found[0].mend
    assert nvml.initialized == 0
    assert nvml.samples == 0


def test_clocks_that_somebody_chose_are_no_fault(question: Question) -> None:
    nvml = FakeNvml(FakeGpu(uuid="GPU-a", clock_reasons=0x2))
    assert one(on_gpus(question, nvml), "clocks").level is Level.OK


def interpreter(folder: Path, answer: str) -> str:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


ANSWER = {
    "python": "3.12.1",
    "ignores": False,
    "site": None,
    "deepspeed": "0.19.8",
    "ninja": True,
    "torch": "2.13.0",
    "cuda": "13.0",
    "gpus": 2,
    "nccl": "2.29.1",
}


@pytest.mark.parametrize(
    ("changes", "name", "level", "words"),
    [
        ({}, "nccl", Level.OK, "2.29.1"),
        ({}, "torch", Level.OK, "2.13.0, CUDA 13.0, 2 GPUs"),
        ({"gpus": 0}, "torch", Level.WARNING, "CUDA_VISIBLE_DEVICES"),
        ({"torch": None}, "torch", Level.FAILING, "not installed"),
        ({"torch_fault": "ImportError: libcudart"}, "torch", Level.FAILING, "libcudart"),
        ({"deepspeed": None}, "deepspeed", Level.FAILING, "pip install deepspeed"),
        ({"ninja": False}, "deepspeed", Level.WARNING, "ninja"),
        ({"ignores": True}, "python", Level.FAILING, "without -I"),
        ({"site": "/etc/python3/sitecustomize.py"}, "probe", Level.OK, "/etc/python3/sitecustomize.py"),
    ],
)
def test_the_workloads_interpreter_is_asked(
    question: Question, tmp_path: Path, changes: dict[str, object], name: str, level: Level, words: str
) -> None:
    python = interpreter(tmp_path, "a banner\n" + json.dumps({**ANSWER, **changes}))
    finding = one(workload.check(changed(question, python=python)), name)
    assert finding.level is level
    assert words in f"{finding.text}; {finding.mend}"


@pytest.mark.parametrize("answer", ["no JSON", "[]", ""])
def test_what_is_no_python_is_said_to_be_none(question: Question, tmp_path: Path, answer: str) -> None:
    found = list(workload.check(changed(question, python=interpreter(tmp_path, answer))))
    assert [finding.level for finding in found] == [Level.FAILING]
    assert "--python" in found[0].mend


def test_a_folder_in_which_others_can_replace_runs_is_failing(question: Question) -> None:
    folder = question.state / "runs"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    finding = one(state.check(question), "runs")
    assert finding.level is Level.FAILING
    assert f"chmod +t {folder}" in finding.mend
    folder.chmod(0o1777)
    assert one(state.check(question), "runs").level is Level.OK


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite:////dev/null/history.db"])
def test_a_database_that_cannot_be_is_failing(question: Question, url: str) -> None:
    finding = one(state.check(changed(question, database_url=url)), "database")
    assert finding.level is Level.FAILING
    assert finding.mend


@pytest.mark.parametrize(
    ("body", "level", "words"),
    [
        (b'{"version": "1.2"}', Level.OK, "flyball agent 1.2 answers"),
        (b"welcome", Level.FAILING, "taken by another program"),
        (b"[]", Level.FAILING, "--listen"),
    ],
)
def test_who_answers_on_the_port_is_told(question: Question, body: bytes, level: Level, words: str) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        finding = one(state.check(changed(question, agent_port=server.server_port)), "port")
        thread.join()
    assert finding.level is level
    assert words in f"{finding.text}; {finding.mend}"


def test_the_trap_of_the_communication_logger_is_found(question: Question, tmp_path: Path) -> None:
    path = tmp_path / "ds.json"
    path.write_text('{"train_batch_size": 8, "comms_logger": {"enabled": false}}', encoding="utf-8")
    finding = one(config.check(changed(question, config=path)), "config")
    assert finding.level is Level.FAILING
    assert "is on whenever the key is present" in finding.text
    assert finding.mend == "remove the section"


def test_a_lock_that_nobody_holds_is_failing(
    question: Question, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "extensions" / "deepspeed_shm_comm" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "extensions"))
    finding = one(leftovers.check(question), "build locks")
    assert finding.level is Level.FAILING
    assert finding.mend == f"rm {lock}"
    with lock.open("w") as held:
        assert one(leftovers.check(question), "build locks").level is Level.OK
        held.flush()


def test_a_check_that_breaks_is_a_line_and_the_next_is_made(question: Question) -> None:
    def broken(_: Question) -> Iterable[Finding]:
        raise OSError("no such device")

    found = list(examine(question, [broken, leftovers.check]))
    assert "could not be checked: OSError: no such device" in found[0].text
    assert len(found) > 1


def test_the_exit_status_says_whether_something_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLYBALL_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    python = interpreter(tmp_path, json.dumps(ANSWER))
    assert run(["doctor", "--python", python]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.split()[0] in {"ok", "warning"} for line in lines)
    assert len({line.split()[1] for line in lines}) >= 8
    (tmp_path / "ds.json").write_text("{", encoding="utf-8")
    assert run(["doctor", "--python", python, "--config", "ds.json", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["failing"]
    wrong = [check for check in document["checks"] if check["level"] == "failing"]
    assert [check["name"] for check in wrong] == ["config"]
    assert f"{tmp_path}{os.sep}ds.json" in wrong[0]["text"]
