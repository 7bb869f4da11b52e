"""Tiles that come together from many threads all have their place."""

import sys
import threading

import numpy as np
import pytest

from airflow_ee.core.canvas import Canvas
from airflow_ee.core.decode import PixelBlock
from airflow_ee.core.errors import MalformedResponse
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.plan import Tile

GRID = PixelGrid(crs="EPSG:32633", transform=(10, 0, 5e5, 0, -10, 4e6), width=64, height=64)


def block(dtype="f4"):
    return PixelBlock(("b",), (np.ones((8, 8), dtype),), (np.ones((8, 8), np.uint8),))


def test_tiles_that_come_together_are_all_kept(tmp_path):
    tiles = [
        Tile(row, col, GRID.window(row=row, col=col, rows=8, cols=8))
        for row in range(0, 64, 8)
        for col in range(0, 64, 8)
    ]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(30):
            canvas, ready = Canvas(GRID, ["b"], tmp_path), threading.Barrier(len(tiles))

            def put(tile, canvas=canvas, ready=ready):
                ready.wait()
                canvas.put(tile, block())

            threads = [threading.Thread(target=put, args=(tile,)) for tile in tiles]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert canvas.values[0].all()
            assert canvas.valid[0].all()
    finally:
        sys.setswitchinterval(before)


def test_a_tile_of_another_type_is_refused(tmp_path):
    canvas = Canvas(GRID, ["b"], tmp_path)
    tile = Tile(0, 0, GRID.window(row=0, col=0, rows=8, cols=8))
    canvas.put(tile, block())
    with pytest.raises(MalformedResponse, match="has types"):
        canvas.put(tile, block("f8"))
