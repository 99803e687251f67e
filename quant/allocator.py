"""How the C library gives torch its memory."""

from __future__ import annotations

import ctypes
import platform

# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Make this process keep what its tensors free for the next ones, and say whether it now does.

    glibc gives every block above 32 MiB back to the system at once. The maps of a batch are that large, so each step of
    training would ask for all its memory anew, and the system would clear it page by page: on a CPU that takes as long
    as the convolutions of the first layers. Other C libraries, and allocators that replace glibc's, stay as they are.

    Source: mallopt(3).
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return all(
        libc.mallopt(option, value) == 1 for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1))
    )
