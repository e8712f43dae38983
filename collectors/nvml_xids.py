"""XID codes that policies wait for (https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html)."""

HARDWARE = ("46", "48", "54", "62", "63", "64", "74", "79", "94", "95", "110", "119", "120", "140", "143")
"""Of the GPU, its memory (48, 63, 64, 94, 95, 140), its links (74, 79) or its firmware (62, 119, 120)."""

PROGRAM = ("8", "13", "31", "32", "43", "45", "68", "69", "92", "109")
"""Most often of the program that ran: an illegal access (13, 31), a channel that was torn down (43, 45)."""

AWAITED = (*HARDWARE, *PROGRAM)
"""Counted from zero: of a counter that appears with its first event nobody sees an increase
(https://prometheus.io/docs/practices/instrumentation/#avoid-missing-metrics)."""
