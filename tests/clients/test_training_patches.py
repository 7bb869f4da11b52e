"""Training patches, as Google's two public notebooks make them, with code of our own and pixels to compare with."""

import io
from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np
import pyproj
import rasterio
from rasterio.windows import Window

from .conftest import MODIS

SINUSOIDAL = "+proj=sinu +R=6371007.181 +units=m"


# With getPixels: what is stored, for random points and every date of a year.


def points_in(ee, region, count):
    points = ee.FeatureCollection.randomPoints(region=region, points=count, seed=7, maxError=1)
    return [point["coordinates"] for point in points.aggregate_array(".geo").getInfo()]


def stored_patch(ee, coordinates, asset):
    region = ee.Geometry.Point(coordinates).buffer(700).bounds().getInfo()
    request = {"fileFormat": "NPY", "bandIds": ["NDVI"], "region": region, "assetId": asset}
    return np.load(io.BytesIO(ee.data.getPixels(request)))["NDVI"], region


def window_of(region, dataset):
    """The pixels that a geographic rectangle touches: its edges, followed closely, in the file's own projection."""
    (west, south), _, (east, north) = region["coordinates"][0][:3]
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
