"""What is known of a dataset's shards, beside them: a killed task run again makes only those that are missing."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import shutil
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_ee.core.sinks.base import Location

__all__ = ["MANIFEST", "SCRATCH", "Manifest", "ShardRecord", "shard_name"]

MANIFEST = "manifest.jsonl"
SCRATCH = "patches"
"""What hidden folders are named after in which shards are made."""
_SHARD = re.compile(r"(patches-\d{5,}-of-\d{5,}\.(?:tfrecord|tfrecord\.gz|npz|zarr))(?:/.*)?")
_MANIFESTS = re.compile(r"manifest(?:-[0-9a-f]{12})?\.jsonl")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRecord:
    """One finished shard."""

    file: str
    """Name in the dataset's folder."""
    first_point: int
    """Index of its first point."""
    points: int
    patches: int
    """Patches in the file."""
    fully_masked: int
    """Patches, left out or not, without one pixel that is valid in every band."""
    partly_masked: int
    """Patches, left out or not, some of whose pixels are valid in every band."""
    left_out: int
    """Patches that are not in the file for what is masked of them."""
    bytes: int
    crc32c: str
    """Of the file, or of a folder's files in order, in base64 as Cloud Storage shows it."""
    simulated: bool
    """Whether the pixels are an emulator's simulation."""

    def describe(self) -> dict[str, Any]:
        """What a reader of the dataset has to know of the shard."""
        return {"file": self.file, "patches": self.patches, "bytes": self.bytes, "crc32c": self.crc32c}


class Manifest:
    """``manifest.jsonl`` of a dataset: its digest, then a line for each finished shard.

    Parameters
    ----------
    shared
        Whether other processes make shards of the same dataset at the same time: then each has a file of its own beside it, which
        :meth:`resume` takes up.
    """

    def __init__(self, folder: Location, digest: str, *, shared: bool = False) -> None:
        self._folder = folder
        self._digest = digest
        self._name = f"manifest-{uuid.uuid4().hex[:12]}.jsonl" if shared else MANIFEST
        self._records: dict[str, ShardRecord] = {}

    @property
    def records(self) -> tuple[ShardRecord, ...]:
        """Every finished shard, in order."""
        return tuple(self._records[name] for name in sorted(self._records))

    def resume(self, planned: Iterable[str]) -> None:
        """Take up the shards that are recorded for this very dataset and there, whole; remove those of any other.

        Parameters
        ----------
        planned
            Names of all shards of the dataset.
        """
        _remove_scratch(self._folder)
        sizes, files = _shard_sizes(self._folder), self._files()
        found = [self._read(name) for name in files]
        anew = not found or any(digest != self._digest for digest, _ in found)
        if anew:
            if found or sizes:
                log.warning("%s holds patches of another request: they are replaced", self._folder.url)
            self._discard(sizes)
        else:
            names = set(planned)
            self._records = {
                record.file: record
                for _, records in found
                for record in records
                if record.file in names and sizes.get(record.file) == record.bytes
            }
            log.info("%s: %d of %d shards are there already", self._folder.url, len(self._records), len(names))
        if anew or files != [MANIFEST]:
            self._write()
        self._discard(name for name in files if name != MANIFEST)

    def recorded(self) -> set[str]:
        """Files of shards that somebody has recorded for this very dataset, and that are there, whole; changes nothing."""
        sizes = _shard_sizes(self._folder)
        found = [records for digest, records in map(self._read, self._files()) if digest == self._digest]
        return {record.file for records in found for record in records if sizes.get(record.file) == record.bytes}

    def add(self, record: ShardRecord) -> None:
        """Record a shard that has been published."""
        self._records[record.file] = record
        self._write()

    def check(self) -> None:
        """Look whether every recorded shard is there.

        Raises
        ------
        FileNotFoundError
            When one is gone, with the folder perhaps.
        """
        sizes = _shard_sizes(self._folder)
        for record in self.records:
            if sizes.get(record.file) != record.bytes:
                raise FileNotFoundError(f"{(self._folder / record.file).url} was written and is gone; run again")

    def _files(self) -> list[str]:
        start = len(self._folder.path.rstrip("/")) + 1
        return sorted(path[start:] for path in self._folder.files() if _MANIFESTS.fullmatch(path[start:]))

    def _read(self, name: str) -> tuple[str, list[ShardRecord]]:
        lines = [json.loads(line) for line in (self._folder / name).read_bytes().splitlines()]
        return lines[0]["digest"], [ShardRecord(**line) for line in lines[1:]]

    def _write(self) -> None:
        lines = [{"digest": self._digest}, *(dataclasses.asdict(record) for record in self.records)]
        (self._folder / self._name).write_bytes("".join(json.dumps(line) + "\n" for line in lines).encode())

    def _discard(self, names: Iterable[str]) -> None:
        for name in names:
            (self._folder / name).remove()


def shard_name(number: int, count: int, suffix: str) -> str:
    """Name of a shard, as TensorFlow's own tools name theirs.

    >>> shard_name(3, 10, ".npz")
    'patches-00003-of-00010.npz'
    """
    return f"patches-{number:05}-of-{count:05}{suffix}"


def _remove_scratch(folder: Location) -> None:
    """Remove what killed runs left."""
    if folder.is_local:
        for left in Path(folder.path).glob(f".{SCRATCH}.*"):
            shutil.rmtree(left)


def _shard_sizes(folder: Location) -> dict[str, int]:
    """Every shard in the folder with its bytes."""
    sizes: dict[str, int] = {}
    start = len(folder.path.rstrip("/")) + 1
    for path, (size_bytes, _) in folder.files().items():
        match = _SHARD.fullmatch(path[start:])
        if match:
            sizes[match[1]] = sizes.get(match[1], 0) + size_bytes
    return sizes
