"""Tiles cover a grid once, and fit a request."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_ee.core.errors import RequestTooLarge
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.plan import plan_tiles, split_tile
from airflow_ee.core.settings import Limits

grids = st.builds(
    PixelGrid,
    crs=st.just("EPSG:32633"),
    transform=st.just((10.0, 0.5, 5e5, 0.25, -10.0, 4e6)),
    width=st.integers(1, 60),
    height=st.integers(1, 60),
)
GRID = PixelGrid(crs="EPSG:32633", transform=(10, 0, 5e5, 0, -10, 4e6), width=40, height=30)


def limits(target_bytes, max_side=32768):
    return Limits(target_bytes=target_bytes, max_side=max_side, floor_side=2)


@given(
    grid=grids, target=st.integers(64, 4000), side=st.integers(1, 60), size=st.integers(1, 64), block=st.integers(1, 16)
)
def test_tiles_partition_the_grid_and_fit_a_request(grid, target, side, size, block):
    seen = np.zeros(grid.shape, np.uint8)
    for tile in plan_tiles(grid, bytes_per_pixel=size, limits=limits(target, side), block=block):
        height, width = tile.grid.shape
        assert max(height, width) <= side
        assert height * width * size <= target
        assert tile.grid == grid.window(row=tile.row, col=tile.col, rows=height, cols=width)
        seen[tile.slices] += 1
    assert (seen == 1).all()


def test_a_pixel_larger_than_a_request_is_refused():
    with pytest.raises(RequestTooLarge, match="One pixel of all bands"):
        list(plan_tiles(GRID, bytes_per_pixel=99, limits=limits(50)))


@given(grid=grids, floor=st.integers(1, 40))
def test_quarters_cover_their_tile_once(grid, floor):
    (tile,) = plan_tiles(grid, bytes_per_pixel=1, limits=Limits())
    parts = split_tile(tile, floor)
    if not parts:
        assert grid.width < 2 * floor
        assert grid.height < 2 * floor
        return
    seen = np.zeros(grid.shape, np.uint8)
    for part in parts:
        assert min(part.grid.shape) >= min(floor, *grid.shape)
        seen[part.slices] += 1
    assert (seen == 1).all()
