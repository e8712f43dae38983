"""What every test gets: a state folder of its own, and honest skips."""

import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pynvml
import pytest

REQUIRE_LIVE = "FLYBALL_REQUIRE_LIVE"


def missing_gpu() -> str | None:
    """Why tests of a real GPU cannot run here, or None where they can."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return f"no GPU: {error}"
    count = pynvml.nvmlDeviceGetCount()
    pynvml.nvmlShutdown()
    return None if count else "no GPU: the driver lists none"


def pytest_configure() -> None:
    """Let no property depend on how busy the machine is; hear Ctrl-C also under ``nohup`` or behind ``&``.

    Hypothesis by itself fails an example that takes longer than 200 ms, and a strategy that draws slowly, and
    draws other examples each time. A shell's ignored signals pass to every child.
    """
    too_slow = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile(
        "suite", deadline=None, derandomize=True, suppress_health_check=too_slow
    )
    # One that is asked for is taken: --hypothesis-profile=default draws others each time.
    hypothesis.settings.load_profile("suite")
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU on a machine without one."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    reason = missing_gpu() if marked else None
    if reason:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CI says that everything must run, a skip is a failure, except for want of a GPU."""
    del call
    report = yield
    if report.skipped and os.environ.get(REQUIRE_LIVE) == "1" and not item.get_closest_marker("gpu"):
        report.outcome = "failed"
        report.longrepr = f"skipped although {REQUIRE_LIVE}=1: {report.longrepr}"
    return report


@pytest.fixture(scope="session", autouse=True)
def _own_surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's history out of the tests; let this interpreter's commands (ninja) be found first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLYBALL_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
