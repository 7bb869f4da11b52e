"""NPY and NPZ files of parts, written row by row, the same bytes for the same pixels."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from airflow_ee.core.sinks.layout import MASK_SUFFIX, BandLayout, RasterLayout
from airflow_ee.core.sinks.nodata import band_nodata
from airflow_ee.core.sinks.parts import Parts, Window

__all__ = ["assemble_npy", "assemble_npz", "marked"]

ROWS = 64
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""Of all members of a zip file, which has to name a time: the earliest that it can."""


def assemble_npy(parts: Parts, file: Path) -> None:
    """One structured array of shape (height, width) as Earth Engine makes them, a field for each band.

    With ``mask="band"`` or ``"fraction"`` a field ``<band>_mask`` more for each band, of uint8 or float32; with ``"nodata"`` masked pixels
    hold the value for it.

    Raises
    ------
    ValueError
        When nodata is also a valid value.
    """
    layout = parts.layout
    fields = [(band.name, band.dtype) for band in layout.bands]
    if layout.mask in {"band", "fraction"}:
        fields += [(band.name + MASK_SUFFIX, _mask_dtype(layout)) for band in layout.bands]
    dtype = np.dtype(fields)
    with file.open("wb") as target:
        _write_header(target, dtype, layout.grid.shape)
        for windows in _rows_of_windows(parts):
            rows = np.zeros((windows[0].shape[0], layout.grid.width), dtype)
            for window in windows:
                _fill(rows[:, window.col : window.col + window.shape[1]], layout, window)
            target.write(rows.data)


def assemble_npz(parts: Parts, file: Path) -> None:
    """One plain array of shape (height, width) for each band, and one for its mask; not compressed.

    Raises
    ------
    ValueError
        When nodata is also a valid value.
    """
    layout = parts.layout
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for index, band in enumerate(layout.bands):
            with _member(archive, band.name) as target:
                _write_header(target, band.dtype, layout.grid.shape)
                for rows in _band_rows(parts, index, band.dtype, masks=False):
                    target.write(rows.data)
            if layout.mask in {"band", "fraction"}:
                with _member(archive, band.name + MASK_SUFFIX) as target:
                    _write_header(target, _mask_dtype(layout), layout.grid.shape)
                    for rows in _band_rows(parts, index, _mask_dtype(layout), masks=True):
                        target.write(rows.data)


def _rows_of_windows(parts: Parts) -> Iterator[list[Window]]:
    for _, windows in groupby(parts.windows(ROWS), key=lambda window: window.row):
        yield list(windows)


def _band_rows(parts: Parts, index: int, dtype: np.dtype[Any], *, masks: bool) -> Iterator[npt.NDArray[Any]]:
    for windows in _rows_of_windows(parts):
        rows = np.ones((windows[0].shape[0], parts.layout.grid.width), dtype)
        for window in windows:
            cols = slice(window.col, window.col + window.shape[1])
            mask = window.masks[index]
            if not masks:
                rows[:, cols] = marked(parts.layout, parts.layout.bands[index], window.values[index], mask)
            elif mask is not None:
                rows[:, cols] = mask
        yield rows


def _fill(target: npt.NDArray[Any], layout: RasterLayout, window: Window) -> None:
    for band, values, mask in zip(layout.bands, window.values, window.masks, strict=True):
        target[band.name] = marked(layout, band, values, mask)
        if layout.mask in {"band", "fraction"}:
            target[band.name + MASK_SUFFIX] = 1 if mask is None else mask


def marked(
    layout: RasterLayout, band: BandLayout, values: npt.NDArray[Any], mask: npt.NDArray[Any] | None
) -> npt.NDArray[Any]:
    """Values with nodata where masked, if the layout marks them so.

    Raises
    ------
    ValueError
        When nodata is also a valid value.
    """
    if layout.mask != "nodata" or mask is None:
        return values
    fill = band_nodata(layout, band)
    if ((values == fill) & (mask != 0)).any():
        raise ValueError(
            f"nodata: {fill} is a value of valid pixels of {band.name}; choose another nodata or mask='band'"
        )
    return np.where(mask != 0, values, np.array(fill, band.dtype))


def _mask_dtype(layout: RasterLayout) -> np.dtype[Any]:
    return np.dtype("f4" if layout.mask == "fraction" else "u1")


def _write_header(target: BinaryIO | Any, dtype: np.dtype[Any], shape: tuple[int, int]) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    )
    target.write(header.getvalue())


def _member(archive: zipfile.ZipFile, name: str) -> Any:
    return archive.open(zipfile.ZipInfo(f"{name}.npy", LONG_AGO), "w", force_zip64=True)
