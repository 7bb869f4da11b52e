"""A whole image under construction, in files of a scratch folder, so that memory does not grow with it."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio.features
from affine import Affine

from airflow_ee.core.decode import PixelBlock
from airflow_ee.core.errors import MalformedResponse
from airflow_ee.core.grid import PixelGrid, parse_crs
from airflow_ee.core.plan import Tile
from airflow_ee.core.region import Region

__all__ = ["Canvas"]

SMALL_BYTES = 32 * 1024 * 1024


class Canvas:
    """Bands of an image on one grid, with what of them is valid; tiles are put in their places in any order.

    A band's dtype is that of the first tile: what an answer holds is surer than what metadata announce.

    Parameters
    ----------
    directory
        Where arrays that are not small are kept; made when there is one.
    """

    def __init__(self, grid: PixelGrid, bands: Sequence[str], directory: Path) -> None:
        self.grid, self.bands, self._directory = grid, tuple(bands), directory
        self._lock = threading.Lock()
        self.values: tuple[npt.NDArray[Any], ...] = ()
        self.valid: tuple[npt.NDArray[np.bool_], ...] = tuple(
            _array(directory / f"valid-{index}", grid.shape, np.dtype(bool)) for index in range(len(self.bands))
        )

    def put(self, tile: Tile, block: PixelBlock) -> None:
        """Copy a tile's pixels to their place; may be called from many threads.

        Raises
        ------
        MalformedResponse
            When a tile has other types than the first one had.
        """
        dtypes = [values.dtype for values in block.values]
        # Of two first tiles that come together one would else be put into arrays that the other replaces.
        with self._lock:
            if not self.values:
                self.values = tuple(
                    _array(self._directory / f"values-{index}", self.grid.shape, dtype)
                    for index, dtype in enumerate(dtypes)
                )
        if dtypes != [values.dtype for values in self.values]:
            raise MalformedResponse(f"{tile} has types {dtypes}, the tiles before {[v.dtype for v in self.values]}.")
        for index in range(len(self.bands)):
            self.values[index][tile.slices] = block.values[index]
            np.not_equal(block.masks[index], 0, out=self.valid[index][tile.slices])

    def band(self, name: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Values and validity of one band."""
        index = self.bands.index(name)
        return self.values[index], self.valid[index]

    def only(self, name: str) -> Canvas:
        """A view of one band."""
        index = self.bands.index(name)
        view = copy.copy(self)
        view.bands, view.values, view.valid = (name,), (self.values[index],), (self.valid[index],)
        return view

    def invalidate(self, where: npt.NDArray[np.bool_]) -> None:
        """Make pixels invalid in all bands."""
        for valid in self.valid:
            valid[where] = False

    def clip(self, region: Region) -> None:
        """Make pixels whose centre lies outside ``region`` invalid."""
        outside = rasterio.features.geometry_mask(
            [region.project(parse_crs(self.grid.crs))],
            out_shape=self.grid.shape,
            transform=Affine(*self.grid.transform),
        )
        self.invalidate(outside)

    @property
    def valid_fraction(self) -> float:
        """Valid values of all values, over all bands."""
        return float(np.mean([valid.mean() for valid in self.valid]))


def _array(path: Path, shape: tuple[int, int], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if shape[0] * shape[1] * dtype.itemsize <= SMALL_BYTES:
        return np.zeros(shape, dtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    return np.memmap(path, dtype, "w+", shape=shape)
