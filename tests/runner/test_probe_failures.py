import pytest

from flyball.runner.probe.failures import is_config_refusal, is_out_of_memory, place


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


def chained(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


CASES = [
    (OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
    (MemoryError(), True),
    (
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        ),
        True,
    ),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
    (chained(RuntimeError("worker failed"), MemoryError()), True),
    (RuntimeError("mat1 and mat2 must have the same dtype"), False),
    (ValueError("CUDA out of memory is a string here"), False),
]


@pytest.mark.parametrize(
    ("error", "expected"), CASES, ids=[str(error)[:40] or "MemoryError" for error, _ in CASES]
)
def test_out_of_memory_is_told_by_type_and_signature(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def raised(code: str, filename: str) -> Exception:
    """The exception of ``code`` as if it stood in ``filename``."""
    try:
        exec(compile(code, filename, "exec"), {})
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


LIBRARY = "/env/site-packages"
REFUSALS = [
    ("raise ValueError('x')", f"{LIBRARY}/deepspeed/runtime/config_utils.py", True),
    ("raise RuntimeError('x')", f"{LIBRARY}/deepspeed/runtime/config.py", True),
    ("def initialize(): assert False\ninitialize()", f"{LIBRARY}/deepspeed/__init__.py", True),
    ("raise ValueError('x')", f"{LIBRARY}/transformers/integrations/deepspeed.py", True),
    ("def initialize(): raise OSError('x')\ninitialize()", f"{LIBRARY}/deepspeed/__init__.py", False),
    ("def initialize(): raise MemoryError\ninitialize()", f"{LIBRARY}/deepspeed/__init__.py", False),
    (
        "def initialize(): assert False, 'Mismatch in local rank setting'\ninitialize()",
        f"{LIBRARY}/deepspeed/__init__.py",
        False,
    ),
    ("assert False", f"{LIBRARY}/deepspeed/runtime/engine.py", False),
    ("raise ValueError('x')", "/home/user/config.py", False),
]


@pytest.mark.parametrize(("code", "filename", "expected"), REFUSALS)
def test_a_refused_config_is_told_by_where_the_exception_comes_from(
    code: str, filename: str, expected: bool
) -> None:
    error = raised(code, filename)
    assert is_config_refusal(error) is expected
    assert place(error) == f"{filename}:1"
