"""What several files of tests about policies need."""

import shutil

import pytest


@pytest.fixture(scope="session")
def promtool() -> str:
    """Prometheus' own tool; where FLYBALL_REQUIRE_LIVE=1 a machine without it fails the test."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool: install Debian's package prometheus")
    return found
