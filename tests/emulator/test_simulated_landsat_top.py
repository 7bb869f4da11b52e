"""Landsat at the top of the atmosphere: the truth behind the bands, and how it hangs together with the surface product."""

from datetime import date

import numpy as np
import pytest

from airflow_ee.emulator.catalog.fields import truth

from .simulation import LANDSAT_8, around, degrees, image, pixels

TOP = "LANDSAT/LC08/C02/T1_TOA"
SCENE = "LC08_044034_20140318"
PLACE = (-121.9, 37.3)
PATH = {"B4": (0.035, 0.91), "B5": (0.018, 0.93)}
CLEAR = [21824, 21952]


def surface(top, band):
    path, through = PATH[band]
    return (top[band].astype(np.float64) - path) / through


def seen(asset, names, grid):
    """Values of bands, of pixels that are all valid."""
    found = pixels(asset, names, grid)
    assert all(mask.all() for _, mask in found.values())
    return {name: np.squeeze(values) for name, (values, _) in found.items()}


@pytest.fixture(scope="module")
def looks():
    """Pixels of both products on the same grid, and where they are."""
    top, bottom = image(f"{TOP}/{SCENE}"), image(f"{LANDSAT_8}/{SCENE}")
    grid = around(top, *PLACE, side=48, every=21)
    names = ["B4", "B5", "B8", "B10", "B11", "QA_PIXEL", "SZA", "VZA"]
    return grid, seen(top, names, grid), seen(bottom, ["SR_B4", "SR_B5", "QA_PIXEL"], grid)


def test_ndvi_without_the_atmosphere_is_the_truth(looks):
    grid, top, _ = looks
    red, near = surface(top, "B4"), surface(top, "B5")
    lon, lat = degrees(grid)
    clear = np.isin(top["QA_PIXEL"], CLEAR)
    assert clear.mean() > 0.5
    expected = truth(lon, lat, date(2014, 3, 18).timetuple().tm_yday)
    np.testing.assert_allclose(((near - red) / (near + red))[clear], expected[clear], atol=0.002)


def test_both_products_show_one_ground_and_one_sky(looks):
    _, top, below = looks
    np.testing.assert_array_equal(top["QA_PIXEL"], below["QA_PIXEL"])
    for band in ("B4", "B5"):
        reflectance = below[f"SR_{band}"] * 0.0000275 - 0.2
        np.testing.assert_allclose(surface(top, band), reflectance, atol=0.00002)


def test_the_second_thermal_band_is_colder_and_both_are_kelvins(looks):
    _, top, _ = looks
    assert (top["B10"] - top["B11"]).max() == pytest.approx(2, abs=1e-3)
    assert (top["B11"] <= top["B10"]).all()
    assert 220 < top["B10"].min() <= top["B10"].max() < 330


def test_angles_are_hundredths_of_degrees(looks):
    _, top, _ = looks
    elevation = image(f"{TOP}/{SCENE}").properties["SUN_ELEVATION"]
    assert np.unique(top["SZA"]).tolist() == [round(100 * (90 - elevation))]
    assert 0 <= top["VZA"].min() <= top["VZA"].max() < 800


def test_panchromatic_pixels_lie_between_the_centres_of_the_others():
    bands = {band.name: band.grid for band in image(f"{TOP}/{SCENE}").bands}
    coarse, fine = bands["B4"], bands["B8"]
    (_, _, left, _, _, top), (a, _, fine_left, _, e, fine_top) = coarse.transform, fine.transform
    assert (a, e) == (15, -15)
    assert (fine_left - left, fine_top - top) == (7.5, -7.5)
    assert (fine.width, fine.height) == (2 * coarse.width - 1, 2 * coarse.height - 1)
