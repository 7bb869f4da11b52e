"""Stores of many files: each file whole or not there, folders linked, removed and put in place, on disks and object stores."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import posixpath
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace

from airflow_ee.core.sinks.base import Location

__all__ = [
    "beside",
    "copy_files",
    "create_file",
    "list_files",
    "list_names",
    "make_folders",
    "put_folder",
    "remove_folder",
    "restore_folder",
]

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EXDEV, errno.EMLINK, errno.ENOSYS}
_NO_EXCHANGE = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def beside(location: Location, name: str) -> Location:
    """A place in the same folder; behind a symbolic link, beside what it leads to.

    >>> import fsspec
    >>> beside(Location(fsspec.filesystem("memory"), "/a/ndvi.zarr", "memory://a/ndvi.zarr"), ".ndvi").url
    'memory://a/.ndvi'
    """
    path = os.path.realpath(location.path) if location.is_local else location.path.rstrip("/")
    url = path if location.is_local else location.url.rstrip("/")
    return replace(
        location,
        path=posixpath.join(posixpath.dirname(path), name),
        url=posixpath.join(posixpath.dirname(url), name),
    )


def create_file(location: Location, content: bytes) -> bool:
    """Write a file unless it is there; whether it was made here. Of several processes one makes it.

    Disks, memory, Google Cloud Storage and S3 decide this themselves; on a filesystem of fsspec that does not know
    ``mode="create"``, two may both believe to have made it if they try within one round trip.
    """
    try:
        if location.is_local:
            os.makedirs(os.path.dirname(location.path), exist_ok=True)
            with open(location.path, "xb") as file:
                file.write(content)
        else:
            location.filesystem.pipe_file(location.path, content, mode="create")
    except FileExistsError:
        return False
    return True


def copy_files(pairs: Sequence[tuple[Location, Location]]) -> None:
    """Give files a second name: hard links where the disk has them, copies made by the object store itself.

    A target must not be there yet on a disk: then somebody else writes to the same place.

    Raises
    ------
    FileNotFoundError
        When a source is not there.
    FileExistsError
        When a target is, on a disk.
    """
    if not pairs:
        return
    if not pairs[0][0].is_local:
        filesystem = pairs[0][0].filesystem
        filesystem.copy([source.path for source, _ in pairs], [target.path for _, target in pairs])
        return
    make_folders({posixpath.dirname(target.path) for _, target in pairs})
    for source, target in pairs:
        _link(source.path, target.path)


def make_folders(paths: Iterable[str]) -> None:
    """Make local folders, and those that they are in."""
    for path in paths:
        os.makedirs(path, exist_ok=True)


def remove_folder(location: Location) -> None:
    """Remove a folder with all that is in it; harmless where it is not there."""
    if location.is_local:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(location.path)
    elif location.exists():
        location.filesystem.rm(location.path, recursive=True)


def list_names(location: Location) -> tuple[str, ...]:
    """Names of files and folders in a folder, in order; none when it is not there."""
    if location.is_local:
        return tuple(sorted(os.listdir(location.path))) if os.path.isdir(location.path) else ()
    location.filesystem.invalidate_cache()
    try:
        found = location.filesystem.ls(location.path, detail=False)
    except FileNotFoundError:
        return ()
    names = {posixpath.basename(path.rstrip("/")) for path in found if path.rstrip("/") != location.path.rstrip("/")}
    return tuple(sorted(names - {""}))


def list_files(location: Location) -> set[str]:
    """Paths of all files below a folder, relative to it, hidden ones too."""
    if not location.is_local:
        location.filesystem.invalidate_cache()
    root = location.path.rstrip("/") + "/"
    return {path.removeprefix(root) for path in location.filesystem.find(location.path)}


def put_folder(new: Location, target: Location) -> None:
    """Put a finished local folder in the place of another, which is removed.

    Linux exchanges both names in one step. Elsewhere, and on filesystems that cannot (NFS), the place is empty between two
    renames, and :func:`restore_folder` puts back what was there before, should the process be killed between them.
    """
    # Behind a symbolic link the folder itself is replaced, not the link.
    place = os.path.realpath(target.path)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if not os.path.lexists(place):
        os.rename(new.path, place)
        return
    if not _exchange(new.path, place):
        old = beside(target, f".{target.name}.old")
        os.rename(place, old.path)
        os.rename(new.path, place)
        remove_folder(old)
    remove_folder(new)


def restore_folder(target: Location) -> None:
    """Undo what a process left that was killed within :func:`put_folder`, on a disk that cannot exchange names."""
    old, place = beside(target, f".{target.name}.old"), os.path.realpath(target.path)
    if os.path.lexists(old.path) and not os.path.lexists(place):
        os.rename(old.path, place)
    remove_folder(old)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with open(target, "xb"):
            pass
        shutil.copyfile(source, target)


def _exchange(first: str, second: str) -> bool:
    """Exchange two names by Linux's renameat2; whether this kernel and filesystem can."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), first, None, second)
