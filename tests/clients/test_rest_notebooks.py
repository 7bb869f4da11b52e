"""Google's REST notebooks (quickstart, compute image, compute table): an authorized session, and no client but a serializer."""

import io
import json
import warnings
from datetime import UTC, datetime
from urllib.parse import urlencode

import numpy as np
import pyproj
import pytest
import rasterio
import rasterio.features
import rasterio.warp
from google.auth.transport.requests import AuthorizedSession
from google.oauth2.credentials import Credentials
from rasterio.io import MemoryFile

from airflow_ee.emulator import Emulator
from airflow_ee.emulator.catalog.fields import truth
from airflow_ee.emulator.clock import ManualClock

from .conftest import FIELD, MODIS, PUBLIC, field_dates, field_grid, reflectance, vegetation

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # pictures have no place

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


# The ids that the notebooks themselves name.

QUICKSTART_SCENE = "20170430T190351_20170430T190351_T10SEG"


@pytest.fixture
def google(ee, simulated):
    """The official client over the simulated collections."""
    ee.Reset()
    ee.Initialize(credentials=None, project="demo-project", url=simulated.url)
    return ee


def test_the_quickstart_finds_the_scene_that_it_goes_on_with(session, simulated):
    point = json.dumps({"type": "Point", "coordinates": [-122.085, 37.422]})
    times = {"startTime": "2017-04-01T00:00:00.000Z", "endTime": "2017-05-01T00:00:00.000Z"}
    query = urlencode({**times, "region": point, "filter": "CLOUDY_PIXEL_PERCENTAGE < 10"})
    found = answer(session.get(f"{simulated.url}/v1alpha/{PUBLIC}/COPERNICUS/S2:listImages?{query}"))["images"]
    assert f"COPERNICUS/S2/{QUICKSTART_SCENE}" in [image["id"] for image in found]
    scene = answer(session.get(f"{simulated.url}/v1alpha/{PUBLIC}/COPERNICUS/S2/{QUICKSTART_SCENE}"))
    assert scene["properties"]["MGRS_TILE"] == "10SEG"
    assert [band["id"] for band in scene["bands"]][:13] == [
        "B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12",
    ]  # fmt: skip
    body = {
        "fileFormat": "NPY",
        "bandIds": ["B4", "B8"],
        "grid": {
            "affineTransform": {"scaleX": 10, "scaleY": -10, "translateX": 499980, "translateY": 4200000},
            "dimensions": {"width": 64, "height": 64},
        },
    }
    asset = f"{PUBLIC}/COPERNICUS/{{}}/{QUICKSTART_SCENE}"
    urls = [f"{simulated.url}/v1/{asset.format(name)}:getPixels" for name in ("S2", "S2_HARMONIZED")]
    plain, harmonized = (array(session.post(url, json.dumps(body))) for url in urls)
    np.testing.assert_array_equal(plain, harmonized)
    lon, lat = pyproj.Transformer.from_crs(32610, 4326, always_xy=True).transform(499980 + 325, 4200000 - 325)
    surface = {band: (plain[band][32, 32] / 10_000 - path) / through for band, path, through in
               (("B4", 0.035, 0.91), ("B8", 0.018, 0.93))}  # fmt: skip
    ndvi = (surface["B8"] - surface["B4"]) / (surface["B8"] + surface["B4"])
    assert ndvi == pytest.approx(truth(lon, lat, 120), abs=0.005)


@pytest.mark.parametrize(
    ("plain", "bands", "unchanged"),
    [
        ("COPERNICUS/S2", ["B1", "B4", "B8", "B10", "B12"], ["QA60"]),
        ("COPERNICUS/S2_SR", ["B1", "B4", "B8", "B12"], ["SCL", "AOT", "TCI_R", "MSK_CLDPRB"]),
    ],
)
@pytest.mark.parametrize(("date", "offset"), [("2021-06-01", 0), ("2022-06-01", 1000)])
def test_plain_collections_carry_the_offset_of_newer_baselines(google, plain, bands, unchanged, date, offset):
    when = google.Date(date)
    images = google.ImageCollection(f"{plain}_HARMONIZED").filterBounds(google.Geometry.Point(PLACE))
    index = images.filterDate(when, when.advance(20, "day")).first().get("system:index").getInfo()
    grid = {
        "crsCode": "EPSG:4326",
        "affineTransform": {"scaleX": 0.001, "scaleY": -0.001, "translateX": PLACE[0], "translateY": PLACE[1]},
        "dimensions": {"width": 40, "height": 40},
    }

    def pixels(collection, names):
        image = google.Image(f"{collection}/{index}").select(names).unmask(0).toInt()
        request = {"expression": image, "fileFormat": "NUMPY_NDARRAY", "grid": grid}
        found = google.data.computePixels(request)
        return np.stack([found[name] for name in names])

    stored = pixels(f"{plain}_HARMONIZED", bands)
    assert (stored > 0).any()
    np.testing.assert_array_equal(pixels(plain, bands), np.where(stored > 0, stored + offset, 0))
    np.testing.assert_array_equal(pixels(plain, unchanged), pixels(f"{plain}_HARMONIZED", unchanged))


def test_the_mean_of_a_state_is_that_of_its_pixels(session, google, simulated):
    states = google.FeatureCollection("TIGER/2018/States")
    state = states.filter(google.Filter.eq("NAME", "District of Columbia"))
    image = google.ImageCollection("MODIS/006/MOD13Q1").select("NDVI").first()
    computation = image.reduceRegions(
        collection=state,
        reducer=google.Reducer.mean().setOutputs(["NDVI"]),
        scale=image.projection().nominalScale(),
    )
    body = json.dumps({"expression": google.serializer.encode(computation)})
    response = session.post(f"{simulated.url}/v1beta/{PROJECT}/table:computeFeatures", data=body)
    (feature,) = answer(response)["features"]
    assert response.headers["x-earth-engine-emulator"] == "simulated"
    assert (feature["properties"]["STUSPS"], feature["properties"]["GEOID"]) == ("DC", "11")
    grid = {
        "crsCode": "EPSG:4326",
        "affineTransform": {"scaleX": 0.001, "scaleY": -0.001, "translateX": -77.13, "translateY": 39.0},
        "dimensions": {"width": 230, "height": 220},
    }
    request = {"expression": image.unmask(-9999), "fileFormat": "NUMPY_NDARRAY", "grid": grid}
    values = google.data.computePixels(request)["NDVI"]
    inside = rasterio.features.geometry_mask(
        [feature["geometry"]], values.shape, rasterio.Affine(0.001, 0, -77.13, 0, -0.001, 39.0), invert=True
    )
    expected = values[inside & (values > -9999)].mean()
    assert feature["properties"]["NDVI"] == pytest.approx(expected, rel=0.005)


def test_the_older_version_of_a_collection_ends(google):
    newer, older = (google.ImageCollection(f"MODIS/{version}/MOD13Q1") for version in ("061", "006"))
    last = older.filterDate("2023-01-01", "2024-01-01").aggregate_array("system:index").getInfo()
    assert last == ["2023_01_01", "2023_01_17", "2023_02_02"]
    assert newer.filterDate("2023-01-01", "2024-01-01").size().getInfo() == 23


def test_states_are_an_asset_whose_features_are_listed(session, google, simulated):
    name = f"{PUBLIC}/TIGER/2018/States"
    asset = answer(session.get(f"{simulated.url}/v1/{name}"))
    assert (asset["type"], asset["id"]) == ("TABLE", "TIGER/2018/States")
    assert "Simulated" in asset["properties"]["title"]
    inside = answer(session.get(f"{simulated.url}/v1/{PUBLIC}/TIGER/2018:listAssets"))["assets"]
    assert [(each["type"], each["id"]) for each in inside] == [
        ("TABLE", f"TIGER/2018/{table}") for table in ("Counties", "States")
    ]
    query = urlencode({"region": json.dumps({"type": "Point", "coordinates": [-69.0, 45.3]})})
    (feature,) = answer(session.get(f"{simulated.url}/v1/{name}:listFeatures?{query}"))["features"]
    assert feature["properties"]["NAME"] == "Maine"
    states = google.FeatureCollection("TIGER/2018/States")
    assert states.size().getInfo() == 52
    codes = states.filterBounds(google.Geometry.Point([-109.05, 37.0])).aggregate_array("STUSPS").getInfo()
    assert sorted(codes) == ["AZ", "CO", "NM", "UT"]
    large = states.filter(google.Filter.gt("ALAND", 6e11)).sort("ALAND").aggregate_array("NAME").getInfo()
    assert large == ["Texas", "Alaska"]
