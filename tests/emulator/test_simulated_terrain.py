"""The simulated elevation model: its grid is the real one, its terrain a formula."""

import numpy as np
import pytest

from airflow_ee.emulator.catalog.srtm import WAVES, elevation

from .conftest import call, graph, grid, image, message

SRTM = "projects/earthengine-public/assets/USGS/SRTMGL1_003"
SECOND = 0.0002777777777777778


def native(longitude, latitude, side=40):
    """A grid on the native pixels."""
    col, row = round((longitude + 180.0001388888889) / SECOND), round((60.00013888888889 - latitude) / SECOND)
    return grid("EPSG:4326", (-180.0001388888889 + col * SECOND, 60.00013888888889 - row * SECOND), SECOND, side, side)


def centres(wanted):
    affine, size = wanted["affineTransform"], wanted["dimensions"]
    cols, rows = np.meshgrid(np.arange(size["width"]) + 0.5, np.arange(size["height"]) + 0.5)
    return affine["translateX"] + affine["scaleX"] * cols, affine["translateY"] + affine["scaleY"] * rows


def test_the_asset_is_one_image_with_the_real_grid(world):
    asset = world.get(SRTM).json()
    (band,) = asset["bands"]
    assert (asset["type"], band["id"], band["dataType"]["range"]) == (
        "IMAGE",
        "elevation",
        {"min": -32768, "max": 32767},
    )
    assert band["grid"] == {
        "crsCode": "EPSG:4326",
        "dimensions": {"width": 1296001, "height": 417601},
        "affineTransform": {
            "scaleX": SECOND,
            "scaleY": -SECOND,
            "translateX": -180.0001388888889,
            "translateY": 60.00013888888889,
        },
    }
    assert (asset["startTime"], asset["endTime"]) == ("2000-02-11T00:00:00Z", "2000-02-22T00:00:00Z")


@pytest.mark.parametrize("place", [(11.3, 46.4), (-122.2, 37.4), (179.98, -16.5), (-179.999, 59.99)])
def test_pixels_are_the_formula_in_whole_metres(world, place):
    wanted = native(*place)
    answer = world.asset_pixels(SRTM, grid=wanted)
    assert answer.headers["x-earth-engine-emulator"] == "simulated"
    found = world.pixels(graph(image("USGS/SRTMGL1_003")), wanted)["elevation"]
    assert found.dtype == np.int16
    # A height that is half a metre to the last digit may be rounded to either side.
    assert np.abs(found - elevation(*centres(wanted))).max() <= 0.5 + 1e-6


def test_it_ends_at_60_north_and_56_south(world):
    for latitude in (60.5, -56.5):
        masked = call("Image.mask", image=image("USGS/SRTMGL1_003"))
        assert not world.pixels(graph(masked), grid("EPSG:4326", (20, latitude), 0.001, 20, 20))["elevation"].any()


def test_other_names_are_not_there(world):
    assert "not found" in message(world.compute(graph(image("USGS/SRTMGL1_004")), native(11, 46)))


def test_slopes_are_those_of_the_formula(world):
    wanted = native(11.3, 46.4, side=120)
    slope = world.pixels(graph(call("Terrain.slope", input=image("USGS/SRTMGL1_003"))), wanted)["slope"]
    expected = np.degrees(np.arctan(steepness(*centres(wanted))))
    inner = np.s_[2:-2, 2:-2]
    # Whole metres over pixels of 20 to 30 m leave half a degree of noise.
    assert np.abs(slope[inner] - expected[inner]).mean() < 1.0
    assert np.corrcoef(slope[inner].ravel(), expected[inner].ravel())[0, 1] > 0.95
    assert expected.max() > 5


def steepness(longitude, latitude):
    """Length of the gradient, by the derivatives of the waves."""
    x, y, metres = np.radians(longitude), np.radians(latitude), 6371000.0
    east = sum(w.height * w.east * np.cos(w.east * x + w.phase) * np.sin(w.north * y + w.phase) for w in WAVES)
    north = sum(w.height * w.north * np.sin(w.east * x + w.phase) * np.cos(w.north * y + w.phase) for w in WAVES)
    return np.hypot(east / (metres * np.cos(y)), north / metres)


def test_the_coarser_model_shows_the_same_terrain(world):
    step = 0.0008333333535119891
    asset = world.get("projects/earthengine-public/assets/CGIAR/SRTM90_V4").json()
    assert asset["bands"][0]["grid"]["dimensions"] == {"width": 432000, "height": 144000}
    wanted = grid("EPSG:4326", (-180 + 229560 * step, 60 - 16320 * step), step, 40, 40)
    found = world.pixels(graph(image("CGIAR/SRTM90_V4")), wanted)["elevation"]
    assert found.dtype == np.int16
    assert np.abs(found - elevation(*centres(wanted))).max() <= 0.5 + 1e-6
    for latitude in (60.5, -56.5):
        masked = call("Image.mask", image=image("CGIAR/SRTM90_V4"))
        outside = grid("EPSG:4326", (11.0, latitude), step, 2, 2)
        assert not world.pixels(graph(masked), outside)["elevation"].any()
