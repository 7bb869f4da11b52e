"""Training patches, as Google's two public notebooks make them, with code of our own and pixels to compare with."""

import io
import warnings
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime

import numpy as np
import pyproj
import pytest
import rasterio
import requests
from numpy.lib import recfunctions
from rasterio.io import MemoryFile
from rasterio.windows import Window

from airflow_ee.emulator import Emulator
from airflow_ee.emulator.clock import ManualClock

from .conftest import FIELD, MODIS, field_dates, field_grid

pytestmark = [
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),  # pictures have no place
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning:rasterio.windows"),
]

SINUSOIDAL = "+proj=sinu +R=6371007.181 +units=m"


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    """Reflectance and scene classes of the field as two collections, which share the names of their images."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("reflectance", "scl")}
    for name, folder in folders.items():
        for path in FIELD.glob(f"*_{name}.tif"):
            (folder / f"{path.name[:8]}.tif").symlink_to(path)
    with Emulator(catalogs={"local/reflectance": folders["reflectance"], "local/classes": folders["scl"]}) as running:
        yield running


@pytest.fixture
def field(ee, apart):
    ee.Reset()
    ee.Initialize(credentials=None, project="demo-project", url=apart.url)
    return ee


# With getPixels: what is stored, for random points and every date of a year.


def points_in(ee, region, count):
    points = ee.FeatureCollection.randomPoints(region=region, points=count, seed=7, maxError=1)
    return [point["coordinates"] for point in points.aggregate_array(".geo").getInfo()]


def stored_patch(ee, coordinates, asset):
    region = ee.Geometry.Point(coordinates).buffer(700).bounds().getInfo()
    request = {"fileFormat": "NPY", "bandIds": ["NDVI"], "region": region, "assetId": asset}
    return np.load(io.BytesIO(ee.data.getPixels(request)))["NDVI"], region


def corners(region):
    """The least and the greatest longitude and latitude."""
    found = np.array(region["coordinates"][0])
    return found.min(axis=0), found.max(axis=0)


def window_of(region, dataset):
    """The pixels that a geographic rectangle touches: its edges, followed closely, in the file's own projection."""
    (west, south), (east, north) = corners(region)
    along = np.linspace(0, 1, 200)
    lons = np.concatenate([west + (east - west) * along] * 2 + [np.full(200, west), np.full(200, east)])
    lats = np.concatenate([np.full(200, south), np.full(200, north)] + [south + (north - south) * along] * 2)
    xs, ys = pyproj.Transformer.from_crs("+proj=longlat +R=6371007.181", SINUSOIDAL, always_xy=True).transform(
        lons, lats
    )
    columns, rows = ~dataset.transform @ (xs, ys)
    left, top = int(np.floor(columns.min())), int(np.floor(rows.min()))
    return Window(left, top, int(np.ceil(columns.max())) - left, int(np.ceil(rows.max())) - top)


def test_stored_patches_of_random_points_through_a_year(ee):
    region = ee.Geometry.Rectangle([-55.975, -12.03, -55.93, -12.0], None, False)
    points = points_in(ee, region, 4)
    assert len(points) == 4
    assert all(-55.975 <= lon <= -55.93 and -12.03 <= lat <= -12.0 for lon, lat in points)
    collection = ee.ImageCollection("MODIS/061/MOD13Q1").select("NDVI")
    images = collection.filter(ee.Filter.calendarRange(2010, 2010, "year")).getInfo()["features"]
    assert len(images) == 23
    with ThreadPoolExecutor(max_workers=16) as pool:
        jobs = {
            pool.submit(stored_patch, ee, point, image["id"]): image["id"] for point in points for image in images[:8]
        }
        for job in as_completed(jobs):
            found, asked = job.result()
            with rasterio.open(MODIS / f"{jobs[job].split('/')[-1]}.tif") as dataset:
                expected = dataset.read(1, window=window_of(asked, dataset), boundless=True, fill_value=0)
            np.testing.assert_array_equal(found, expected)


# With computePixels: a median without clouds, joined by name from another collection.


def clear_median(ee, start, end):
    reflectance = ee.ImageCollection("local/reflectance").filterDate(start, end)
    classes = ee.ImageCollection("local/classes").filterDate(start, end)
    same_name = ee.Filter.equals(leftField="system:index", rightField="system:index")
    joined = ee.Join.saveFirst("classes").apply(primary=reflectance, secondary=classes, condition=same_name)
    together = ee.ImageCollection(joined).map(lambda image: image.addBands(ee.Image(image.get("classes"))))
    clear = together.map(lambda image: image.updateMask(image.select("SCL").eq(4)))
    return clear.reduce(ee.Reducer.median(), 8)


def true_median(start, end):
    """The same of the files, by numpy: bands B4, B8 and SCL, not a number where no date is clear."""
    stack = []
    for date in field_dates():
        if start.replace("-", "") <= date < end.replace("-", ""):
            with rasterio.open(FIELD / f"{date}_reflectance.tif") as reflectance:
                bands = reflectance.read().astype(np.float64)
            with rasterio.open(FIELD / f"{date}_scl.tif") as classes:
                scene = classes.read(1)
            layer = np.concatenate([bands, scene[np.newaxis]])
            stack.append(np.where((scene == 4) & (bands > 0).all(axis=0), layer, np.nan))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmedian(stack, axis=0)


def patch(ee, image, left, top, size):
    _, transform, _ = field_grid()
    x, y = transform @ (left, top)
    grid = {
        "dimensions": {"width": size, "height": size},
        "affineTransform": {"scaleX": 10, "shearX": 0, "shearY": 0, "scaleY": -10, "translateX": x, "translateY": y},
        "crsCode": "EPSG:32630",
    }
    request = {"expression": image.unmask(-1), "fileFormat": "NPY", "grid": grid}
    return np.load(io.BytesIO(ee.data.computePixels(request)))


def test_patches_of_a_clear_median_are_those_of_numpy(field):
    start, end = "2019-02-01", "2019-05-01"
    image, truth = clear_median(field, start, end), true_median(start, end)
    names = ["B4_median", "B8_median", "SCL_median"]
    corners = [(left, top) for left in (0, 20, 40) for top in (0, 17, 41)]
    with ThreadPoolExecutor(max_workers=9) as pool:
        jobs = {pool.submit(patch, field, image, left, top, 16): (left, top) for left, top in corners}
        for job in as_completed(jobs):
            left, top = jobs[job]
            found = np.moveaxis(recfunctions.structured_to_unstructured(job.result()[names]), -1, 0)
            expected = truth[:, top : top + 16, left : left + 16]
            np.testing.assert_array_equal(found, np.nan_to_num(expected, nan=-1))


# A thumbnail of the same, to look at.


def thumbnail(image, region, kind):
    options = {"region": region, "dimensions": "128x128", "format": kind, "min": 0, "max": 5000}
    url = image.getThumbURL({**options, "bands": ["B8_median", "B4_median", "B4_median"]})
    response = requests.get(url, timeout=30)
    assert response.status_code == 200, response.text
    with MemoryFile(response.content) as file, file.open() as dataset:
        return dataset.read([1, 2, 3]).astype(int)


def at_centres(truth, region, size):
    """The file's pixels under the centres of a picture's: band, row, column."""
    (west, south), (east, north) = corners(region)
    across = west + (np.arange(size) + 0.5) * (east - west) / size
    down = north - (np.arange(size) + 0.5) * (north - south) / size
    crs, transform, (rows, columns) = field_grid()
    xs, ys = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(*np.meshgrid(across, down))
    column, row = (np.floor(each).astype(int) for each in ~transform @ (xs, ys))
    inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    values = truth[:, row.clip(0, rows - 1), column.clip(0, columns - 1)]
    return np.where(inside, values, np.nan)


def test_a_thumbnail_shows_the_same_pixels(field):
    start, end = "2019-02-01", "2019-05-01"
    image = clear_median(field, start, end)
    _, transform, _ = field_grid()
    lon, lat = pyproj.Transformer.from_crs(32630, 4326, always_xy=True).transform(*(transform @ (28, 28)))
    region = field.Geometry.Point([lon, lat]).buffer(250).bounds()
    red, infrared = at_centres(true_median(start, end), region.getInfo(), 128)[:2]
    expected = np.nan_to_num(np.clip(np.stack([infrared, red, red]) / 5000, 0, 1) * 255)
    png, jpg = thumbnail(image, region, "png"), thumbnail(image, region, "jpg")
    # A centre on the very edge of a pixel may fall to either side.
    assert (np.abs(png - expected) <= 1).mean() > 0.999
    assert np.abs(jpg - expected).mean() < 4


# The same workflow over simulated Sentinel-2 with its cloud probability, the grid in degrees.

PLACE = (11.3, 46.4)
BANDS = ["B2", "B3", "B4", "B8", "AOT"]


@pytest.fixture
def world(ee):
    with Emulator(clock=ManualClock(datetime(2024, 3, 1, tzinfo=UTC))) as running:
        ee.Reset()
        ee.Initialize(credentials=None, project="demo-project", url=running.url)
        yield ee


def granules(ee, collection, start, end):
    return ee.ImageCollection(collection).filterBounds(ee.Geometry.Point(PLACE)).filterDate(start, end)


def degrees_grid(ee, size):
    step = ee.Projection("EPSG:4326").atScale(10).getInfo()["transform"][0]
    corner = {"translateX": PLACE[0] - step * size / 2, "translateY": PLACE[1] + step * size / 2}
    affine = {"scaleX": step, "shearX": 0, "shearY": 0, "scaleY": -step, **corner}
    return {"dimensions": {"width": size, "height": size}, "affineTransform": affine, "crsCode": "EPSG:4326"}


def stored_bands(ee, asset, bands, grid):
    pixels = ee.data.getPixels({"assetId": asset, "bandIds": bands, "grid": grid, "fileFormat": "NUMPY_NDARRAY"})
    return np.stack([pixels[band] for band in bands]).astype(np.float64)


def test_patches_without_clouds_are_those_of_numpy(world):
    start, end, grid = "2021-05-01", "2021-07-01", degrees_grid(world, 24)
    images = granules(world, "COPERNICUS/S2_SR_HARMONIZED", start, end)
    clouds = granules(world, "COPERNICUS/S2_CLOUD_PROBABILITY", start, end)
    same_name = world.Filter.equals(leftField="system:index", rightField="system:index")
    joined = world.ImageCollection(world.Join.saveFirst("cloud_probability").apply(images, clouds, same_name))
    with_clouds = joined.map(lambda image: image.addBands(world.Image(image.get("cloud_probability"))))
    clear = with_clouds.map(lambda image: image.updateMask(image.select("probability").lt(50)))
    median = clear.select(BANDS).reduce(world.Reducer.median(), 8)
    found = world.data.computePixels({"expression": median.unmask(-1), "grid": grid, "fileFormat": "NUMPY_NDARRAY"})
    stack = []
    for index in images.aggregate_array("system:index").getInfo():
        bands = stored_bands(world, f"COPERNICUS/S2_SR_HARMONIZED/{index}", BANDS, grid)
        (probability,) = stored_bands(world, f"COPERNICUS/S2_CLOUD_PROBABILITY/{index}", ["probability"], grid)
        stack.append(np.where((probability < 50) & (bands > 0), bands, np.nan))
    assert len(stack) >= 10
    assert 0.05 < np.isnan(stack).mean() < 0.95
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = np.nan_to_num(np.nanmedian(stack, axis=0), nan=-1)
    for layer, band in zip(expected, BANDS, strict=True):
        np.testing.assert_array_equal(found[f"{band}_median"], layer)
