"""A lock of the operating system on an open file: let go whenever the process ends, however."""

from __future__ import annotations

import logging
import os
from typing import BinaryIO

logger = logging.getLogger(__name__)

_LOCKED_BYTE = 1 << 40
"""Windows hides locked bytes from readers; this one lies far behind any content."""

if os.name == "nt":
    import msvcrt

    def try_lock(file: BinaryIO) -> bool:
        """Take the lock if nobody has it; False when another process does."""
        file.seek(_LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def unlock(file: BinaryIO) -> None:
        """Let it go before the file is closed."""
        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import errno
    import fcntl

    def try_lock(file: BinaryIO) -> bool:
        """Take the lock if nobody has it; False when another process does."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            if err.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN):
                return False
            logger.warning("This file system has no locks (%s): %s", err, file.name)
        return True

    def unlock(file: BinaryIO) -> None:
        """Let it go before the file is closed."""
        fcntl.flock(file, fcntl.LOCK_UN)
