"""Google's REST notebooks (quickstart, compute image, compute table): an authorized session, and no client but a serializer."""

import io
import json
import warnings
from datetime import UTC, datetime
from urllib.parse import urlencode

import numpy as np
import pytest
import rasterio
import rasterio.warp
from google.auth.transport.requests import AuthorizedSession
from google.oauth2.credentials import Credentials
from rasterio.io import MemoryFile

from airflow_ee.emulator import Emulator
from airflow_ee.emulator.clock import ManualClock

from .conftest import FIELD, MODIS, PUBLIC, field_dates, field_grid, reflectance, vegetation

SENTINEL = f"{PUBLIC}/COPERNICUS/S2_SR_HARMONIZED"
PLACE = [11.3, 46.4]
PROJECT = "projects/demo-project"


@pytest.fixture
def session():
    """As the notebooks make it, but for where its token comes from."""
    return AuthorizedSession(Credentials("any token"))


@pytest.fixture(scope="module")
def simulated():
    with Emulator(clock=ManualClock(datetime(2024, 3, 1, tzinfo=UTC))) as running:
        yield running


def answer(response):
    assert response.status_code == 200, response.text
    return response.json()


def array(response):
    assert response.status_code == 200, response.text
    return np.load(io.BytesIO(response.content))


def picture(response):
    """An encoded image as (band, row, column)."""
    assert response.status_code == 200, response.text
    with MemoryFile(response.content) as file, file.open() as dataset:
        return dataset.read()


def shown(values, least, most):
    """Values as bytes of a picture."""
    return np.floor(np.clip((values - least) / (most - least), 0, 1) * 255 + 0.5)


# The quickstart: list, look, fetch, look again.


def listed(session, url, version, **query):
    return answer(session.get(f"{url}/{version}/{SENTINEL}:listImages?{urlencode(query)}")).get("images", [])


def test_images_over_a_place_are_listed_with_few_clouds(session, simulated):
    point = json.dumps({"type": "Point", "coordinates": PLACE})
    times = {"startTime": "2020-04-01T00:00:00.000Z", "endTime": "2020-06-01T00:00:00.000Z"}
    every = listed(session, simulated.url, "v1alpha", region=point, **times)
    clear = listed(session, simulated.url, "v1alpha", region=point, filter="CLOUDY_PIXEL_PERCENTAGE < 20", **times)
    cloudiness = {image["id"]: image["properties"]["CLOUDY_PIXEL_PERCENTAGE"] for image in every}
    assert {image["id"] for image in clear} == {name for name, share in cloudiness.items() if share < 20}
    assert 0 < len(clear) < len(every)
    assert all(image["startTime"].startswith(("2020-04", "2020-05")) for image in every)


@pytest.fixture
def scene(session, simulated):
    point = json.dumps({"type": "Point", "coordinates": PLACE})
    times = {"startTime": "2020-06-01T00:00:00Z", "endTime": "2020-09-01T00:00:00Z"}
    images = listed(session, simulated.url, "v1alpha", region=point, **times)
    clearest = min(images, key=lambda image: image["properties"]["CLOUDY_PIXEL_PERCENTAGE"])
    return answer(session.get(f"{simulated.url}/v1alpha/{clearest['name']}"))


def test_an_asset_shows_its_bands_and_grids(scene):
    bands = {band["id"]: band for band in scene["bands"]}
    assert list(bands)[:4] == ["B1", "B2", "B3", "B4"]
    assert bands["B1"]["grid"]["dimensions"] == {"width": 1830, "height": 1830}
    assert bands["B2"]["grid"]["dimensions"] == {"width": 10980, "height": 10980}
    assert bands["B2"]["grid"]["affineTransform"]["scaleY"] == -10
    assert bands["B2"]["dataType"] == {"precision": "INT", "range": {"max": 65535}}
    assert scene["geometry"]["type"] == "Polygon"


def test_a_block_of_pixels_comes_as_a_structured_array(session, simulated, scene):
    grid = next(band for band in scene["bands"] if band["id"] == "B2")["grid"]
    origin = grid["affineTransform"]
    corner = {name: origin[name] for name in ("scaleX", "scaleY", "translateX", "translateY")}
    names = ["B2", "B3", "B4", "B8"]

    def block(transform, width, height):
        dimensions = {"width": width, "height": height}
        body = {"fileFormat": "NPY", "bandIds": names, "grid": {"affineTransform": transform, "dimensions": dimensions}}
        return array(session.post(f"{simulated.url}/v1alpha/{scene['name']}:getPixels", json.dumps(body)))

    found = block(corner, 256, 256)
    assert found.shape == (256, 256)
    assert found.dtype.names == tuple(names)
    assert all(found[name].dtype == np.uint16 for name in names)
    # The notebook's rule: origin of the request = origin of the image + pixel size times offset.
    moved = {**corner, "translateX": corner["translateX"] + 10 * 100, "translateY": corner["translateY"] - 10 * 50}
    np.testing.assert_array_equal(block(moved, 64, 32), found[50:82, 100:164])


def test_a_thumbnail_of_the_whole_image_is_its_pixels_rescaled(session, simulated, scene):
    body = {
        "bandIds": ["B4", "B3", "B2"],
        "region": scene["geometry"],
        "grid": {"dimensions": {"width": 256, "height": 256}},
    }
    url = f"{simulated.url}/v1alpha/{scene['name']}:getPixels"
    ranges = {"ranges": [{"min": 0, "max": 3000}]}
    image = picture(session.post(url, json.dumps({**body, "fileFormat": "PNG", "visualizationOptions": ranges})))
    values = array(session.post(url, json.dumps({**body, "fileFormat": "NPY"})))
    assert image.shape[1:] == (256, 256) == values.shape
    for band, name in zip(image, ("B4", "B3", "B2"), strict=False):
        assert np.abs(band - shown(values[name], 0, 3000)).max() <= 1


# Compute image: a median, asked for as a picture in degrees.


def true_median(start, end):
    dates = [date for date in field_dates() if start <= date < end]
    stack = np.stack([reflectance(date).astype(np.float64) for date in dates])
    stack[stack == 0] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nan_to_num(np.nanmedian(stack, axis=0))


def test_a_median_composite_comes_as_a_picture(session, ee, mounted):
    image = ee.ImageCollection("local/field").filterDate("2019-04-01", "2019-09-01").median()
    _, transform, (rows, columns) = field_grid()
    body = {
        "expression": ee.serializer.encode(image),
        "fileFormat": "PNG",
        "bandIds": ["B8", "B4", "SCL"],
        "grid": {
            "dimensions": {"width": columns, "height": rows},
            "affineTransform": {
                "scaleX": 10, "shearX": 0, "translateX": transform.c,
                "shearY": 0, "scaleY": -10, "translateY": transform.f,
            },
            "crsCode": "EPSG:32630",
        },
        "visualizationOptions": {"ranges": [{"min": 0, "max": 5000}]},
    }  # fmt: skip
    found = picture(session.post(f"{mounted.url}/v1beta/{PROJECT}/image:computePixels", data=json.dumps(body)))
    red, infrared = true_median("20190401", "20190901")
    for band, values in zip(found, (infrared, red), strict=False):
        assert np.abs(band - shown(values, 0, 5000)).max() <= 1
    if len(found) == 4:
        np.testing.assert_array_equal(found[3] > 0, red > 0)


def test_a_scale_in_degrees_is_that_of_the_equator(ee):
    found = ee.Projection("EPSG:4326").atScale(10).getInfo()
    degrees = 10 / (2 * np.pi * 6378137 / 360)
    assert found["transform"] == pytest.approx([degrees, 0, 0, 0, degrees, 0], rel=1e-9)


def test_a_grid_in_degrees_takes_the_nearest_pixels(session, ee, mounted):
    step = ee.Projection("EPSG:4326").atScale(10).getInfo()["transform"][0]
    date = "20190601"
    west, north, width, height = -4.87301, 41.77503, 40, 30
    body = {
        "expression": ee.serializer.encode(ee.Image(f"local/field/{date}")),
        "fileFormat": "NPY",
        "bandIds": ["B8"],
        "grid": {
            "dimensions": {"width": width, "height": height},
            "affineTransform": {"scaleX": step, "translateX": west, "scaleY": -step, "translateY": north},
            "crsCode": "EPSG:4326",
        },
    }
    found = array(session.post(f"{mounted.url}/v1beta/{PROJECT}/image:computePixels", data=json.dumps(body)))["B8"]
    expected = np.zeros((height, width), np.uint16)
    with rasterio.open(FIELD / f"{date}_reflectance.tif") as dataset:
        rasterio.warp.reproject(
            dataset.read(2), expected, src_transform=dataset.transform, src_crs=dataset.crs,
            dst_transform=rasterio.Affine(step, 0, west, 0, -step, north), dst_crs="EPSG:4326",
            resampling=rasterio.warp.Resampling.nearest, tolerance=0,
        )  # fmt: skip
    assert (found > 0).any()
    np.testing.assert_array_equal(found, expected)


# Compute table: means of regions as GeoJSON.


def test_means_of_regions_come_as_a_feature_collection(session, ee, mounted):
    date = "2010_01_01"
    with rasterio.open(MODIS / f"{date}.tif") as dataset:
        transform = dataset.transform
    windows = {"north": (3, 2, 20, 9), "south": (5, 12, 11, 25)}

    def rectangle(left, top, right, bottom):
        west, north = transform @ (left, top)
        east, south = transform @ (right, bottom)
        return ee.Geometry.Rectangle([west, south, east, north], "SR-ORG:6974", False)

    places = ee.FeatureCollection([ee.Feature(rectangle(*window), {"NAME": name}) for name, window in windows.items()])
    image = ee.ImageCollection("MODIS/061/MOD13Q1").filterDate("2010-01-01", "2010-01-02").select("NDVI").first()
    computation = image.reduceRegions(
        collection=places.filter(ee.Filter.eq("NAME", "south")),
        reducer=ee.Reducer.mean().setOutputs(["NDVI"]),
        scale=image.projection().nominalScale(),
    )
    body = json.dumps({"expression": ee.serializer.encode(computation)})
    found = answer(session.post(f"{mounted.url}/v1beta/{PROJECT}/table:computeFeatures", data=body))
    assert found["type"] == "FeatureCollection"
    (feature,) = found["features"]
    left, top, right, bottom = windows["south"]
    expected = vegetation(date)[0, top:bottom, left:right].mean()
    assert feature["type"] == "Feature"
    assert feature["properties"]["NAME"] == "south"
    assert feature["properties"]["NDVI"] == pytest.approx(expected, rel=1e-6)
    assert "nextPageToken" not in found
