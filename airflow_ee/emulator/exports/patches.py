"""Exported TFRecord images: patches in rows, and the mixer file that says where they lie."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.codecs import example
from airflow_ee.emulator.codecs.tfrecord import framed
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.exports.drafts import Draft, Progress
from airflow_ee.emulator.exports.formats import TfRecordFormat
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.raster import Raster, render
from airflow_ee.emulator.pixels.types import PixelType
from airflow_ee.emulator.values.image import Band

CONTENT_TYPE = "application/octet-stream"
MAX_PATCH_VALUES = 2**27
"""Values of all bands in one patch: a record must fit in memory."""


def write_patches(
    bands: Sequence[Band], grid: Grid, form: TfRecordFormat, folder: Path, progress: Progress
) -> list[Draft]:
    """The files of an export as drafts in ``folder``: row by row, each patch one record."""
    _check_patch(bands, form)
    shards = _Shards(folder, form)
    try:
        patches = list(_patches(grid, form))
        for number, patch in enumerate(patches, start=1):
            rasters = render([band.node for band in bands], patch)
            if form.max_masked_ratio >= 1 or _masked_ratio(rasters) <= form.max_masked_ratio:
                shards.add(example.encode(_features(bands, rasters, form)))
            progress(number / len(patches))
    finally:
        shards.close()
    if form.max_masked_ratio != 1:
        return shards.drafts
    return [*shards.drafts, _mixer(grid, form, folder)]


def _check_patch(bands: Sequence[Band], form: TfRecordFormat) -> None:
    sides = [patch + margin for patch, margin in zip(form.patch, form.margin, strict=True)]
    if sides[0] * sides[1] * len(bands) > MAX_PATCH_VALUES:
        raise invalid(f"Patches of {sides[0]}x{sides[1]} pixels with {len(bands)} bands are too large.")


def _patches(grid: Grid, form: TfRecordFormat) -> Iterator[Grid]:
    """Patches with their margins; what does not fill a patch on the right and at the bottom is left out."""
    width, height = form.patch
    left, top = (margin // 2 for margin in form.margin)
    for row in range(0, grid.height - height + 1, height):
        for col in range(0, grid.width - width + 1, width):
            yield grid.window(row=row - top, col=col - left, height=height + 2 * top, width=width + 2 * left)


def _masked_ratio(rasters: Sequence[Raster]) -> float:
    return float((np.minimum.reduce([raster.mask for raster in rasters]) < 1).mean())


def _features(bands: Sequence[Band], rasters: Sequence[Raster], form: TfRecordFormat) -> dict[str, example.Values]:
    planes = {
        band.name: _plane(raster, band.type, form.default_value) for band, raster in zip(bands, rasters, strict=True)
    }
    if form.collapse_bands:
        kind = _common([plane.dtype for plane in planes.values()])
        planes = {bands[0].name: np.stack([plane.astype(kind) for plane in planes.values()])}
    return {name: _listed(plane) for name, plane in planes.items()}


def _plane(raster: Raster, type_: PixelType, default: float) -> NDArray[Any]:
    """Pixels with the default where they are masked, even in part; whole-number bands cut and clamp it."""
    dtype = type_.dtype
    if dtype.kind in "iu":
        span = np.iinfo(dtype)
        default = int(np.clip(np.trunc(default), span.min, span.max))
    return np.where(raster.mask < 1, np.asarray(default, dtype), raster.values.astype(dtype))


def _common(dtypes: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    """Bytes, whole numbers, floats: the furthest of them that any band needs."""
    if any(dtype.kind == "f" for dtype in dtypes):
        return np.dtype(np.float32)
    return np.dtype(np.uint8) if all(dtype == np.uint8 for dtype in dtypes) else np.dtype(np.int64)


def _listed(plane: NDArray[Any]) -> example.Values:
    """Bytes are one string, other whole numbers int64, real ones float32; row by row."""
    kind = _common([plane.dtype])
    return [plane.tobytes()] if kind == np.uint8 else plane.ravel().astype(kind)


def _mixer(grid: Grid, form: TfRecordFormat, folder: Path) -> Draft:
    across, down = grid.width // form.patch[0], grid.height // form.patch[1]
    crs = grid.projection.crs
    named: Mapping[str, Any] = {"crs": crs.text} if crs.is_code else {"wkt": crs.text}
    mixer = {
        "projection": {**named, "affine": {"doubleMatrix": [float(term) for term in grid.transform]}},
        "patchDimensions": list(form.patch),
        "patchesPerRow": across,
        "totalPatches": across * down,
    }
    path = folder / "mixer.json"
    path.write_text(json.dumps(mixer, indent=2), encoding="utf-8")
    return Draft(path, "-mixer.json", "application/json")


class _Shards:
    """Files of at most so many bytes of records each; one at least."""

    def __init__(self, folder: Path, form: TfRecordFormat) -> None:
        self._folder = folder
        self._form = form
        self._file: BinaryIO | gzip.GzipFile | None = None
        self._size = 0
        self.drafts: list[Draft] = []
        self._open()

    def add(self, data: bytes) -> None:
        """One more record, in a new file where this one would grow too large."""
        record = framed(data)
        if self._size and self._size + len(record) > self._form.max_bytes:
            self.close()
            self._open()
        assert self._file is not None
        self._file.write(record)
        self._size += len(record)

    def _open(self) -> None:
        suffix = f"-{len(self.drafts):05d}.tfrecord" + (".gz" if self._form.compress else "")
        path = self._folder / f"shard{suffix}"
        self._file = gzip.GzipFile(path, "wb", mtime=0) if self._form.compress else path.open("wb")
        self._size = 0
        self.drafts.append(Draft(path, suffix, CONTENT_TYPE))

    def close(self) -> None:
        """End the file that is being written."""
        if self._file is not None:
            self._file.close()
            self._file = None
