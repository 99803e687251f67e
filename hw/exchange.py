"""A folder put in the place of another: at once where the system can do that."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from pathlib import Path
from typing import Any, Callable, Iterator

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
# Another process may put or take away a folder between our look and our rename; each such turn costs one try.
_TRIES = 1000
# What a kernel or a file system says that cannot exchange.
_CANNOT = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)
_THERE = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)  # the last for a link to a folder


def replace_folder(new: Path, target: Path, old: Path) -> None:
    """Renames the folder `new` to `target`; a folder that was there is afterwards `new` or `old`.

    Several processes may do so at once: each succeeds, and the last one's folder stays.

    Args:
        new, old: on the file system of `target`; `old` does not exist.

    Raises:
        OSError: a rename that is not possible; `target` is then what it was.
    """
    for _try in range(_TRIES):
        try:
            if not exchange(new, target):
                _move_twice(new, target, old)
            return
        except FileNotFoundError:  # nothing is there, or whoever had put it there took it away again
            if not new.exists():
                raise
        try:
            os.rename(str(new), str(target))  # onto nothing, or onto an empty folder
            return
        except OSError as error:
            if error.errno not in _THERE:
                raise
    raise OSError(errno.EBUSY, "others replace the folder all the time", str(target))


def exchange(first: Path, second: Path) -> bool:
    """Exchanges two names in one step; False where that is not possible here.

    Raises:
        OSError: one of the two is missing, or may not be renamed.
    """
    rename = _renameat2()
    if rename is None:
        return False
    done = rename(_AT_FDCWD, os.fsencode(str(first)), _AT_FDCWD, os.fsencode(str(second)), _RENAME_EXCHANGE)
    if done == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(second))


def _renameat2() -> Callable[..., int] | None:
    """Linux's system call by way of glibc 2.28 or newer, or musl 1.2.6; None elsewhere."""
    try:
        function: Any = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return function  # type: ignore[no-any-return]


def _move_twice(new: Path, target: Path, old: Path) -> None:
    """The same in two steps, between which `target` is missing; of processes that do so, one at a time."""
    with _alone(target.parent):
        moved = None
        for number in range(_TRIES):
            try:
                os.rename(str(new), str(target))
                return
            except OSError as error:
                if error.errno not in _THERE:
                    if moved is not None and not target.exists():
                        os.rename(str(moved), str(target))
                    raise
            # One more each time that somebody who found nothing there put his own, without the lock.
            moved = old.with_name(f"{old.name}{number or ''}")
            with contextlib.suppress(FileNotFoundError):
                os.rename(str(target), str(moved))
    raise OSError(errno.EBUSY, "others replace the folder all the time", str(target))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Locks a folder for as long as the context lasts, where the system has such locks."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    number = os.open(str(folder), os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)
