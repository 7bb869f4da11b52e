"""Where files go: a URL on any fsspec filesystem, written whole or not at all."""

from __future__ import annotations

import os
import posixpath
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

__all__ = ["Location", "scratch_directory"]


@dataclass(frozen=True)
class Location:
    """A file or folder on a filesystem: a local path or an object store's prefix.

    >>> here = Location(LocalFileSystem(), "/data/ndvi", "/data/ndvi")
    >>> (here / "2020_06_09.tif").url
    '/data/ndvi/2020_06_09.tif'
    """

    filesystem: Any
    """An fsspec filesystem."""
    path: str
    """As the filesystem names it, without a scheme."""
    url: str
    """As users name it, for logs and results."""

    def __truediv__(self, name: str) -> Location:
        return replace(self, path=posixpath.join(self.path, name), url=posixpath.join(self.url, name))

    @property
    def name(self) -> str:
        """The last part of the path."""
        return posixpath.basename(self.path.rstrip("/"))

    @property
    def is_local(self) -> bool:
        """Whether files are renamed into place rather than uploaded."""
        return isinstance(self.filesystem, LocalFileSystem)

    def with_suffix(self, suffix: str) -> Location:
        """The same place with ``suffix`` added to its name."""
        return replace(self, path=self.path + suffix, url=self.url + suffix)

    def check_writable(self) -> None:
        """Refuse a local place that cannot become a file, before work is done for it.

        Raises
        ------
        ValueError
            When it is a folder or a device, or its folder is a file or may not be written to.
        """
        if not self.is_local:
            return
        target = Path(os.path.realpath(self.path))
        if target.exists() and not target.is_file():
            raise ValueError(
                f"output: {self.url} is a {'folder' if target.is_dir() else 'device'}, not a file that can be replaced"
            )
        folder = target.parent
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            raise ValueError(f"output: {self.url} cannot be written, {folder} is a file")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ValueError(f"output: {self.url} cannot be written, {folder} may not be written to by this user")

    def exists(self) -> bool:
        """Whether a file is there."""
        self._look_anew()
        return bool(self.filesystem.exists(self.path))

    def size_bytes(self) -> int | None:
        """Size of the file; None when it is not there."""
        self._look_anew()
        try:
            return int(self.filesystem.size(self.path))
        except FileNotFoundError:
            return None

    def read_bytes(self) -> bytes:
        """The whole file."""
        return bytes(self.filesystem.cat_file(self.path))

    def write_bytes(self, content: bytes) -> None:
        """Write a whole file, or none."""
        with scratch_directory() as directory:
            file = directory / "content"
            file.write_bytes(content)
            self.publish(file)

    def publish(self, file: Path) -> int:
        """Make the finished local ``file`` visible here in one step; tells its size in bytes.

        A local target is renamed into place from a hidden neighbour; an object store shows an object only when its
        upload is complete.
        """
        size_bytes = file.stat().st_size
        if not self.is_local:
            self.filesystem.put_file(str(file), self.path)
            return size_bytes
        # Behind a symbolic link the file itself is replaced, not the link.
        target = Path(os.path.realpath(self.path))
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, hidden = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as copy, file.open("rb") as original:
                while chunk := original.read(1 << 20):
                    copy.write(chunk)
                copy.flush()
                os.fsync(copy.fileno())
            os.chmod(hidden, 0o666 & ~_umask())
            os.replace(hidden, target)
        except BaseException:
            # SIGTERM arrives as an exception in a task: the neighbour must not stay.
            os.unlink(hidden)
            raise
        return size_bytes

    def files(self) -> dict[str, tuple[int, str]]:
        """Every file below this folder: its path, with size and whatever tells its version (time, etag, generation)."""
        self._look_anew()
        try:
            found = self.filesystem.find(self.path, detail=True)
        except FileNotFoundError:
            return {}
        return {
            path: (int(info.get("size") or 0), _version(info))
            for path, info in sorted(found.items())
            if not posixpath.basename(path).startswith(".")
        }

    def _look_anew(self) -> None:
        """Forget listings of object stores: other runs write there too."""
        if not self.is_local:
            self.filesystem.invalidate_cache()


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A folder of this worker's own that is gone afterwards, also when the task is told to stop."""
    # A thread that nobody waits for any more may write one last file while the folder is removed.
    with tempfile.TemporaryDirectory(prefix="airflow-ee-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _version(info: dict[str, Any]) -> str:
    """What changes when a file is replaced: an object store's tag or generation, or a local file's time and inode."""
    stored = info.get("etag") or info.get("ETag") or info.get("generation")
    return str(stored or f"{info.get('mtime') or info.get('created')}-{info.get('ino', '')}")
