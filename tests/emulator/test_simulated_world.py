"""The collections of the whole world beside MOD13Q1: their calendars, and how they agree with the others."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from airflow_ee.emulator.catalog import fields
from airflow_ee.emulator.catalog.modis_calendar import AQUA as AQUA_CALENDAR
from airflow_ee.emulator.catalog.modis_calendar import DAILY as DAILY_CALENDAR
from airflow_ee.emulator.catalog.modis_calendar import VIIRS as VIIRS_CALENDAR

from .conftest import call, graph, image
from .simulation import AQUA, COVER, DAILY, HALF_KILOMETRE, VIIRS, WEATHER, around, listed, pixels, window
from .simulation import image as simulated_image

PUBLIC = "projects/earthengine-public/assets"


@pytest.mark.parametrize(
    ("identity", "days", "last_end"),
    [
        (AQUA, list(range(9, 366, 16)), "2024-01-09"),
        (HALF_KILOMETRE, list(range(1, 366, 16)), "2024-01-01"),
        (VIIRS, list(range(1, 366, 8)), "2024-01-12"),
        (DAILY, list(range(1, 366)), "2024-01-01"),
        (WEATHER, list(range(1, 366)), "2024-01-01"),
    ],
)
def test_a_year_has_the_images_of_the_real_one(identity, days, last_end):
    found = listed(identity, 11.3, 46.4, "2023-01-01", "2024-01-01")
    assert [asset.start.timetuple().tm_yday for asset in found] == days
    assert f"{found[-1].end:%Y-%m-%d}" == last_end
    assert found[0].end - found[0].start == timedelta(days={DAILY: 1, WEATHER: 1}.get(identity, 16))


def test_calendars_start_anew_each_year():
    assert AQUA_CALENDAR.start(date(2024, 1, 8)) == date(2023, 12, 27)
    assert AQUA_CALENDAR.following(date(2023, 12, 27)) == date(2024, 1, 9)
    assert VIIRS_CALENDAR.following(date(2023, 12, 27)) == date(2024, 1, 1)
    assert DAILY_CALENDAR.end(datetime(2023, 12, 31, tzinfo=UTC)) == datetime(2024, 1, 1, tzinfo=UTC)


def test_they_are_served_and_marked_as_simulated(world):
    for name in (f"{VIIRS}/2020_06_01", f"{WEATHER}/20200609", f"{COVER}/2021", f"{DAILY}/2020_06_09"):
        asset = world.get(f"{PUBLIC}/{name}")
        assert asset.headers["x-earth-engine-emulator"] == "simulated"
        assert asset.json()["id"] == name
    assert len(world.get(f"{PUBLIC}/{WEATHER}/20200609").json()["bands"]) == 150
    assert "Simulated" in world.get(f"{PUBLIC}/{COVER}").json()["properties"]["title"]
    point = {"type": "Point", "coordinates": [11.3, 46.4]}
    found = world.value(
        graph(
            call(
                "Image.reduceRegion",
                image=call("Image.select", input=image(f"{COVER}/2021"), bandSelectors=["Map"]),
                reducer=call("Reducer.first"),
                geometry=call("GeometryConstructors.Point", coordinates=point["coordinates"]),
                scale=10,
            )
        )
    )
    assert found["Map"] in (10, 20, 30, 40, 50, 60, 80, 90)


def test_the_state_of_a_day_tells_clouds_where_reflectances_show_them():
    clouds = 0
    for asset in listed(DAILY, 11.3, 46.4, "2022-07-01", "2022-07-20"):
        grid = around(asset, 11.3, 46.4, side=64, band="state_1km")
        found = pixels(asset, ["state_1km", "sur_refl_b03", "QC_500m"], grid)
        state, blue, quality = (values for values, _ in found.values())
        assert (blue[state & 3 == 0] < 2000).all()
        cloudy = state & 3 == 1
        clouds += cloudy.sum()
        assert ((state[cloudy] >> 10) & 1).all()
        assert ((quality & 3)[state & 3 == 0] == 0).all()
    assert clouds > 500


def test_the_weather_agrees_with_itself_and_with_the_sky():
    asset = simulated_image(f"{WEATHER}/20220712")
    names = [band.name for band in asset.bands]
    assert len(names) == len(set(names)) == 150
    assert names[:2] == ["dewpoint_temperature_2m", "temperature_2m"]
    assert names[50:52] == ["dewpoint_temperature_2m_min", "dewpoint_temperature_2m_max"]
    grid = asset.bands[0].grid.window(row=400, col=1850, height=60, width=80)
    found = {name: values for name, (values, _) in pixels(asset, names, grid).items()}
    for name in names[:50]:
        base = name.removesuffix("_sum")
        assert np.isfinite(found[name]).all()
        assert (found[f"{base}_min"] <= found[f"{base}_max"]).all()
        if not name.endswith("_sum"):
            assert (found[f"{base}_min"] <= found[name] + 1e-9).all()
            assert (found[name] <= found[f"{base}_max"] + 1e-9).all()
    assert (found["dewpoint_temperature_2m"] <= found["temperature_2m"]).all()
    parts = [name for name in names[:50] if name.startswith("evaporation_from_")]
    np.testing.assert_allclose(sum(found[name] for name in parts), found["total_evaporation_sum"])
    np.testing.assert_allclose(found["surface_runoff_sum"] + found["sub_surface_runoff_sum"], found["runoff_sum"])
    x, y = np.meshgrid(5.0 + 0.1 * np.arange(80), 50.0 - 0.1 * np.arange(60))
    day = date(2022, 7, 12)
    cloud = fields.cloudiness(x, y, day.toordinal(), float(day.timetuple().tm_yday))
    np.testing.assert_array_equal(found["total_precipitation_sum"] > 0, cloud > 0.4)


def test_summers_are_warm_on_both_sides_of_the_equator():
    def mean(index, latitude):
        grid = window("EPSG:4326", 11, latitude, 0.1, 30, 30)
        return pixels(simulated_image(f"{WEATHER}/{index}"), ["temperature_2m"], grid)["temperature_2m"][0].mean()

    assert mean("20220715", 46) > mean("20220115", 46) + 10
    assert mean("20220115", -40) > mean("20220715", -40) + 10
    assert 255 < mean("20220115", 46) < 280


def test_the_land_cover_is_that_of_the_same_ground():
    asset = simulated_image(f"{COVER}/2021")
    grid = window("EPSG:4326", 11, 46.4, 1 / 1200, 200, 200)
    values, mask = pixels(asset, ["Map"], grid)["Map"]
    assert (mask == 1).all()
    assert set(np.unique(values)) <= {10, 20, 30, 40, 50, 60, 80, 90}
    lattice = asset.bands[0].grid
    rows, cols = grid.sites_in(lattice.projection)
    x, y = (np.broadcast_to(each, grid.shape) for each in lattice.projection.corners(rows + 0.5, cols + 0.5))
    np.testing.assert_array_equal(values == 80, fields.is_water(x, y))
    outside, mask = pixels(asset, ["Map"], window("EPSG:4326", 11, -70, 0.1, 5, 5))["Map"]
    assert not mask.any()
    assert not outside.any()
