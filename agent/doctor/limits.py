"""Limits that the shell sets."""

import resource
from collections.abc import Iterable

from flyball.agent.doctor.base import Finding, Question, ok, warning

FEWEST_FILES = 4096
"""DataLoader workers and a rank's connections each hold some open."""


def check(question: Question) -> Iterable[Finding]:
    """Open files."""
    del question
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = soft == resource.RLIM_INFINITY
    if unlimited or soft >= FEWEST_FILES:
        yield ok("open files", "no limit" if unlimited else f"at most {soft}")
        return
    most = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    mend = f"ulimit -n {most}" if most > soft else "let the administrator raise the hard limit"
    yield warning("open files", f"at most {soft}: workers and connections may run out of them", mend)
