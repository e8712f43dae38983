"""What the process holds in memory, and need not."""

import contextlib
import ctypes
import gc
import os


def without_idle_threads() -> None:
    """Keep numpy's linear algebra, which nothing here uses, from starting a thread for each core.

    It must be called before numpy is imported; what the environment says stands.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def give_back() -> None:
    """Give back what the start has left over: of modules that had to be compiled, some megabytes.

    What is there now is there to stay, so it is not looked through for garbage again.
    """
    gc.collect()
    gc.freeze()
    with contextlib.suppress(AttributeError):  # the C library is another than glibc
        ctypes.CDLL(None).malloc_trim(0)
