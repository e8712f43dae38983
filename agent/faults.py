"""How a fault is told on a terminal: one line each, without what is secret; a traceback only with --debug."""

import traceback
from typing import TextIO

from flyball.agent.redact import redact_urls
from flyball.agent.text import clean
from flyball.errors import FlyballError, PolicyError

OWN_FAULT_STATUS = 1


def tell_fault(error: FlyballError, out: TextIO, *, debug: bool) -> int:
    """Tell what the user can mend; return the exit status."""
    if debug:
        traceback.print_exception(error, file=out)
    faults = error.faults if isinstance(error, PolicyError) else (error,)
    for fault in faults:
        out.write(f"error: {redact_urls(clean(str(fault)))}\n")
    return error.exit_status


def tell_unexpected(error: Exception, out: TextIO, *, debug: bool) -> int:
    """Tell a fault of flyball's own; return the exit status."""
    if debug:
        traceback.print_exception(error, file=out)
    else:
        text = redact_urls(clean(f"{type(error).__name__}: {error}"))
        out.write(f"internal error: {text}; run again with --debug\n")
    return OWN_FAULT_STATUS
