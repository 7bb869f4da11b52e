"""Where files go: a URL on any fsspec filesystem, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

__all__ = ["Location", "naming", "scratch_directory"]

HIDDEN_SUFFIX = ".part"
COPY_BYTES = 1 << 20
_LEFTOVER = re.compile(rf"\.(.+)\.[^.]+{re.escape(HIDDEN_SUFFIX)}")


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
    def parent(self) -> Location:
        """The folder that it is in; behind a symbolic link, that of what it leads to."""
        path = os.path.realpath(self.path) if self.is_local else self.path.rstrip("/")
        return replace(self, path=posixpath.dirname(path), url=posixpath.dirname(self.url.rstrip("/")))

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
        """Write a whole file, or none.

        Raises
        ------
        OSError
            When it cannot be written; the message names the place.
        """
        if not self.is_local:
            self.put(content)
            return
        with naming(self.url):
            # Behind a symbolic link the file itself is replaced, not the link.
            target = Path(os.path.realpath(self.path))
            target.parent.mkdir(parents=True, exist_ok=True)
            _write_beside(target, [content], synced=True)

    def put(self, *pieces: bytes | memoryview, scratch: Location | None = None) -> None:
        """Write a whole file, or none, of pieces one after the other; not yet safe from a loss of power.

        For what is written often and can be made again: it is not synced to the disk, and costs no second copy. A killed process loses
        nothing; a power failure may, which digests tell.

        Parameters
        ----------
        scratch
            Folder of the same disk for what a killed process leaves; None: that of the file.

        Raises
        ------
        OSError
            When it cannot be written; the message names the place.
        """
        with naming(self.url):
            if self.is_local:
                _write_beside(Path(self.path), pieces, synced=False, folder=scratch.path if scratch else None)
            else:
                self.filesystem.pipe_file(self.path, b"".join(pieces))

    def append(self, content: bytes) -> None:
        """Add to the end of a local file, which begins with this where it is not there.

        Raises
        ------
        OSError
            When it cannot be written; the message names the place. A part of ``content`` may be in the file then.
        """
        with naming(self.url), open(self.path, "ab", buffering=0) as file:
            left = memoryview(content)
            while left:
                left = left[file.write(left) :]

    def make_folder(self) -> None:
        """Make the folder, where the filesystem has such things."""
        if self.is_local:
            os.makedirs(self.path, exist_ok=True)

    def remove(self) -> None:
        """Remove the file or folder, with all that is in it; harmless when it is not there."""
        with contextlib.suppress(FileNotFoundError):
            self.filesystem.rm(self.path, recursive=True)

    def publish(self, file: Path) -> int:
        """Make the finished local ``file`` visible here in one step; tells its size in bytes.

        A local target is renamed into place from below its own folder, or copied to a hidden neighbour first; an object store shows an
        object only when its upload is complete.

        Raises
        ------
        OSError
            When it cannot be written; the message names the place.
        """
        size_bytes = file.stat().st_size
        with naming(self.url):
            if not self.is_local:
                self.filesystem.put_file(str(file), self.path)
                return size_bytes
            target = Path(os.path.realpath(self.path))
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.parent in file.parents:
                _rename_synced(file, target)
            else:
                with file.open("rb") as original:
                    _write_beside(target, iter(lambda: original.read(COPY_BYTES), b""), synced=True)
        return size_bytes

    def remove_leftovers(self, *names: str) -> None:
        """Remove what processes that were killed have left of files of these names, which they were about to put in this folder."""
        if not self.is_local:
            return
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path) as entries:
            for entry in entries:
                left = _LEFTOVER.fullmatch(entry.name)
                if left and left[1] in names:
                    _remove(entry)

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
def naming(url: str) -> Iterator[None]:
    """Have a failure name the place as users know it: a full disk names none, and who writes beside a file names what is hidden there.

    >>> with naming("/data/x.tif"):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    OSError: [Errno 28] No space left on device: '/data/x.tif'
    """
    try:
        yield
    except OSError as problem:
        if url in str(problem):
            raise
        if problem.errno is None:
            raise type(problem)(f"{url}: {problem}") from problem
        if problem.filename is not None and "/." not in str(problem.filename):
            raise
        raise OSError(problem.errno, problem.strerror, url) from problem


@contextmanager
def scratch_directory(beside: Location | None = None) -> Iterator[Path]:
    """A folder of this worker's own that is gone afterwards, also when the task is told to stop.

    Parameters
    ----------
    beside
        A local output that the folder is made beside, hidden, so that what is finished in it only has to be renamed; else it is where
        the machine keeps temporary files.
    """
    parent = None
    if beside is not None and beside.is_local:
        parent = os.path.dirname(os.path.realpath(beside.path))
        os.makedirs(parent, exist_ok=True)
    prefix, suffix = ("airflow-ee-", None) if beside is None else (f".{beside.name}.", HIDDEN_SUFFIX)
    # A thread that nobody waits for any more may write one last file while the folder is removed.
    with tempfile.TemporaryDirectory(suffix, prefix, parent, ignore_cleanup_errors=True) as name:
        yield Path(name)


def _write_beside(
    target: Path, pieces: Iterable[bytes | memoryview], *, synced: bool, folder: str | None = None
) -> None:
    """Write a hidden neighbour, or a hidden file in ``folder``, and rename it when it is whole."""
    hidden = Path(folder or target.parent, f".{target.name}.{secrets.token_hex(6)}{HIDDEN_SUFFIX}")
    try:
        with hidden.open("xb") as file:
            for piece in pieces:
                file.write(piece)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        os.replace(hidden, target)
    except BaseException:
        # SIGTERM arrives as an exception in a task: the neighbour must not stay.
        with contextlib.suppress(FileNotFoundError):
            hidden.unlink()
        raise


def _rename_synced(file: Path, target: Path) -> None:
    """Rename a file of a hidden folder below the target's: nothing is copied."""
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
    os.replace(file, target)


def _remove(entry: os.DirEntry[str]) -> None:
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path, ignore_errors=True)
    else:
        os.unlink(entry.path)


def _version(info: dict[str, Any]) -> str:
    """What changes when a file is replaced: an object store's tag or generation, or a local file's time and inode."""
    stored = info.get("etag") or info.get("ETag") or info.get("generation")
    return str(stored or f"{info.get('mtime') or info.get('created')}-{info.get('ino', '')}")
