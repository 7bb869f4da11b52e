"""GeoTIFF and COG with what people look for: crs, transform, band names, nodata or mask, scale and offset, provenance.

Bytes depend on pixels and arguments only: no clock, fixed block order, one codec thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.windows import Window

from airflow_ee.core.canvas import Canvas
from airflow_ee.core.grid import parse_crs

__all__ = ["MaskMode", "choose_nodata", "write_geotiff"]

MaskMode = Literal["nodata", "band", "none"]
BLOCK = 256
_WIDER = {"uint8": "uint16", "int8": "int16", "uint16": "uint32", "int16": "int32", "uint32": "int64", "int32": "int64"}
_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")


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
    dtype = _common_type(canvas)
    if widen and mask == "nodata" and nodata is None and _clashing(canvas, _default_nodata(dtype)):
        dtype = np.promote_types(dtype, _WIDER.get(dtype.name, dtype))
    fill = choose_nodata(canvas, dtype, nodata) if mask == "nodata" else None
    if mask == "band":
        _require_one_mask(canvas)
    plain = path.with_suffix(".plain.tif") if cloud_optimized else path
    profile = _profile(canvas, dtype, fill)
    with _gdal_settings(), rasterio.open(plain, "w", **profile) as file:
        _describe(file, canvas, scales, offsets, units, tags)
        for rows in _row_blocks(canvas.grid.height):
            _write_rows(file, canvas, rows, dtype, mask, fill)
    if cloud_optimized:
        with _gdal_settings():
            rasterio.shutil.copy(
                str(plain),
                str(path),
                driver="COG",
                compress="DEFLATE",
                predictor="YES",
                level=6,
                blocksize=BLOCK,
                # Averages of class numbers or QA bits would mean nothing.
                overview_resampling="NEAREST",
                num_threads=1,
                bigtiff="IF_SAFER",
            )
        plain.unlink()


def choose_nodata(canvas: Canvas, dtype: np.dtype[Any], nodata: float | None) -> float | int | None:
    """The value that marks invalid pixels: NaN for floats, the lowest of a signed type, the highest of an unsigned one.

    Raises
    ------
    ValueError
        When the value does not fit the type, or is the value of a valid pixel too.
    """
    fill = _default_nodata(dtype) if nodata is None else _fitting(nodata, dtype)
    clashes = _clashing(canvas, fill)
    if not clashes:
        return fill
    if nodata is None and all(bool(valid.all()) for valid in canvas.valid):
        return None  # nothing is masked, so nothing needs marking
    raise ValueError(
        f"nodata: {fill} is a value of valid pixels of {', '.join(clashes)}; choose another nodata or mask='band'"
    )


def _clashing(canvas: Canvas, fill: float) -> list[str]:
    """Bands in which valid pixels have the value that shall mark invalid ones."""
    return [
        band
        for band, values, valid in zip(canvas.bands, canvas.values, canvas.valid, strict=True)
        if not np.isnan(fill) and bool(np.any((values == fill) & valid))
    ]


def _default_nodata(dtype: np.dtype[Any]) -> float | int:
    if dtype.kind == "f":
        return float("nan")
    limits = np.iinfo(dtype)
    return int(limits.min) if dtype.kind == "i" else int(limits.max)


def _fitting(nodata: float, dtype: np.dtype[Any]) -> float | int:
    if dtype.kind == "f":
        return float(nodata)
    limits = np.iinfo(dtype)
    if not np.isfinite(nodata) or nodata != int(nodata) or not limits.min <= nodata <= limits.max:
        raise ValueError(f"nodata must be a {dtype.name}, {limits.min} to {limits.max}, got {nodata}")
    return int(nodata)


def _common_type(canvas: Canvas) -> np.dtype[Any]:
    dtype = np.result_type(*(values.dtype for values in canvas.values))
    if dtype.name not in _TYPES:
        raise ValueError(f"GeoTIFF cannot hold pixels of type {dtype.name}")
    return dtype


def _require_one_mask(canvas: Canvas) -> None:
    first = canvas.valid[0]
    for band, valid in zip(canvas.bands, canvas.valid, strict=True):
        if not np.array_equal(first, valid):
            raise ValueError(
                f"mask='band': {band} is masked in other pixels than {canvas.bands[0]}, and a GeoTIFF has one mask for all "
                "bands; use mask='nodata', or write the bands to files of their own"
            )


def _profile(canvas: Canvas, dtype: np.dtype[Any], fill: float | None) -> dict[str, Any]:
    grid = canvas.grid
    tiled = min(grid.width, grid.height) >= BLOCK
    layout = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK} if tiled else {}
    return {
        "driver": "GTiff",
        "width": grid.width,
        "height": grid.height,
        "count": len(canvas.bands),
        "dtype": dtype.name,
        "crs": rasterio.crs.CRS.from_wkt(parse_crs(grid.crs).to_wkt()),
        "transform": Affine(*grid.transform),
        "nodata": fill,
        "compress": "DEFLATE",
        "predictor": 3 if dtype.kind == "f" else 2,
        "interleave": "band",
        "bigtiff": "IF_SAFER",
        "num_threads": 1,
        **layout,
    }


@contextmanager
def _gdal_settings() -> Iterator[None]:
    # The mask belongs inside the file; a sidecar would be lost when the file is moved.
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True, GDAL_NUM_THREADS=1):  # type: ignore[no-untyped-call]
        yield


def _describe(
    file: Any,
    canvas: Canvas,
    scales: Sequence[float] | None,
    offsets: Sequence[float] | None,
    units: Sequence[str] | None,
    tags: Mapping[str, str] | None,
) -> None:
    file.descriptions = canvas.bands
    if scales is not None:
        file.scales = tuple(scales)
    if offsets is not None:
        file.offsets = tuple(offsets)
    if units is not None:
        file.units = tuple(units)
    file.update_tags(**dict(tags or {}))


def _row_blocks(height: int) -> Iterator[slice]:
    for start in range(0, height, BLOCK):
        yield slice(start, min(start + BLOCK, height))


def _write_rows(
    file: Any, canvas: Canvas, rows: slice, dtype: np.dtype[Any], mask: MaskMode, fill: float | None
) -> None:
    window = Window(0, rows.start, canvas.grid.width, rows.stop - rows.start)
    for index, (values, valid) in enumerate(zip(canvas.values, canvas.valid, strict=True), start=1):
        file.write(_filled(values[rows], valid[rows], dtype, mask, fill), index, window=window)
    if mask == "band":
        file.write_mask(canvas.valid[0][rows], window=window)


def _filled(
    values: npt.NDArray[Any], valid: npt.NDArray[np.bool_], dtype: np.dtype[Any], mask: MaskMode, fill: float | None
) -> npt.NDArray[Any]:
    converted = values.astype(dtype)
    if mask == "none":
        return converted
    converted[~valid] = 0 if fill is None else fill
    return converted
