"""The simulated collections look like the real ones, and their truth is known."""

import time
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from airflow_ee.emulator import Emulator
from airflow_ee.emulator.catalog.fields import truth
from airflow_ee.emulator.catalog.mgrs import tile_named, tiles_over
from airflow_ee.emulator.catalog.modis_calendar import TERRA
from airflow_ee.emulator.catalog.recipe import simulated
from airflow_ee.emulator.clock import ManualClock

from .conftest import NOW, Rest, call, graph, grid, image, loaded, message

MODIS = "projects/earthengine-public/assets/MODIS/061/MOD13Q1"
S2 = "projects/earthengine-public/assets/COPERNICUS/S2_SR_HARMONIZED"
LANDSAT = "projects/earthengine-public/assets/LANDSAT/LC08/C02/T1_L2"
BOX = "intersects(\"{'type':'Point','coordinates':[11.3,46.4]}\")"


def listed(rest, parent, **query):
    answer = rest.get(f"{parent}:listAssets", **query)
    assert answer.status_code == 200, answer.text
    return answer.json().get("assets", [])


def test_composites_follow_the_calendar_and_are_published_late(world):
    year = listed(world, MODIS, filter='startTime >= "2023-01-01T00:00:00Z" AND startTime < "2024-01-01T00:00:00Z"')
    days = [datetime.fromisoformat(asset["startTime"]).timetuple().tm_yday for asset in year]
    assert days == list(range(1, 366, 16))
    assert year[-1]["endTime"] == "2024-01-01T00:00:00Z"
    latest = listed(world, MODIS, filter='startTime >= "2024-01-01T00:00:00Z"')
    assert [asset["id"].rsplit("/", 1)[1] for asset in latest] == ["2024_01_01", "2024_01_17", "2024_02_02"]
    assert TERRA.start(date(2000, 2, 20)) == date(2000, 2, 18)


def test_bands_types_and_grid_are_those_of_mod13q1(world):
    asset = world.get(f"{MODIS}/2020_06_09").json()
    assert [band["id"] for band in asset["bands"]][:3] == ["NDVI", "EVI", "DetailedQA"]
    assert asset["bands"][0]["grid"]["dimensions"] == {"width": 172800, "height": 86400}
    assert asset["bands"][0]["grid"]["affineTransform"]["scaleX"] == pytest.approx(231.656358)
    assert asset["startTime"] == "2020-06-09T00:00:00Z"
    for name in ("2020_06_10", "1999_12_18", "2030_01_01", "2020_13_01"):
        assert world.get(f"{MODIS}/{name}").status_code == 404


def ndvi_and_quality(world, day, latitude, longitude=11.0):
    bands = call("Image.select", input=image(f"MODIS/061/MOD13Q1/{day}"), bandSelectors=["NDVI", "SummaryQA"])
    masked = call(
        "Image.addBands",
        dstImg=bands,
        srcImg=call(
            "Image.rename",
            input=call("Image.select", input=call("Image.mask", image=bands), bandSelectors=[0]),
            names=["m"],
        ),
    )
    array = world.pixels(graph(masked), grid("EPSG:4326", (longitude, latitude), 0.0021, 90, 90))
    return array["NDVI"] * 1e-4, array["SummaryQA"], array["m"] > 0


def test_a_year_looks_like_vegetation_and_turns_round_in_the_south(world):
    months = ["2020_01_17", "2020_04_06", "2020_07_11", "2020_10_15"]
    curves = {}
    for latitude in (46.5, -33.0):
        curve = []
        for day in months:
            ndvi, quality, valid = ndvi_and_quality(world, day, latitude)
            curve.append(ndvi[valid & (quality == 0)].mean())
        curves[latitude] = curve
    north, south = curves[46.5], curves[-33.0]
    assert north[2] == max(north) > 0.5
    assert north[0] < 0.35
    assert south[0] > south[2] + 0.2


def test_good_pixels_show_the_truth_and_cloudy_ones_are_lower(world):
    seen = {0: [], 3: []}
    for day in ("2020_05_08", "2020_05_24", "2020_06_09", "2020_07_27", "2020_08_28"):
        ndvi, quality, valid = ndvi_and_quality(world, day, 46.5)
        lon, lat = np.meshgrid(11.0 + 0.0021 * (np.arange(90) + 0.5), 46.5 - 0.0021 * (np.arange(90) + 0.5))
        start = datetime.strptime(day, "%Y_%m_%d").replace(tzinfo=UTC).timetuple().tm_yday
        difference = ndvi - truth(lon, lat, start + 8)
        for flag, found in seen.items():
            found.append(difference[valid & (quality == flag)])
    good, cloudy = np.concatenate(seen[0]), np.concatenate(seen[3])
    assert abs(np.median(good)) < 0.02
    assert cloudy.size
    assert np.median(cloudy) < -0.1


def test_some_pixels_are_masked_and_read_as_zero(world):
    ndvi, quality, valid = ndvi_and_quality(world, "2020_06_09", 46.5)
    assert 0 < (~valid).mean() < 0.25
    assert not ndvi[~valid].any()
    assert not quality[~valid].any()


def test_day_of_year_lies_in_the_composite_and_wraps_at_new_year(world):
    for day, allowed in [("2020_06_09", range(161, 177)), ("2021_12_19", [*range(353, 366), 1, 2, 3])]:
        bands = call("Image.select", input=image(f"MODIS/061/MOD13Q1/{day}"), bandSelectors=["DayOfYear"])
        days = world.pixels(graph(bands), grid("EPSG:4326", (11, 46.5), 0.0021, 60, 60))["DayOfYear"]
        assert set(np.unique(days)) - {0} == set(allowed)


def test_granules_exist_where_and_when_they_are_asked_for(world):
    june = f'startTime >= "2020-06-01T00:00:00Z" AND startTime < "2020-07-01T00:00:00Z" AND {BOX}'
    everything = listed(world, S2, filter=june)
    found = [asset for asset in everything if asset["properties"]["MGRS_TILE"] == "32TPS"]
    assert found[0]["id"].endswith("/20200602T101036_20200602T101650_T32TPS")
    assert [asset["startTime"][:10] for asset in found] == [
        f"2020-06-{day:02}" for day in (2, 5, 7, 10, 12, 15, 17, 20, 22, 25, 27, 30)
    ]
    assert found[0]["startTime"] == found[0]["endTime"] == "2020-06-02T10:16:50.134Z"
    properties = found[0]["properties"]
    assert 0 <= properties["CLOUDY_PIXEL_PERCENTAGE"] <= 100
    clear = listed(world, S2, filter=june + " AND properties.CLOUDY_PIXEL_PERCENTAGE < 20")
    assert {asset["id"] for asset in clear} == {
        asset["id"] for asset in everything if asset["properties"]["CLOUDY_PIXEL_PERCENTAGE"] < 20
    }
    same = world.get(found[0]["name"])
    assert same.json() == found[0]
    assert same.headers["x-earth-engine-emulator"] == "simulated"


def test_both_sensors_see_the_same_field(world):
    name = "COPERNICUS/S2_SR_HARMONIZED/20200617T101036_20200617T101650_T32TPS"
    bands = call("Image.select", input=image(name), bandSelectors=["B8", "B4", "SCL"])
    array = world.pixels(graph(bands), grid("EPSG:32632", (660000, 5150000), 50, 100, 100))
    near, red = array["B8"].astype(float), array["B4"].astype(float)
    clear = np.isin(array["SCL"], [4, 5])
    import pyproj

    x, y = np.meshgrid(660000 + 50 * (np.arange(100) + 0.5), 5150000 - 50 * (np.arange(100) + 0.5))
    lon, lat = pyproj.Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True).transform(x, y)
    expected = truth(lon, lat, date(2020, 6, 17).timetuple().tm_yday)
    assert clear.mean() > 0.2
    assert np.median(np.abs((near - red) / (near + red) - expected)[clear]) < 0.03


@pytest.mark.parametrize(
    ("name", "left", "top"),
    [("32TPS", 600000, 5200020), ("32TPT", 600000, 5300040), ("22KDV", 399960, 7500040), ("33UUP", 300000, 5400000)],
)
def test_tiles_lie_where_the_real_ones_do(name, left, top):
    tile = tile_named(name)
    assert (tile.left, tile.top) == (left, top)


def test_every_place_has_a_tile():
    places = np.random.default_rng(3).uniform((-180, -55), (180, 75), (60, 2))
    assert all(tiles_over((lon, lat, lon, lat)) for lon, lat in places)


def test_a_tile_of_512_pixels_takes_a_tenth_of_a_second(world):
    steps = {"scaleX": 231.65635826395825, "scaleY": -231.65635826395834}
    corner = {
        "translateX": -20015109.354 + 90000 * 231.65635826395825,
        "translateY": 10007554.677003 - 21000 * 231.65635826395834,
    }
    wanted = {
        "crsCode": "SR-ORG:6974",
        "dimensions": {"width": 512, "height": 512},
        "affineTransform": {**steps, **corner},
    }
    times = []
    for _ in range(3):
        start = time.process_time()
        loaded(world.asset_pixels(f"{MODIS}/2020_06_09", grid=wanted, bandIds=["NDVI"]))
        times.append(time.process_time() - start)
    assert min(times) < 1.0  # a tenth of that on an idle machine; the rest is for a busy one


def test_the_whole_world_is_listed_page_by_page(world):
    start = time.process_time()
    first = world.get(f"{LANDSAT}:listAssets", pageSize=3).json()
    second = world.get(f"{LANDSAT}:listAssets", pageSize=3, pageToken=first["nextPageToken"]).json()
    assert time.process_time() - start < 5
    names = [asset["id"] for answer in (first, second) for asset in answer["assets"]]
    assert len(set(names)) == 6
    assert {name.rsplit("_", 1)[1] for name in names} == {"20130318"}


def value_of_world(world, name, **arguments):
    collection = call("ImageCollection.load", id="LANDSAT/LC09/C02/T1_L2")
    return world.post(
        f"{world.project}/value:compute", {"expression": graph(call(name, collection=collection, **arguments))}
    )


def test_the_first_images_of_the_world_come_quickly_and_all_of_them_are_too_many(world):
    start = time.process_time()
    assert value_of_world(world, "Collection.first").json()["result"]["id"].startswith("LANDSAT/LC09/C02/T1_L2/LC09_")
    seven = call("Collection.limit", collection=call("ImageCollection.load", id="COPERNICUS/S2_HARMONIZED"), limit=7)
    assert world.value(graph(call("Collection.size", collection=seven))) == 7
    assert time.process_time() - start < 5
    assert "over 5000 elements" in message(value_of_world(world, "Collection.size"))


def test_filters_that_leave_nothing_of_the_world_end_with_advice(world):
    none = call("Filter.lessThan", leftField="CLOUD_COVER", rightValue=-2)
    collection = call(
        "Collection.filter", collection=call("ImageCollection.load", id="LANDSAT/LC09/C02/T1_L2"), filter=none
    )
    answer = world.post(
        f"{world.project}/value:compute", {"expression": graph(call("Collection.size", collection=collection))}
    )
    assert "more than 5001 images match" in message(answer)
    assert "filterBounds" in message(answer)


def test_images_appear_on_whole_hours_only():
    for identity, asset in [
        (MODIS, "2023_06_10"),
        (S2, "20200602T101036_20200602T101650_T32TPS"),
        (LANDSAT, "LC08_044034_20140318"),
    ]:
        clock = ManualClock(NOW)
        catalog = {each.id: each for each in simulated(clock)}
        collection = catalog[identity.removeprefix("projects/earthengine-public/assets/")]
        published = collection.image(asset).updated
        assert (published.minute, published.second, published.microsecond) == (0, 0, 0)
        clock.set(published - timedelta(microseconds=1))
        assert collection.image(asset) is None
        clock.set(published)
        assert collection.image(asset) is not None


def test_the_clock_decides_what_is_there():
    clock = ManualClock(datetime(2020, 1, 20, tzinfo=UTC))
    with Emulator(clock=clock) as running:
        rest = Rest(running.url)
        assert rest.get(f"{MODIS}/2020_01_01").status_code == 404
        clock.advance(5 * 86400)
        answer = rest.get(f"{MODIS}/2020_01_01")
        assert answer.status_code == 200
        assert answer.headers["x-earth-engine-emulator"] == "simulated"
