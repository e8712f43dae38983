"""What NCCL's and gloo's variables may say.

The values are those of NVIDIA's page of environment variables,
https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html; gloo's are torch's
(https://docs.pytorch.org/docs/stable/distributed.html#common-environment-variables).
"""

ALGORITHM = "NCCL_ALGO"
PROTOCOL = "NCCL_PROTO"
MIN_CHANNELS = "NCCL_MIN_NCHANNELS"
THREADS = "NCCL_NTHREADS"
NCCL_INTERFACE = "NCCL_SOCKET_IFNAME"
GLOO_INTERFACE = "GLOO_SOCKET_IFNAME"
VARIABLES = (ALGORITHM, PROTOCOL, MIN_CHANNELS, THREADS, NCCL_INTERFACE, GLOO_INTERFACE)

ALGORITHMS = ("Tree", "Ring", "CollnetDirect", "CollnetChain", "NVLS", "NVLSTree", "PAT")
PROTOCOLS = ("LL", "LL128", "Simple")
FUNCTIONS = ("allreduce", "allgather", "reducescatter", "broadcast", "reduce")
THREAD_COUNTS = (64, 128, 256, 512)
MOST_CHANNELS = 64
BY_FUNCTION_SINCE = (2, 7)
"""The torch whose NCCL (2.26) takes algorithms by function, as NCCL does since 2.24."""


def list_complaint(text: str, known: tuple[str, ...]) -> str | None:
    """Return what is wrong with NCCL's list of algorithms or protocols, or None.

    ``Ring,Tree``, ``^PAT``, and by function ``Ring;allreduce:Tree``; case does not matter.
    """
    for clause in text.split(";"):
        function, colon, names = clause.rpartition(":")
        if colon and function.strip().lower() not in FUNCTIONS:
            return f"names no function of NCCL: {function!r} (known: {', '.join(FUNCTIONS)})"
        for name in names.strip().removeprefix("^").split(","):
            if name.strip().lower() not in {each.lower() for each in known}:
                return f"names {name.strip()!r}, which is none of {', '.join(known)}"
    return None


def enables_ll128(text: str) -> bool:
    """Whether a list of protocols switches LL128 on, wherever it runs: on some platforms it corrupts data."""
    clauses = (clause.rpartition(":")[2].strip() for clause in text.split(";"))
    return any(
        not names.startswith("^") and "ll128" in (name.strip().lower() for name in names.split(","))
        for names in clauses
    )


def by_function(text: str) -> bool:
    """Whether a list speaks of single functions, which NCCL before 2.24 does not understand."""
    return ":" in text or ";" in text
