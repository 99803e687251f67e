"""Memory that tensors free serves the next ones."""

import platform
import subprocess
import sys

import pytest

from fireflow.quant.allocator import keep_freed_memory

PROGRAM = """
import ctypes
import resource
import sys

from fireflow.quant.allocator import keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype = libc.memset.restype = ctypes.c_void_p
libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
size = 64 << 20
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

before = resident()
block = libc.malloc(size)
libc.memset(block, 1, size)
libc.free(block)
print((resident() - before) / size)
"""


def kept(how: str) -> float:
    """The share of a freed block that the process still holds."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep freed memory")
def test_freed_memory_is_kept() -> None:
    assert kept("as it is") < 0.1
    assert kept("keep") > 0.9


def test_other_c_libraries_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
