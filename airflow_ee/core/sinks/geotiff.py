"""GeoTIFF and COG with what people look for: crs, transform, band names, nodata or mask, scale and offset, provenance.

A tile becomes compressed blocks as soon as it is there; at the end these are only moved into the whole file, whose directories GDAL has made.
Bytes depend on pixels and arguments only: no clock, fixed block order, one codec thread.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.enums
import rasterio.errors
import rasterio.io
import rasterio.windows
from affine import Affine
from rasterio._err import CPLE_BaseError

from airflow_ee.core.canvas import Canvas
from airflow_ee.core.decode import PixelBlock
from airflow_ee.core.grid import PixelGrid, parse_crs
from airflow_ee.core.sinks.layout import MaskMode, RasterLayout, TileRecord
from airflow_ee.core.sinks.nodata import default_nodata, fitting_nodata
from airflow_ee.core.sinks.parts import BLOCK, Part, Parts
from airflow_ee.core.sinks.tiff_blocks import (
    MASK_COMPRESSION,
    ZSTD_LEVEL,
    encode_block,
    encode_mask_block,
    predictor_of,
)
from airflow_ee.core.sinks.tiff_directories import (
    COMPRESSION,
    NODATA,
    BlockSource,
    Directory,
    check_whole,
    read_directories,
    write_tiff,
)

__all__ = ["GeoTiffForm", "check_layout", "choose_nodata", "write_geotiff"]

CACHE_BYTES = 64 * 1024 * 1024
"""Of blocks that GDAL keeps while it makes overviews, block by block."""
SMALLEST_OVERVIEW_BLOCK = 64
"""GDAL's own limit."""
_SIZE = np.dtype("<u4")
"""Of the sizes of blocks, before the first one of a part."""
_WIDER = {"uint8": "uint16", "int8": "int16", "uint16": "uint32", "int16": "int32", "uint32": "int64", "int32": "int64"}
_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A GeoTIFF before it has pixels."""

    grid: PixelGrid
    bands: tuple[str, ...]
    dtype: np.dtype[Any]
    mask: MaskMode
    fill: float | None
    """nodata."""
    cloud_optimized: bool
    block: int = BLOCK
    scales: Sequence[float] | None = None
    offsets: Sequence[float] | None = None
    units: Sequence[str] | None = None
    tags: Mapping[str, str] | None = None

    @property
    def images(self) -> int:
        """How many directories it has before it has overviews."""
        return 2 if self.mask == "band" else 1

    @property
    def planes(self) -> int:
        """Bands that lie in blocks of their own."""
        return 1 if self.cloud_optimized else len(self.bands)


@dataclass(frozen=True, slots=True)
class GeoTiffForm:
    """Parts that are compressed blocks, and the GeoTIFF of them; a :class:`~airflow_ee.core.sinks.parts.PartForm`.

    Blocks of a plain GeoTIFF hold one band, those of a cloud-optimized one all bands, as GDAL's own drivers have it.
    """

    cloud_optimized: bool

    @contextmanager
    def part(self, layout: RasterLayout, side: int, pixels: PixelBlock, /) -> Iterator[Part]:
        """A tile's blocks, compressed.

        Raises
        ------
        ValueError
            When the nodata that was asked for is also a valid value.
        """
        form = _form(layout, side, cloud_optimized=self.cloud_optimized)
        counts = {id(mask): int(np.count_nonzero(mask)) for mask in pixels.masks}
        whole = pixels.values[0].size
        masks = [None if form.mask == "none" or counts[id(mask)] == whole else mask for mask in pixels.masks]
        clashing = _clashing_bands(form, pixels.values, masks)
        if clashing and layout.nodata is not None:
            raise ValueError(_CLASH.format(form.fill, ", ".join(clashing)))
        facts = {
            "valid": [counts[id(mask)] for mask in pixels.masks],
            "one_mask": form.mask != "band" or _all_equal(masks),
            "clashing": clashing,
        }
        blocks = list(_blocks(form, pixels.values, masks))
        sizes = np.array([len(block) for block in blocks], _SIZE)
        yield Part((sizes.tobytes(), *blocks), facts)

    def assemble(self, parts: Parts, file: Path) -> None:
        """Write the whole file, overviews and all.

        Parameters
        ----------
        file
            A scratch file: the caller publishes it when it is complete.

        Raises
        ------
        ValueError
            When nodata is also a valid value, or bands with different masks shall share one.
        """
        layout, facts = parts.layout, [record.facts for record in parts.records]
        if not all(fact["one_mask"] for fact in facts):
            raise ValueError(_SEVERAL_MASKS.format("the bands are masked in different pixels"))
        form = _form(layout, parts.block, cloud_optimized=self.cloud_optimized)
        clashing = {band for fact in facts for band in fact["clashing"]}
        if clashing:
            if any(min(record.facts["valid"]) < record.rows * record.cols for record in parts.records):
                raise ValueError(_CLASH.format(form.fill, ", ".join(sorted(clashing))))
            # Nothing is masked, so nothing needs marking.
            form = replace(form, fill=None)
        _finish(file, form, _join(form, [_part_file(form, parts, record) for record in parts.records]))


def check_layout(layout: RasterLayout) -> None:
    """Refuse what no GeoTIFF can hold, before a pixel is asked for.

    Raises
    ------
    ValueError
        Types, masks or nodata that do not fit.
    """
    if layout.mask == "fraction":
        raise ValueError("mask='fraction' is kept by ZARR, NPY, NPZ and TF_RECORD; a GeoTIFF has masks of 0 and 1")
    _form(layout, BLOCK, cloud_optimized=False)


def write_geotiff(
    path: Path,
    canvas: Canvas,
    *,
    cloud_optimized: bool,
    mask: MaskMode = "nodata",
    nodata: float | None = None,
    widen: bool = False,
    scales: Sequence[float] | None = None,
    offsets: Sequence[float] | None = None,
    units: Sequence[str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write a canvas as a GeoTIFF.

    Parameters
    ----------
    path
        A scratch file: the caller publishes it when it is complete.
    mask
        ``nodata``: invalid pixels hold ``nodata``; ``band``: they are 0 and an internal mask tells them apart; ``none``:
        they are as the service wrote them, and nothing tells them apart.
    nodata
        None: chosen by :func:`choose_nodata`.
    widen
        Take the next wider type where valid pixels use every value of their own and leave none for nodata.
    scales, offsets
        One a band: physical value = scale * value + offset.

    Raises
    ------
    ValueError
        When nodata is also a valid value, or bands with different masks shall share one.
    """
    dtype = _common_type([values.dtype for values in canvas.values])
    if widen and mask == "nodata" and nodata is None and _clashing(canvas, default_nodata(dtype)):
        dtype = np.promote_types(dtype, _WIDER.get(dtype.name, dtype))
    fill = choose_nodata(canvas, dtype, nodata) if mask == "nodata" else None
    if mask == "band":
        _require_one_mask(canvas)
    form = _File(
        grid=canvas.grid, bands=canvas.bands, dtype=dtype, mask=mask, fill=fill, cloud_optimized=cloud_optimized, scales=scales,
        offsets=offsets, units=units, tags=tags,
    )  # fmt: skip
    masks = [None] * len(canvas.bands) if mask == "none" else canvas.valid
    blocks, sizes = path.with_suffix(".blocks"), []
    with blocks.open("wb") as target:
        sizes = [target.write(block) for block in _blocks(form, canvas.values, masks)]
    _finish(path, form, _join(form, [_PartFile(blocks, (0, 0), canvas.grid.shape, np.array(sizes, np.uint64), 0)]))
    blocks.unlink()


def choose_nodata(canvas: Canvas, dtype: np.dtype[Any], nodata: float | None) -> float | int | None:
    """The value that marks invalid pixels: NaN for floats, the lowest of a signed type, the highest of an unsigned one.

    Raises
    ------
    ValueError
        When the value does not fit the type, or is the value of a valid pixel too.
    """
    fill = default_nodata(dtype) if nodata is None else fitting_nodata(nodata, dtype)
    clashes = _clashing(canvas, fill)
    if not clashes:
        return fill
    if nodata is None and all(bool(valid.all()) for valid in canvas.valid):
        return None  # nothing is masked, so nothing needs marking
    raise ValueError(_CLASH.format(fill, ", ".join(clashes)))


def _clashing(canvas: Canvas, fill: float) -> list[str]:
    """Bands in which valid pixels have the value that shall mark invalid ones."""
    return [
        band
        for band, values, valid in zip(canvas.bands, canvas.values, canvas.valid, strict=True)
        if not np.isnan(fill) and bool(np.any((values == fill) & valid))
    ]


def _form(layout: RasterLayout, block: int, *, cloud_optimized: bool) -> _File:
    dtype = _common_type([band.dtype for band in layout.bands])
    fill = None
    if layout.mask == "nodata":
        fill = default_nodata(dtype) if layout.nodata is None else fitting_nodata(layout.nodata, dtype)
    bands = layout.bands
    return _File(
        grid=layout.grid,
        bands=layout.names,
        dtype=dtype,
        mask=layout.mask,
        fill=fill,
        cloud_optimized=cloud_optimized,
        block=block,
        scales=[band.scale for band in bands],
        offsets=[band.offset for band in bands],
        units=[band.unit for band in bands] if any(band.unit for band in bands) else None,
        tags=layout.tags,
    )


def _common_type(dtypes: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    dtype = np.result_type(*dtypes)
    if dtype.name not in _TYPES:
        raise ValueError(f"GeoTIFF cannot hold pixels of type {dtype.name}")
    return dtype


_CLASH = "nodata: {} is a value of valid pixels of {}; choose another nodata or mask='band'"
_SEVERAL_MASKS = "mask='band': {}, and a GeoTIFF has one mask for all bands; use mask='nodata', or write the bands to files of their own"


def _require_one_mask(canvas: Canvas) -> None:
    first = canvas.valid[0]
    for band, valid in zip(canvas.bands, canvas.valid, strict=True):
        if not np.array_equal(first, valid):
            raise ValueError(_SEVERAL_MASKS.format(f"{band} is masked in other pixels than {canvas.bands[0]}"))


@dataclass(frozen=True, slots=True)
class _PartFile:
    """Blocks of a rectangle, one after the other: row by row, band after band where blocks hold one, then the mask's."""

    file: Path
    corner: tuple[int, int]
    """``(row, column)`` in the whole raster, multiples of the block's side."""
    shape: tuple[int, int]
    """``(rows, columns)`` of pixels."""
    sizes: npt.NDArray[np.uint64]
    start: int
    """Where the first block begins."""


def _part_file(form: _File, parts: Parts, record: TileRecord) -> _PartFile:
    file, shape = parts.file(record), (record.rows, record.cols)
    across, down = _blocks_across(form, shape)
    count = across * down * (form.planes + form.images - 1)
    sizes = np.fromfile(file, _SIZE, count)
    return _PartFile(file, (record.row, record.col), shape, sizes.astype(np.uint64), sizes.nbytes)


def _blocks_across(form: _File, shape: tuple[int, int]) -> tuple[int, int]:
    """``(rows, columns)`` of blocks over so many pixels."""
    return -(-shape[0] // form.block), -(-shape[1] // form.block)


def _join(form: _File, parts: Sequence[_PartFile]) -> list[BlockSource]:
    """Where the blocks of the whole file are among the parts."""
    planes_before = 0
    sources = []
    for directory, planes in zip(_empty_directories(form), (form.planes, 1), strict=False):
        count = len(directory.offsets)
        source = BlockSource(
            directory,
            [part.file for part in parts],
            np.zeros(count, np.intp),
            np.zeros(count, np.uint64),
            np.zeros(count, np.uint64),
        )
        for number, part in enumerate(parts):
            down, across = _blocks_across(form, part.shape)
            starts = part.start + np.cumsum(part.sizes, dtype=np.uint64) - part.sizes
            mine = slice(planes_before * down * across, (planes_before + planes) * down * across)
            places = _places_of(part, form, planes)
            source.file_of[places] = number
            source.offsets[places], source.sizes[places] = starts[mine], part.sizes[mine]
        sources.append(source)
        planes_before += planes
    return sources


def _places_of(part: _PartFile, form: _File, planes: int) -> npt.NDArray[np.intp]:
    """Numbers of a part's blocks among those of the whole file, which come row by row, plane by plane."""
    whole_down, whole_across = _blocks_across(form, form.grid.shape)
    down, across = _blocks_across(form, part.shape)
    rows, cols = part.corner[0] // form.block + np.arange(down), part.corner[1] // form.block + np.arange(across)
    plane = np.arange(planes) * whole_down * whole_across
    return (plane[:, None, None] + rows[None, :, None] * whole_across + cols[None, None, :]).ravel()


def _empty_directories(form: _File) -> list[Directory]:
    """What GDAL tells of the whole file when it has no blocks: the image, and its mask if there is one."""
    with rasterio.io.MemoryFile() as memory:  # type: ignore[no-untyped-call]
        with _gdal_settings(), memory.open(**_profile(form)) as target:
            _describe(target, form)
            if form.mask == "band":
                target.write_mask(np.ones((1, 1), bool), window=rasterio.windows.Window(0, 0, 1, 1))
        return [_corrected(directory, form) for directory in read_directories(memory.getbuffer())]


def _corrected(directory: Directory, form: _File) -> Directory:
    """A mask with the compression that its blocks have here; an image with exact nodata.

    rasterio hands nodata to GDAL as a float64, of which GDAL makes -9.22e18 for int64, and reads it as -9.
    """
    if directory.is_mask:
        return directory.with_number(COMPRESSION, MASK_COMPRESSION)
    return directory.with_text(NODATA, str(form.fill)) if isinstance(form.fill, int) else directory


def _finish(file: Path, form: _File, sources: Sequence[BlockSource]) -> None:
    """Write the file, with overviews if it shall have them."""
    factors = _overview_factors(form)
    if not factors:
        write_tiff(file, sources, cloud_optimized=form.cloud_optimized)
        return
    plain = file.with_suffix(".plain.tif")
    write_tiff(plain, sources, cloud_optimized=False)
    settings = {"GDAL_TIFF_OVR_BLOCKSIZE": max(form.block, SMALLEST_OVERVIEW_BLOCK), "ZSTD_LEVEL_OVERVIEW": ZSTD_LEVEL}
    with _gdal_settings(**settings), rasterio.open(plain, "r+") as target:
        # Averages of class numbers or QA bits would mean nothing.
        target.build_overviews(factors, rasterio.enums.Resampling.nearest)
    check_whole(plain, images=form.images * (1 + len(factors)))
    whole = [BlockSource.within(plain, directory) for directory in read_directories(plain)]
    write_tiff(file, whole, cloud_optimized=form.cloud_optimized)
    plain.unlink()


def _overview_factors(form: _File) -> list[int]:
    longest = max(form.grid.shape) if form.cloud_optimized else 0
    return [2**level for level in range(1, 16) if longest > BLOCK * 2 ** (level - 1)]


def _profile(form: _File) -> dict[str, Any]:
    grid = form.grid
    return {
        "driver": "GTiff",
        "width": grid.width,
        "height": grid.height,
        "count": len(form.bands),
        "dtype": form.dtype.name,
        "crs": rasterio.crs.CRS.from_wkt(parse_crs(grid.crs).to_wkt()),
        "transform": Affine(*grid.transform),
        "nodata": form.fill,
        "interleave": "pixel" if form.cloud_optimized else "band",
        "tiled": True,
        "blockxsize": form.block,
        "blockysize": form.block,
        "compress": "ZSTD",
        "predictor": predictor_of(form.dtype),
        "sparse_ok": True,
        # Without this GDAL takes the fourth of four uint8 bands for alpha, and its zeros for a mask of the others.
        "photometric": "MINISBLACK",
        "endianness": "LITTLE",
        "bigtiff": "IF_SAFER",
    }


@contextmanager
def _gdal_settings(**more: Any) -> Iterator[None]:
    # The mask belongs inside the file; a sidecar would be lost when the file is moved.
    options = {"GDAL_TIFF_INTERNAL_MASK": True, "GDAL_NUM_THREADS": 1, "GDAL_CACHEMAX": CACHE_BYTES, **more}
    try:
        with rasterio.Env(**options):  # type: ignore[no-untyped-call]
            yield
    except (rasterio.errors.RasterioError, CPLE_BaseError) as problem:
        raise OSError(errno.EIO, f"GDAL could not write the file: {problem}") from problem


def _describe(file: Any, form: _File) -> None:
    file.descriptions = form.bands
    if form.scales is not None:
        file.scales = tuple(form.scales)
    if form.offsets is not None:
        file.offsets = tuple(form.offsets)
    if form.units is not None:
        file.units = tuple(form.units)
    file.update_tags(**dict(form.tags or {}))


_Masks = Sequence["npt.NDArray[Any] | None"]


def _all_equal(masks: _Masks) -> bool:
    first = masks[0]
    return all(
        mask is first or (mask is not None and first is not None and np.array_equal(mask != 0, first != 0))
        for mask in masks
    )


def _clashing_bands(form: _File, values: Sequence[npt.NDArray[Any]], masks: _Masks) -> list[str]:
    """Bands in which valid pixels have the value that shall mark masked ones."""
    if form.mask != "nodata" or form.fill is None or np.isnan(form.fill):
        return []
    return [
        band
        for band, pixels, mask in zip(form.bands, values, masks, strict=True)
        if bool(np.any((pixels == form.fill) & (True if mask is None else mask != 0)))
    ]


def _blocks(form: _File, values: Sequence[npt.NDArray[Any]], masks: _Masks) -> Iterator[bytes]:
    """All blocks over some pixels, in the order of :class:`_PartFile`; masked pixels are marked."""
    bands = list(zip(values, masks, strict=True))
    for plane in [bands] if form.planes == 1 else [[band] for band in bands]:
        for place in _squares(form, values[0].shape):
            yield encode_block(_pixels(form, plane, place))
    if form.mask == "band":
        for place in _squares(form, values[0].shape):
            valid = np.zeros((form.block, form.block), bool)
            rows, cols = values[0][place].shape
            valid[:rows, :cols] = True if masks[0] is None else masks[0][place] != 0
            yield encode_mask_block(valid)


def _squares(form: _File, shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    for row in range(0, shape[0], form.block):
        for col in range(0, shape[1], form.block):
            yield slice(row, row + form.block), slice(col, col + form.block)


def _pixels(
    form: _File, bands: Sequence[tuple[npt.NDArray[Any], npt.NDArray[Any] | None]], place: tuple[slice, slice]
) -> npt.NDArray[Any]:
    """Pixels of a block, shape (rows, columns, bands), filled up with 0 at the raster's end."""
    rows, cols = bands[0][0][place].shape
    shape, dtype = (form.block, form.block, len(bands)), form.dtype.newbyteorder("<")
    block = np.empty(shape, dtype) if rows == cols == form.block else np.zeros(shape, dtype)
    for index, (values, mask) in enumerate(bands):
        part = block[:rows, :cols, index]
        np.copyto(part, values[place], casting="unsafe")
        if mask is not None:
            part[mask[place] == 0] = 0 if form.fill is None else form.fill
    return block
