"""What some of the receivers' tests need."""

import warnings

import pytest
from apprise import Apprise


@pytest.fixture(scope="session")
def apprise_loaded() -> None:
    """Let Apprise load all its plugins once: it takes a second and imports what is deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert Apprise().add("json://localhost")
