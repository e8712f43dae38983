"""Starts a thread that Python does not know, as a library's own pool would."""

import ctypes

_libc = ctypes.CDLL(None)
_thread = ctypes.c_ulong()
assert _libc.pthread_create(ctypes.byref(_thread), None, _libc.pause, None) == 0
