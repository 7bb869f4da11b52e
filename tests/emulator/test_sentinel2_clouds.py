"""The cloud displacement index against numpy."""

import numpy as np
import pytest

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.pixels.crs import Crs
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.raster import Positional, Raster, render
from airflow_ee.emulator.pixels.types import type_of_dtype
from airflow_ee.emulator.values.image import Band, Image

from .test_neighbourhoods import run

FINE, COARSE = (Projection(Crs("EPSG:32632"), (size, 0.0, 6e5, 0.0, -size, 5e6)) for size in (10.0, 20.0))


def layer(name, values, projection, mask=None):
    """A band that knows where it lies; beyond its end it is masked."""
    height, width = values.shape
    whole = Grid(projection, row=0, col=0, height=height, width=width)
    valid = np.ones(values.shape, np.float32) if mask is None else mask

    def read(grid):
        sites = grid.sites_in(projection)
        rows, cols = np.broadcast_arrays(sites.rows, sites.cols)
        inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
        at = np.clip(rows, 0, height - 1), np.clip(cols, 0, width - 1)
        return Raster(values[at], valid[at] * inside)

    return Band(name, type_of_dtype(values.dtype), Positional(read), projection, whole)


RANDOM = np.random.default_rng(6)
B8 = RANDOM.integers(900, 4000, (24, 28)).astype(np.uint16)
B7, B8A = (RANDOM.integers(900, 4000, (12, 14)).astype(np.uint16) for _ in range(2))


def scene(**changed):
    bands = {"B8": layer("B8", B8, FINE), "B7": layer("B7", B7, COARSE), "B8A": layer("B8A", B8A, COARSE), **changed}
    return Image(tuple(band for band in bands.values() if band is not None))


def index(image, projection=COARSE, shape=(12, 14)):
    made = run("Sentinel2.CDI", source=image)
    assert made.names == ["cdi"]
    assert made.bands[0].projection == COARSE
    return render([made.bands[0].node], Grid(projection, row=0, col=0, height=shape[0], width=shape[1]))[0]


def expected(row, col):
    window = slice(row - 3, row + 4), slice(col - 3, col + 4)
    wide = B8.astype(float).reshape(12, 2, 14, 2).mean(axis=(1, 3)) / B8A
    by_near, by_wide = (B7 / B8A)[window].var(), wide[window].var()
    return (by_near - by_wide) / (by_near + by_wide)


def test_it_is_the_difference_of_two_variances_over_their_sum():
    found = index(scene())
    known = np.zeros((12, 14), bool)
    known[3:-3, 3:-3] = True
    np.testing.assert_array_equal(found.mask > 0, known)
    for row, col in np.argwhere(known):
        assert found.values[row, col] == pytest.approx(expected(row, col), rel=1e-5)


def test_it_is_computed_on_the_20_m_lattice_whatever_is_asked_for():
    fine = index(scene(), FINE, (24, 28))
    assert fine.values[8, 9] == fine.values[9, 8] == pytest.approx(expected(4, 4), rel=1e-5)


def test_without_differences_there_is_no_index():
    flat = layer("B7", np.full((12, 14), 7, np.uint16), COARSE), layer("B8A", np.full((12, 14), 7, np.uint16), COARSE)
    even = scene(B7=flat[0], B8A=flat[1], B8=layer("B8", np.full((24, 28), 7, np.uint16), FINE))
    assert (index(even).mask == 0).all()


def test_the_bands_must_be_there_and_have_a_place():
    with pytest.raises(EmulatorError, match="B8A"):
        run("Sentinel2.CDI", source=scene(B8A=None))
    with pytest.raises(EmulatorError, match="without a projection"):
        run(
            "Sentinel2.CDI",
            source=run("Image.rename", input=run("Image.constant", value=[1, 2, 3]), names=["B8", "B7", "B8A"]),
        )
