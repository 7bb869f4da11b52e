"""An image as TFRecord patches, laid out as Earth Engine's own exports are: row by row, with a mixer file that puts them together.

Other than there, nothing is left out at the right and at the bottom: patches are filled up with masked pixels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from airflow_ee.core.sinks.layout import MASK_SUFFIX, RasterLayout
from airflow_ee.core.sinks.nodata import band_nodata
from airflow_ee.core.sinks.npy import marked
from airflow_ee.core.sinks.parts import Parts, Window
from airflow_ee.core.sinks.tfrecord import GzipWriter, deflate_piece, encode_example, frame_record, pixel_feature

__all__ = ["PATCH", "assemble_tfrecord", "mixer"]

PATCH = 256
"""Pixels a side, as exports of the service have them unless told otherwise."""


def assemble_tfrecord(parts: Parts, file: Path) -> None:
    """A gzipped file of one ``tf.train.Example`` for each patch, with a feature of all its pixels for each band.

    With ``mask="band"`` or ``"fraction"`` a feature ``<band>_mask`` more for each band; with ``"nodata"`` masked pixels hold the value for
    it. ``patch_row`` and ``patch_col`` tell where a patch lies, in pixels of the whole.

    Raises
    ------
    ValueError
        When nodata is also a valid value.
    """
    with file.open("wb") as target:
        writer = GzipWriter(target)
        for row, rows in _rows_of_patches(parts):
            for col in range(0, parts.layout.grid.width, PATCH):
                place = {"patch_row": np.array([row]), "patch_col": np.array([col])}
                pixels = {name: pixel_feature(_patch(plane, col, fill)) for name, (plane, fill) in rows.items()}
                writer.write(deflate_piece(frame_record(encode_example({**pixels, **place}))))
        writer.finish()


def mixer(layout: RasterLayout) -> bytes:
    """The JSON file that says how patches make the image."""
    grid = layout.grid
    across, down = -(-grid.width // PATCH), -(-grid.height // PATCH)
    told = {
        "projection": {"crs": grid.crs, "affine": {"doubleMatrix": list(grid.transform)}},
        "patchDimensions": [PATCH, PATCH],
        "patchesPerRow": across,
        "totalPatches": across * down,
    }
    return json.dumps(told, sort_keys=True).encode()


def _rows_of_patches(parts: Parts) -> Iterator[tuple[int, dict[str, tuple[npt.NDArray[Any], float | int]]]]:
    """For each row of patches its first row of pixels, and the planes of the whole width with what fills them up."""
    for row, windows in groupby(parts.windows(PATCH), key=lambda window: window.row):
        yield row, _planes(parts.layout, list(windows))


def _planes(layout: RasterLayout, windows: list[Window]) -> dict[str, tuple[npt.NDArray[Any], float | int]]:
    planes: dict[str, tuple[npt.NDArray[Any], float | int]] = {}
    masks = layout.mask in {"band", "fraction"}
    for index, band in enumerate(layout.bands):
        fill = band_nodata(layout, band) if layout.mask == "nodata" else 0
        values = [marked(layout, band, window.values[index], window.masks[index]) for window in windows]
        planes[band.name] = np.concatenate(values, axis=1), fill
        if masks:
            planes[band.name + MASK_SUFFIX] = np.concatenate([_mask(layout, w, index) for w in windows], axis=1), 0
    return planes


def _mask(layout: RasterLayout, window: Window, index: int) -> npt.NDArray[Any]:
    mask = window.masks[index]
    return np.ones(window.shape, "f4" if layout.mask == "fraction" else "u1") if mask is None else mask


def _patch(plane: npt.NDArray[Any], col: int, fill: float | int) -> npt.NDArray[Any]:
    cut = plane[:, col : col + PATCH]
    if cut.shape == (PATCH, PATCH):
        return np.ascontiguousarray(cut)
    whole = np.full((PATCH, PATCH), fill, plane.dtype)
    whole[: cut.shape[0], : cut.shape[1]] = cut
    return whole
