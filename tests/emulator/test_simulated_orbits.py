"""Overpasses fall on the dates of real products, and neighbouring tracks overlap as they do."""

import itertools
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from airflow_ee.emulator.catalog import sentinel2_passes, wrs2
from airflow_ee.emulator.catalog.mgrs import tile_named

from .simulation import LANDSAT_8, LANDSAT_9, SURFACE, TOP, image, listed

# Names of real products: satellite, begin of the data take, relative orbit, tile.
REAL_GRANULES = [
    ("A", "20200113T095351", 79, "32PLQ"),
    ("A", "20200520T105031", 51, "31UDP"),
    ("A", "20200829T102031", 65, "33UUV"),
    ("A", "20200107T063501", 134, "40KCB"),
    ("A", "20200529T094041", 36, "35VLF"),
    ("A", "20201211T134211", 124, "22MGD"),
    ("A", "20190101T082331", 121, "34HCH"),
    ("B", "20190808T132239", 38, "22KGV"),
    ("B", "20190927T000239", 30, "56JMP"),
    ("B", "20190902T184919", 113, "11UNQ"),
    ("B", "20210723T184919", 113, "10SFH"),
    ("A", "20170613T101031", 22, "33UUP"),
]


@pytest.mark.parametrize(("satellite", "start", "orbit", "name"), REAL_GRANULES)
def test_sentinel_passes_are_those_of_real_products(satellite, start, orbit, name):
    tile, moment = tile_named(name), datetime.strptime(start, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    found = list(sentinel2_passes.granules([tile], moment - timedelta(hours=1), moment + timedelta(hours=2)))
    assert [(each.satellite.name, each.relative_orbit) for each in found] == [(satellite, orbit)]
    assert timedelta(minutes=-2) < found[0].sensed - moment < timedelta(minutes=35)


def test_a_granule_is_seen_at_the_second_that_its_real_name_says():
    (found,) = listed(SURFACE, 19.43, -33.92, "2019-01-01", "2019-01-02")
    assert abs(found.start - datetime(2019, 1, 1, 8, 48, 46, tzinfo=UTC)) < timedelta(seconds=5)
    assert found.properties["DATATAKE_IDENTIFIER"].startswith("GS2A_20190101T08")
    assert "_018422_" in found.properties["DATATAKE_IDENTIFIER"]
    assert found.properties["SENSING_ORBIT_NUMBER"] == 121


@pytest.mark.parametrize(
    "name",
    [
        "LC08_044034_20140318", "LC08_044034_20210508", "LC08_038032_20160820", "LC08_186059_20130419",
        "LC08_123032_20140515", "LC08_045033_20171011", "LC08_044033_20191010", "LC08_202034_20240316",
        "LC08_173083_20180217", "LC08_145037_20200712", "LC08_038031_20130828",
    ],
)  # fmt: skip
def test_landsat_scenes_are_there_on_the_days_of_real_ones(name):
    assert image(f"{LANDSAT_8}/{name}") is not None


@pytest.mark.parametrize("name", ["LC09_044034_20220111", "LC09_173083_20220308", "LC09_044033_20220127"])
def test_landsat_9_follows_eight_days_later(name):
    assert image(f"{LANDSAT_9}/{name}") is not None


def test_scene_centres_and_times_are_those_of_the_reference_system():
    # From the metadata of real scenes: centre within a few kilometres, time within a quarter of a minute.
    scene = wrs2.scene_on(wrs2.LANDSAT_8, wrs2.Frame(10, 20), datetime(2015, 1, 18, tzinfo=UTC))
    assert abs(scene.sensed - datetime(2015, 1, 18, 15, 10, 22, tzinfo=UTC)) < timedelta(seconds=15)
    longitude, latitude = wrs2.Frame(44, 34).centre
    assert (longitude, latitude) == pytest.approx((-122.1, 37.47), abs=0.1)


def test_scenes_under_a_low_sun_have_no_reflectance():
    assert image(f"{LANDSAT_8}/LC08_010020_20150118") is None
    assert image(f"{LANDSAT_8}/LC08_010020_20150627").properties["SUN_ELEVATION"] > 50


def test_the_cycle_is_ten_days_for_one_satellite_and_five_for_two():
    starts = [asset.start for asset in listed(SURFACE, -55.6, -12.1, "2020-01-01", "2020-03-01")]
    assert {later - earlier for earlier, later in itertools.pairwise(starts)} == {timedelta(days=5)}
    alone = [asset.start for asset in listed(TOP, -55.6, -12.1, "2016-01-01", "2016-03-01")]
    assert {later - earlier for earlier, later in itertools.pairwise(alone)} == {timedelta(days=10)}


def test_the_swaths_of_neighbouring_orbits_overlap_more_towards_the_pole():
    def passes(latitude):
        found = listed(TOP, 20.0, latitude, "2020-06-01", "2020-06-11")
        return len({asset.properties["SENSING_ORBIT_NUMBER"] for asset in found})

    assert passes(0.5) <= passes(45.0) <= passes(60.0) < passes(75.0)
    assert passes(75.0) > 4


def test_neighbouring_paths_and_rows_overlap():
    latitude = 46.4
    counts = [len(wrs2_frames(longitude, latitude)) for longitude in np.arange(8.0, 14.0, 0.25)]
    assert min(counts) >= 1
    assert max(counts) >= 2


def wrs2_frames(longitude, latitude):
    return {asset.index[5:11] for asset in listed(LANDSAT_8, longitude, latitude, "2021-06-01", "2021-06-17")}


@pytest.mark.parametrize("longitude", [-179.999, 179.999, 0.0, 3.0, -6.0001])
@pytest.mark.parametrize("latitude", [-50.0, -0.001, 0.0, 71.0, 82.0])
def test_every_place_is_seen_within_a_cycle(longitude, latitude):
    assert listed(TOP, longitude, latitude, "2020-06-01", "2020-06-11")
    assert listed(LANDSAT_8, longitude, latitude, "2020-03-15", "2020-03-31") or abs(latitude) > 60


def test_track_and_place_are_each_others_inverse():
    along, across = np.meshgrid(np.linspace(-80, 80, 41), np.linspace(-1.3, 1.3, 9))
    places = wrs2.ORBIT.place(-64.6, along, across)
    back = wrs2.ORBIT.track(-64.6, *places)
    np.testing.assert_allclose(back.along, along, atol=2e-3)
    np.testing.assert_allclose(back.across, across, atol=2e-4)
