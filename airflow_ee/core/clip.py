"""Pixels outside a region become masked, tile by tile."""

from __future__ import annotations

import numpy as np
import rasterio.features
import shapely
from affine import Affine

from airflow_ee.core.decode import PixelBlock
from airflow_ee.core.grid import PixelGrid, parse_crs
from airflow_ee.core.plan import Tile
from airflow_ee.core.region import Region

__all__ = ["Clip"]


class Clip:
    """Masks pixels whose centre lies outside ``region``.

    >>> region = Region.parse([14.9, 36.0, 15.1, 36.2])
    >>> grid = PixelGrid(crs="EPSG:32633", transform=(1000, 0, 490000, 0, -1000, 4010000), width=30, height=30)
    >>> Clip(grid, region).touches(Tile(0, 0, grid))
    True
    """

    def __init__(self, grid: PixelGrid, region: Region) -> None:
        self._polygon = region.project(parse_crs(grid.crs))
        shapely.prepare(self._polygon)

    def touches(self, tile: Tile) -> bool:
        """Whether any pixel of the tile may be outside."""
        return not bool(self._polygon.contains(_outline(tile.grid)))

    def apply(self, tile: Tile, block: PixelBlock) -> PixelBlock:
        """The block with masks that are 0 outside the region; the block itself where all of it is inside."""
        if not self.touches(tile):
            return block
        inside = rasterio.features.geometry_mask(
            [self._polygon], out_shape=tile.grid.shape, transform=Affine(*tile.grid.transform), invert=True
        )
        cut = {id(mask): mask * inside.astype(mask.dtype) for mask in block.masks}
        return PixelBlock(block.bands, block.values, tuple(cut[id(mask)] for mask in block.masks))


def _outline(grid: PixelGrid) -> shapely.Polygon:
    corners = [(0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height)]
    return shapely.Polygon(np.array([grid.xy(col, row) for col, row in corners]))
