"""Tiles kept as parts until the last one is there; then one file is put together from them, always in the same order.

A GeoTIFF whose writer is killed opens without an error and shows zeros, and the order in which windows are written changes its bytes. So
tiles are kept beside the output, each in a file of its own. The output is made of them in one go, in row-major order, and appears under
its name when it is whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from airflow_ee.core.buffers import BufferPool
from airflow_ee.core.decode import PixelBlock
from airflow_ee.core.plan import Tile
from airflow_ee.core.sinks.base import Location, naming, scratch_directory
from airflow_ee.core.sinks.layout import Output, RasterLayout, TileRecord

__all__ = ["BLOCK", "Part", "PartForm", "Parts", "PartsSink", "RawForm", "Window"]

BLOCK = 512
EVERYWHERE = -1
"""Number of the mask of a band that is valid everywhere in a tile: none is kept."""
SCRATCH_BYTES = 64 * 1024 * 1024
_scratch = BufferPool(SCRATCH_BYTES)
"""Where bands are put one after the other; it bounds how many tiles are at this at once, too."""


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of the whole raster, and its pixels."""

    row: int
    col: int
    shape: tuple[int, int]
    """``(rows, columns)``"""
    values: Sequence[npt.NDArray[Any]]
    """One array of that shape a band; 0 where masked. Those of a part are read each time that they are looked at."""
    masks: Sequence[npt.NDArray[Any] | None]
    """One a band; None: valid everywhere."""


class Part(NamedTuple):
    """What is kept of a tile."""

    pieces: Sequence[bytes | memoryview]
    """Its bytes, one piece after the other."""
    facts: Mapping[str, Any]
    """What has to be known of it at the end, as JSON values."""


class PartForm(Protocol):
    """How tiles are kept, and how one file is made of them."""

    def part(self, layout: RasterLayout, side: int, pixels: PixelBlock, /) -> AbstractContextManager[Part]:
        """A tile as it is kept, good inside the context.

        Parameters
        ----------
        side
            Rows and columns of what is written whole.
        """
        ...

    def assemble(self, parts: Parts, file: Path) -> None:
        """Write the whole file, a local one."""
        ...


@dataclass(frozen=True, slots=True)
class RawForm:
    """Parts that are the bands one after the other, then the masks that differ."""

    write: Callable[[Parts, Path], None]
    """Makes the whole file, a local one, of the parts."""

    @contextmanager
    def part(self, layout: RasterLayout, _side: int, pixels: PixelBlock, /) -> Iterator[Part]:
        """A tile's bands and masks."""
        buffer = _scratch.take(max(1, _most_bytes(pixels, pixels.values[0].size)))
        try:
            masks, valid, size = _lay_out(pixels, buffer, masked=layout.mask != "none")
            yield Part((memoryview(buffer)[:size],), {"masks": masks, "valid": valid})
        finally:
            _scratch.give_back(buffer)

    def assemble(self, parts: Parts, file: Path) -> None:
        """Write the whole file."""
        self.write(parts, file)


@dataclass(frozen=True, kw_only=True)
class PartsSink:
    """One file that is made of parts; a :class:`~airflow_ee.core.sinks.layout.RasterSink`."""

    target: Location
    layout: RasterLayout
    form: PartForm
    sidecar: tuple[str, Callable[[RasterLayout], bytes]] | None = None
    """Suffix and content of a small file beside the output that readers of it need."""
    media_type: str = "application/octet-stream"
    block: int = BLOCK
    whole_blocks: bool = False

    @property
    def folder(self) -> Location:
        """Where the parts are."""
        return self.target.with_suffix(".parts")

    def prepare(self) -> None:
        """Make the folder of the parts."""
        self.folder.make_folder()

    def write(self, tile: Tile, block: PixelBlock) -> TileRecord:
        """Keep a tile as a part."""
        rows, cols = tile.grid.shape
        digest, size = hashlib.sha256(), 0
        with self.form.part(self.layout, self.block, block) as (pieces, facts):
            (self.folder / _name(tile.row, tile.col)).put(*pieces)
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
        return TileRecord(
            row=tile.row, col=tile.col, rows=rows, cols=cols, digest=digest.hexdigest(), bytes=size, facts=facts
        )

    def holds(self, record: TileRecord) -> bool:
        """Whether a part is there with the bytes that were written: a machine that lost its power may have lost some."""
        part = self.folder / _name(record.row, record.col)
        return part.size_bytes() == record.bytes and hashlib.sha256(part.read_bytes()).hexdigest() == record.digest

    def stands(self, outputs: Sequence[Output]) -> bool:
        """Whether the file is there, as large as it was made."""
        return [output.bytes for output in outputs] == [self.target.size_bytes()]

    def commit(self, records: Sequence[TileRecord]) -> tuple[Output, ...]:
        """Put the file together and publish it.

        Raises
        ------
        OSError
            When it cannot be written; the message names it.
        """
        # Among the parts: what a kill leaves there goes when they go.
        with naming(self.target.url), scratch_directory(self.folder / "whole") as directory:
            file = directory / "whole"
            self.form.assemble(Parts(self.layout, self.folder, tuple(records), directory, self.block), file)
            if self.sidecar is not None:
                suffix, content = self.sidecar
                self.target.with_suffix(suffix).write_bytes(content(self.layout))
            size = self.target.publish(file)
        return (Output(url=self.target.url, bytes=size, media_type=self.media_type),)

    def discard(self) -> None:
        """Remove the parts."""
        self.folder.remove()


@dataclass(frozen=True)
class Parts:
    """All parts of a raster, to be read in row-major order.

    Raises
    ------
    ValueError
        When the parts do not cover the grid.
    """

    layout: RasterLayout
    folder: Location
    records: tuple[TileRecord, ...]
    scratch: Path
    """A local folder for parts that come from an object store."""
    block: int = BLOCK

    def __post_init__(self) -> None:
        covered = sum(record.rows * record.cols for record in self.records)
        if covered != self.layout.grid.pixels:
            raise ValueError(
                f"{self.folder.url} holds {covered} pixels of {self.layout.grid.pixels}: a tile is missing"
            )

    def windows(self, rows: int) -> Iterator[Window]:
        """The raster in pieces of at most so many rows, a tile wide: row by row of them, from left to right."""
        ordered = sorted(self.records, key=lambda record: (record.row, record.col))
        before: list[Path] = []
        two_before: list[Path] = []
        for _, in_row in groupby(ordered, key=lambda record: record.row):
            across = [(record, self.file(record)) for record in in_row]
            # Whoever groups windows has asked for this row before it looks at the one before, but is done with the one before that.
            for file in two_before:
                file.unlink()
            two_before, before = before, [] if self.folder.is_local else [file for _, file in across]
            for top in range(0, across[0][0].rows, rows):
                for record, file in across:
                    yield self._window(record, file, top, min(rows, record.rows - top))

    def _window(self, record: TileRecord, file: Path, top: int, rows: int) -> Window:
        pixels, shape, start = record.rows * record.cols, (rows, record.cols), 0
        values: list[_Plane] = []
        for band in self.layout.bands:
            values.append((start + top * record.cols * band.dtype.itemsize, band.dtype))
            start += pixels * band.dtype.itemsize
        kind = np.dtype("f4" if self.layout.mask == "fraction" else "u1")
        masks = [
            None if number == EVERYWHERE else (start + (number * pixels + top * record.cols) * kind.itemsize, kind)
            for number in record.facts["masks"]
        ]
        return Window(record.row + top, record.col, shape, _Planes(file, shape, values), _Planes(file, shape, masks))

    def file(self, record: TileRecord) -> Path:
        """A part on the local disk, where it can be read in pieces."""
        part = self.folder / _name(record.row, record.col)
        if part.is_local:
            return Path(part.path)
        copy = self.scratch / _name(record.row, record.col)
        copy.write_bytes(part.read_bytes())
        return copy


_Plane = tuple[int, "np.dtype[Any]"]
"""Where it begins in the file, and its type."""


@dataclass(frozen=True, slots=True)
class _Planes(Sequence[Any]):
    """Arrays of one shape in a file. A mapped file would count as memory of the process: a row of tiles may be hundreds of MB."""

    file: Path
    shape: tuple[int, int]
    places: Sequence[_Plane | None]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:
        place = self.places[index]
        if place is None:
            return None
        start, dtype = place
        return np.fromfile(self.file, dtype, self.shape[0] * self.shape[1], offset=start).reshape(self.shape)


def _name(row: int, col: int) -> str:
    return f"{row}_{col}.part"


def _most_bytes(block: PixelBlock, pixels: int) -> int:
    return pixels * sum(array.dtype.itemsize for array in (*block.values, *block.masks))


def _lay_out(block: PixelBlock, buffer: bytearray, *, masked: bool) -> tuple[list[int], list[int], int]:
    """Put bands one after the other, then the masks; gives the number of each band's mask, valid pixels, and bytes."""
    shape = block.values[0].shape
    planes, start = _planes_in(buffer, 0, [values.dtype.newbyteorder("=") for values in block.values], shape)
    for values, plane in zip(block.values, planes, strict=True):
        plane[...] = values
    if not masked:
        return [EVERYWHERE] * len(planes), [planes[0].size] * len(planes), start
    kept: list[npt.NDArray[Any]] = []
    numbers: list[int] = []
    seen: dict[int, int] = {}
    for mask in block.masks:
        if id(mask) not in seen:
            seen[id(mask)], start = _keep(mask, buffer, start, kept)
        numbers.append(seen[id(mask)])
    for plane, number in zip(planes, numbers, strict=True):
        if number != EVERYWHERE:
            np.copyto(plane, 0, where=kept[number] == 0)
    counts = [int(np.count_nonzero(mask)) for mask in kept]
    return numbers, [planes[0].size if number == EVERYWHERE else counts[number] for number in numbers], start


def _keep(mask: npt.NDArray[Any], buffer: bytearray, start: int, kept: list[npt.NDArray[Any]]) -> tuple[int, int]:
    """Put a mask behind what is there, unless it says nothing or nothing new; gives its number and the new end."""
    kind = np.dtype("f4") if mask.dtype.kind == "f" else np.dtype("u1")
    (plane,), end = _planes_in(buffer, start, [kind], mask.shape)
    plane[...] = mask
    if (plane == 1).all() if kind.kind == "f" else plane.all():
        return EVERYWHERE, start
    for number, earlier in enumerate(kept):
        if np.array_equal(earlier, plane):
            return number, start
    kept.append(plane)
    return len(kept) - 1, end


def _planes_in(
    buffer: bytearray, start: int, dtypes: Sequence[np.dtype[Any]], shape: tuple[int, ...]
) -> tuple[list[npt.NDArray[Any]], int]:
    planes, pixels = [], shape[0] * shape[1]
    for dtype in dtypes:
        planes.append(np.frombuffer(buffer, dtype, pixels, start).reshape(shape))
        start += pixels * dtype.itemsize
    return planes, start
