"""Rasters as Zarr v3: a store of one raster, or one date of a cube that grows.

Variables have dimensions (time, y, x), or (y, x) where no time is known; a chunk holds one date. Chunks are little-endian, Blosc zstd
level 3 with shuffled bytes, and always written: a chunk that is not there was never stored, it is not masked. CF metadata are in
:mod:`airflow_ee.core.sinks.zarr_metadata`, growth in :mod:`airflow_ee.core.sinks.zarr_cube`.

Chunks are written into a hidden folder beside the store, chunks first, metadata last, and take their place when all are there: on a
disk by one rename, on an object store by copies that the store makes itself, with the root's metadata last.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow_ee.core.decode import PixelBlock
from airflow_ee.core.plan import Tile
from airflow_ee.core.sinks.base import Location, naming
from airflow_ee.core.sinks.folders import (
    copy_files,
    list_files,
    list_names,
    make_folders,
    put_folder,
    remove_folder,
    restore_folder,
)
from airflow_ee.core.sinks.layout import Output, RasterLayout, TileRecord
from airflow_ee.core.sinks.lock import LockSettings
from airflow_ee.core.sinks.zarr_chunks import (
    DTYPES,
    MAX_CHUNK_BYTES,
    ChunkEncoder,
    EncodedChunk,
    stored_fill,
    variable_names,
)
from airflow_ee.core.sinks.zarr_cube import (
    StagedDate,
    ZarrCube,
    chunk_shape,
    date_key,
    hidden_folder,
    write_metadata,
)
from airflow_ee.core.sinks.zarr_metadata import RESERVED, ROOT, StoreContents

__all__ = ["MEDIA_TYPE", "ZarrCube", "ZarrSink", "add_dates"]

MEDIA_TYPE = "application/vnd.zarr"


@dataclass(frozen=True, slots=True, kw_only=True)
class ZarrSink:
    """One raster as a Zarr store, or as one date of a cube: a :class:`~airflow_ee.core.sinks.layout.RasterSink`.

    >>> import fsspec
    >>> import numpy as np
    >>> from airflow_ee.core.grid import PixelGrid
    >>> from airflow_ee.core.sinks.layout import BandLayout
    >>> grid = PixelGrid(crs="EPSG:32633", transform=(10, 0, 5e5, 0, -10, 4e6), width=3, height=2)
    >>> band = BandLayout(name="NDVI", dtype=np.dtype("int16"), scale=0.0001)
    >>> place = Location(fsspec.filesystem("memory"), "/doctest/ndvi.zarr", "memory://doctest/ndvi.zarr")
    >>> sink = ZarrSink(location=place, layout=RasterLayout(grid=grid, bands=(band,)))
    >>> values, valid = np.arange(6, dtype="int16").reshape(2, 3), np.ones((2, 3), bool)
    >>> sink.prepare()
    >>> record = sink.write(Tile(0, 0, grid), PixelBlock(("NDVI",), (values,), (valid,)))
    >>> [output.url for output in sink.commit([record])]
    ['memory://doctest/ndvi.zarr']
    """

    location: Location
    layout: RasterLayout
    time: datetime | None = None
    """With a time zone, whole seconds."""
    chunk: int = 512
    """Rows and columns of a chunk, where the grid has so many."""
    grows: bool = False
    """Whether the raster is added to the dates that the store has; otherwise the store holds it alone, whatever was there."""
    lock: LockSettings = field(default_factory=LockSettings)
    """Of a store that grows."""

    def __post_init__(self) -> None:
        _check_time(self.time, self.grows)
        _check_bands(self.layout)
        largest = max(band.dtype.itemsize for band in self.layout.bands)
        if self.chunk < 1 or self.chunk**2 * largest > MAX_CHUNK_BYTES:
            raise ValueError(
                f"chunk must be at least 1, and a chunk at most {MAX_CHUNK_BYTES} bytes, got {self.chunk} pixels a side"
            )

    @property
    def block(self) -> int:
        """Rows and columns of a chunk: tiles begin at multiples of it."""
        return self.chunk

    @property
    def whole_blocks(self) -> bool:
        """Two tiles cannot share a chunk."""
        return True

    @property
    def cube(self) -> ZarrCube:
        """The store that the raster is a date of."""
        return ZarrCube(location=self.location, layout=self.layout, chunk=self.chunk, lock=self.lock)

    def prepare(self) -> None:
        """Make what tiles are written into; harmless where it is there.

        Raises
        ------
        ValueError
            When something that is no Zarr store is there, or a cube that this raster is no date of.
        """
        self._check_place()
        if self.grows:
            self.cube.check(self.layout.tags)
        if self.location.is_local:
            make_folders({posixpath.dirname((self._stage / path).path) for path in self._paths(self.layout.grid.shape)})

    def write(self, tile: Tile, block: PixelBlock) -> TileRecord:
        """Store all chunks of a tile.

        Raises
        ------
        ValueError
            When the tile does not fill whole chunks, or a valid pixel has the value that marks masked ones.
        MalformedResponse
            When pixels are of other bands or types than the layout's.
        OSError
            When a chunk cannot be written; the message names it.
        """
        self._check_tile(tile)
        encoder = ChunkEncoder(layout=self.layout, shape=chunk_shape(self.layout.grid, self.chunk))
        encoder.check(block, tile)
        digest, size, marks = hashlib.sha256(), 0, _Marks()
        for row, col in self._squares(tile.grid.shape):
            rows, cols = slice(row, row + self.chunk), slice(col, col + self.chunk)
            for chunk in encoder.encode(block, rows, cols):
                marks.add(chunk)
                self._check_nodata(marks, tile)
                path = self._path(chunk.variable, tile.row + row, tile.col + col)
                (self._stage / path).put(chunk.content)
                digest.update(chunk.content)
                size += len(chunk.content)
        height, width = tile.grid.shape
        return TileRecord(
            row=tile.row,
            col=tile.col,
            rows=height,
            cols=width,
            digest=digest.hexdigest(),
            bytes=size,
            facts=marks.to_json(),
        )

    def holds(self, record: TileRecord) -> bool:
        """Whether a tile's chunks are there with the size and digest that were recorded, waiting or in the finished store."""
        return self._holds_at(self._stage, 0, record) or self._shows(record)

    def stands(self, outputs: Sequence[Output]) -> bool:
        """Whether a store is there that shows the raster."""
        whole = [output.url for output in outputs] == [self.location.url]
        return whole and (self.location / ROOT).exists() and self._place() is not None

    def commit(self, records: Sequence[TileRecord]) -> tuple[Output, ...]:
        """Make the raster visible, from the records of all of its tiles.

        Raises
        ------
        FileNotFoundError
            When chunks are missing.
        ValueError
            When masked pixels cannot be told from valid ones, or the cube has another layout.
        OSError
            When it cannot be written; the message names it.
        """
        if self.grows:
            return add_dates([(self, records)])
        with naming(self.location.url):
            contents = self._finish(records)
            if self.location.is_local:
                restore_folder(self.location)
                write_metadata(self._stage, contents)
                put_folder(self._stage, self.location)
            else:
                self._upload(contents)
            self.discard()
        return (self._output(records),)

    def discard(self) -> None:
        """Remove chunks that are not part of a store yet."""
        remove_folder(self._stage if self.grows else hidden_folder(self.location))

    @property
    def _stage(self) -> Location:
        name = date_key(self.time) if self.grows and self.time else "new"
        return hidden_folder(self.location) / name

    def _path(self, variable: str, row: int, col: int, index: int = 0) -> str:
        """Of the chunk with a pixel, in a store where this raster's date has place ``index``."""
        date = "" if self.time is None else f"{index}/"
        return f"{variable}/c/{date}{row // self.chunk}/{col // self.chunk}"

    def _squares(self, shape: tuple[int, int], row: int = 0, col: int = 0) -> Iterator[tuple[int, int]]:
        """First row and column of each chunk of a rectangle that begins at ``row, col``, row by row."""
        for first_row in range(row, row + shape[0], self.chunk):
            for first_col in range(col, col + shape[1], self.chunk):
                yield first_row, first_col

    def _paths(self, shape: tuple[int, int], row: int = 0, col: int = 0, index: int = 0) -> list[str]:
        """Of the chunks of a rectangle, in the order that digests go by."""
        return [
            self._path(name, *square, index)
            for square in self._squares(shape, row, col)
            for name in variable_names(self.layout)
        ]

    def _holds_at(self, root: Location, index: int, record: TileRecord) -> bool:
        digest, size = hashlib.sha256(), 0
        for path in self._paths((record.rows, record.cols), record.row, record.col, index):
            try:
                content = (root / path).read_bytes()
            except FileNotFoundError:
                return False
            digest.update(content)
            size += len(content)
        return (size, digest.hexdigest()) == (record.bytes, record.digest)

    def _shows(self, record: TileRecord) -> bool:
        """Whether the finished store has the tile."""
        place = self._place()
        return place is not None and self._holds_at(self.location, place, record)

    def _place(self) -> int | None:
        """Place of this raster's date in the finished store."""
        if not self.grows:
            return 0
        times = self.cube.times
        return times.index(self.time) if self.time in times else None

    def _finish(self, records: Sequence[TileRecord]) -> StoreContents:
        """See to it that exactly the raster's chunks wait, and say what the store is to be."""
        marks = _Marks.of(records)
        self._check_nodata(marks, self.location.url)
        wanted = set(self._paths(self.layout.grid.shape))
        there = list_files(self._stage)
        covered = {path for record in records for path in self._take_over(record, there)}
        if wanted - covered:
            raise FileNotFoundError(f"{self.location.url}: tiles are missing, {min(wanted - covered)} for example")
        for path in there - wanted:
            (self._stage / path).filesystem.rm_file((self._stage / path).path)
        return StoreContents(
            raster=self.layout,
            chunk=chunk_shape(self.layout.grid, self.chunk),
            dates=None if self.time is None else {self.time: self.layout.tags},
            unmarked=frozenset(marks.clashing),
        )

    def _take_over(self, record: TileRecord, there: set[str]) -> list[str]:
        """Paths of a tile's chunks; those that do not wait any more are taken from the finished store."""
        rectangle = (record.rows, record.cols), record.row, record.col
        paths = self._paths(*rectangle)
        missing = [path for path in paths if path not in there]
        if missing:
            place = self._place()
            if place is None or not self._holds_at(self.location, place, record):
                raise FileNotFoundError(f"{self._stage.url}: {missing[0]} was stored and is gone; run again")
            sources = dict(zip(paths, self._paths(*rectangle, place), strict=True))
            copy_files([(self.location / sources[path], self._stage / path) for path in missing])
            # Another run may have moved the cube's dates while this one copied.
            if not self._holds_at(self._stage, 0, record):
                raise FileNotFoundError(f"{self.location.url} was changed while it was read; run again")
        return paths

    def _staged(self, records: Sequence[TileRecord]) -> StagedDate | None:
        """The date's chunks; None where all of them are in the cube already and none waits."""
        if not list_files(self._stage) and all(self._shows(record) for record in records):
            return None
        self._finish(records)
        return StagedDate(root=self._stage, tags=self.layout.tags)

    def _upload(self, contents: StoreContents) -> None:
        root = self.location / ROOT
        if root.exists():
            # Comes first: without it nobody reads a store that is half removed.
            root.filesystem.rm_file(root.path)
        remove_folder(self.location)
        paths = self._paths(self.layout.grid.shape)
        copy_files([(self._stage / path, self.location / path) for path in paths])
        write_metadata(self.location, contents)

    def _output(self, records: Sequence[TileRecord]) -> Output:
        return Output(url=self.location.url, bytes=sum(record.bytes for record in records), media_type=MEDIA_TYPE)

    def _check_nodata(self, marks: _Marks, where: object) -> None:
        declared = self.grows or self.layout.nodata is not None
        for band in self.layout.bands:
            if band.name in (marks.clashing if declared else marks.clashing & marks.masked):
                raise ValueError(
                    f"nodata: {stored_fill(self.layout, band)} is a value of valid pixels of {band.name} in {where}; "
                    "choose another nodata or mask='band'"
                )

    def _check_tile(self, tile: Tile) -> None:
        for start, length, whole in zip((tile.row, tile.col), tile.grid.shape, self.layout.grid.shape, strict=True):
            end = start + length
            if start % self.chunk or end > whole or (end % self.chunk and end != whole):
                raise ValueError(f"{tile} does not fill whole chunks of {self.chunk} pixels a side")

    def _check_place(self) -> None:
        """Refuse to replace what is no store: a folder of other things would be gone with all that is in it."""
        if self.location.is_local and Path(self.location.path).is_file():
            raise ValueError(f"output: {self.location.url} is a file, a Zarr store is a folder")
        names = list_names(self.location)
        begun = not self.location.is_local and bool(list_names(hidden_folder(self.location)))
        if names and ROOT not in names and not begun:
            raise ValueError(
                f"output: {self.location.url} is a folder that holds other things ({names[0]}) than a store"
            )


def add_dates(finished: Sequence[tuple[ZarrSink, Sequence[TileRecord]]]) -> tuple[Output, ...]:
    """Show several dates of a cube to readers, all in one step: quicker than one after another where old dates are filled in.

    Parameters
    ----------
    finished
        Sinks of one cube, each with the records of all of its tiles.

    Raises
    ------
    ValueError
        When they are of different cubes, or two are of one date.
    """
    sinks = [sink for sink, _ in finished]
    alike = {(sink.location.url, sink.chunk, sink.grows, repr(replace(sink.layout, tags={}))) for sink in sinks}
    if len(alike) > 1 or len({sink.time for sink in sinks}) < len(sinks):
        raise ValueError("dates that are added together must be different ones of one cube")
    staged = {sink.time: date for sink, records in finished if sink.time and (date := sink._staged(records))}
    if staged:
        sinks[0].cube.add(staged)
    for sink in sinks:
        sink.discard()
    return tuple(sink._output(records) for sink, records in finished)


@dataclass(slots=True)
class _Marks:
    """Bands with masked pixels, and bands with valid pixels of the value that marks masked ones."""

    masked: set[str] = field(default_factory=set)
    clashing: set[str] = field(default_factory=set)
    valid: dict[str, int] = field(default_factory=dict)
    """Pixels of each band that are not masked."""

    @classmethod
    def of(cls, records: Sequence[TileRecord]) -> _Marks:
        marks = cls()
        for record in records:
            marks.masked |= set(record.facts.get("masked", ()))
            marks.clashing |= set(record.facts.get("clashing", ()))
        return marks

    def add(self, chunk: EncodedChunk) -> None:
        if chunk.valid is not None:
            self.valid[chunk.variable] = self.valid.get(chunk.variable, 0) + chunk.valid
        if chunk.masked:
            self.masked.add(chunk.variable)
        if chunk.clashing:
            self.clashing.add(chunk.variable)

    def to_json(self) -> dict[str, list[Any]]:
        facts = {"masked": sorted(self.masked), "clashing": sorted(self.clashing)}
        return {"valid": list(self.valid.values()), **{name: bands for name, bands in facts.items() if bands}}


def _check_time(time: datetime | None, grows: bool) -> None:
    if time is None and grows:
        raise ValueError("time: a cube's date needs one")
    if time is not None and (time.utcoffset() is None or time.microsecond):
        raise ValueError(f"time must have a time zone and whole seconds, got {time.isoformat()}")


def _check_bands(layout: RasterLayout) -> None:
    names = variable_names(layout)
    for band in layout.bands:
        if band.name in RESERVED or band.name.startswith((".", "__")) or "/" in band.name or band.name == ROOT:
            raise ValueError(f"band {band.name!r} cannot be the name of a Zarr variable: rename it")
        if band.dtype.name not in DTYPES:
            raise ValueError(f"band {band.name}: Zarr holds {', '.join(DTYPES)} here, got {band.dtype.name}")
        stored_fill(layout, band)
    if len(set(names)) < len(names):
        raise ValueError(f"bands: {sorted(names)} would have two variables of one name, because masks are stored too")
