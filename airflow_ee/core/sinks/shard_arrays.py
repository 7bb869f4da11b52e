"""Shards that are arrays: NPZ files and Zarr groups. Columns are collected in scratch files, so that memory does not grow with a shard."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from airflow_ee.core.sinks.shards import Patch, ShardFormat, ShardLayout, ShardWriter, TFRecordShards

__all__ = ["SHARD_FORMATS", "NpzShards", "ZarrShards", "shard_format"]

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Columns = Mapping[str, tuple[np.dtype[Any] | None, Shape]]
"""Name to type and to the shape of one patch's share; None: text."""
SHARD_FORMATS = ("TF_RECORD", "NPZ", "ZARR")
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
ZIP64_FROM = 1 << 31
ZARR_CHUNK_BYTES = 4 << 20
ZSTD_LEVEL = 3


@dataclass(frozen=True, slots=True)
class NpzShards:
    """Shards as ``numpy.load`` reads them: ``patches`` and ``masks`` of shape (patch, band, row, column), and an array for each fact."""

    layout: ShardLayout
    gzip: bool = True
    """Deflate the arrays."""
    suffix: str = ".npz"

    def encode(self, patch: Patch) -> dict[str, Any]:
        """A patch's share of each array."""
        masks = {"masks": np.stack(patch.masks).tobytes()} if self.layout.masked else {}
        return {
            "patches": np.stack(patch.values).astype(self.layout.dtype).tobytes(),
            **masks,
            **_facts(self.layout, patch),
        }

    def open(self, path: Path) -> ShardWriter:
        """Begin a shard."""
        return _NpzShard(path, self._columns(), np.array([band.name for band in self.layout.bands]), self.gzip)

    def describe(self) -> dict[str, Any]:
        """The arrays of a shard; the first axis is the patch."""
        return _described(self.layout, self._columns())

    def _columns(self) -> Columns:
        shape = (len(self.layout.bands), self.layout.height, self.layout.width)
        masks: Columns = {"masks": (np.dtype("uint8"), shape)} if self.layout.masked else {}
        return {"patches": (self.layout.dtype, shape), **masks, **_fact_columns(self.layout)}


@dataclass(frozen=True, slots=True)
class ZarrShards:
    """Shards as Zarr groups (version 3): one array of (patch, y, x) for each band and mask, and one of (patch) for each fact.

    Needs the extra ``airflow-ee[zarr]``.
    """

    layout: ShardLayout
    suffix: str = ".zarr"

    def __post_init__(self) -> None:
        try:
            import zarr  # noqa: F401
        except ModuleNotFoundError:
            raise ValueError("file_format 'ZARR' needs zarr: install airflow-ee[zarr]") from None

    def encode(self, patch: Patch) -> dict[str, Any]:
        """A patch's share of each array."""
        shares = {
            band.name: values.astype(band.dtype, copy=False).tobytes()
            for band, values in zip(self.layout.bands, patch.values, strict=True)
        }
        masks = {name: mask.tobytes() for name, mask in zip(self.layout.mask_names, patch.masks, strict=True)}
        return {**shares, **masks, **_facts(self.layout, patch)}

    def open(self, path: Path) -> ShardWriter:
        """Begin a shard."""
        return _ZarrShard(path, self.layout, self._columns())

    def describe(self) -> dict[str, Any]:
        """The arrays of a shard; the first axis is the patch."""
        return _described(self.layout, self._columns())

    def _columns(self) -> Columns:
        shape = (self.layout.height, self.layout.width)
        bands = {band.name: (band.dtype, shape) for band in self.layout.bands}
        masks = {name: (np.dtype("uint8"), shape) for name in self.layout.mask_names}
        return {**bands, **masks, **_fact_columns(self.layout)}


def shard_format(name: str, layout: ShardLayout, *, gzip: bool = True) -> ShardFormat:
    """The kind of shards that users name ``TF_RECORD``, ``NPZ`` or ``ZARR``.

    Parameters
    ----------
    gzip
        Gzip TFRecord files and deflate the arrays of NPZ; Zarr has a codec of its own.
    """
    if name == "TF_RECORD":
        return TFRecordShards(layout, gzip)
    if name == "NPZ":
        return NpzShards(layout, gzip)
    if name == "ZARR":
        return ZarrShards(layout)
    raise ValueError(f"file_format must be one of {', '.join(SHARD_FORMATS)}, got {name!r}")


class _Columns:
    """Collects columns: numbers in scratch files, text in memory."""

    def __init__(self, path: Path, columns: Columns) -> None:
        self._folder = path.with_name(path.name + ".columns")
        self._folder.mkdir()
        self._columns = columns
        self._count = 0
        self._texts: dict[str, list[str]] = {name: [] for name, (dtype, _) in columns.items() if dtype is None}
        self._files: dict[str, BinaryIO] = {
            name: (self._folder / str(number)).open("wb")
            for number, (name, (dtype, _)) in enumerate(columns.items())
            if dtype is not None
        }

    def write(self, encoded: Mapping[str, Any]) -> None:
        for name, share in encoded.items():
            if name in self._texts:
                self._texts[name].append(share)
            else:
                self._files[name].write(share)
        self._count += 1

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def arrays(self) -> Iterator[tuple[str, Array]]:
        """Every column as an array, numbers mapped from their file."""
        for number, (name, (dtype, shape)) in enumerate(self._columns.items()):
            if dtype is None:
                yield name, np.array(self._texts[name], dtype=None if self._count else "U1")
                continue
            self._files[name].close()
            file, whole = self._folder / str(number), (self._count, *shape)
            yield name, np.memmap(file, dtype, "r", shape=whole) if self._count else np.zeros(whole, dtype)
            file.unlink()


class _NpzShard:
    """One NPZ file."""

    def __init__(self, path: Path, columns: Columns, bands: Array, deflate: bool) -> None:
        self._path = path
        self._bands = bands
        self._method = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
        self._columns = _Columns(path, columns)

    def write(self, encoded: Mapping[str, Any]) -> None:
        self._columns.write(encoded)

    def finish(self) -> None:
        with zipfile.ZipFile(self._path, "w", self._method, compresslevel=1) as archive:
            for name, array in self._columns.arrays():
                self._add(archive, name, array)
            self._add(archive, "bands", self._bands)

    def close(self) -> None:
        self._columns.close()

    def _add(self, archive: zipfile.ZipFile, name: str, array: Array) -> None:
        # A fixed date: equal patches make equal files.
        entry = zipfile.ZipInfo(f"{name}.npy", ZIP_EPOCH)
        entry.compress_type = self._method
        with archive.open(entry, "w", force_zip64=array.nbytes >= ZIP64_FROM) as file:
            np.lib.format.write_array(file, array, allow_pickle=False)


class _ZarrShard:
    """One Zarr group."""

    def __init__(self, path: Path, layout: ShardLayout, columns: Columns) -> None:
        self._path = path
        self._layout = layout
        self._columns = _Columns(path, columns)

    def write(self, encoded: Mapping[str, Any]) -> None:
        self._columns.write(encoded)

    def finish(self) -> None:
        import zarr

        group = zarr.open_group(self._path, mode="w-", zarr_format=3)
        pixels = {*(band.name for band in self._layout.bands), *self._layout.mask_names}
        labels = {label.name for label in self._layout.labels}
        places = [fact.name for fact in self._layout.facts if fact.name not in labels]
        for name, array in self._columns.arrays():
            attributes = {"coordinates": " ".join(places)} if name in pixels | labels else {}
            self._add(group, name, array, attributes)

    def close(self) -> None:
        self._columns.close()

    def _add(self, group: Any, name: str, array: Array, attributes: Mapping[str, str]) -> None:
        from zarr.codecs import ZstdCodec

        dimensions = {1: ("patch",), 2: ("patch", "coefficient"), 3: ("patch", "y", "x")}[array.ndim]
        share_bytes = max(1, array[:1].nbytes)
        length = max(1, min(len(array), ZARR_CHUNK_BYTES // share_bytes))
        created = group.create_array(
            name,
            shape=array.shape,
            dtype=str if array.dtype.kind == "U" else array.dtype,
            chunks=(length, *array.shape[1:]),
            compressors=ZstdCodec(level=ZSTD_LEVEL),
            dimension_names=dimensions,
            attributes=dict(attributes),
        )
        for start in range(0, len(array), length):
            created[start : start + length] = array[start : start + length]


def _facts(layout: ShardLayout, patch: Patch) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for fact in layout.facts:
        value = patch.facts[fact.name]
        found[fact.name] = value if fact.kind == "string" else np.array(value, fact.kind).tobytes()
    return found


def _fact_columns(layout: ShardLayout) -> Columns:
    return {
        fact.name: (None if fact.kind == "string" else np.dtype(fact.kind), (fact.length,) if fact.length > 1 else ())
        for fact in layout.facts
    }


def _described(layout: ShardLayout, columns: Columns) -> dict[str, Any]:
    descriptions = {fact.name: fact.description for fact in layout.facts}
    return {
        name: {
            "dtype": "string" if dtype is None else dtype.name,
            "shape": list(shape),
            **({"description": descriptions[name]} if name in descriptions else {}),
        }
        for name, (dtype, shape) in columns.items()
    }
