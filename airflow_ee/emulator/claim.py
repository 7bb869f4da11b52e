"""A root belongs to one emulator at a time: two would run each other's operations and remove each other's drafts."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RootClaim:
    """A lock on the root, which the system takes back when the process ends, however it ends.

    Raises
    ------
    OSError
        Another emulator has the root, or it cannot be written.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        if not os.access(root, os.W_OK | os.X_OK):
            raise PermissionError(f"the root {root} cannot be written")
        self._folder: int | None = os.open(root, os.O_RDONLY)
        try:
            fcntl.flock(self._folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise BlockingIOError(f"the root {root} belongs to another emulator that is running") from None

    @contextmanager
    def kept_on_success(self) -> Iterator[None]:
        """Give the root back where what runs inside fails."""
        try:
            yield
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let others have it."""
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None
