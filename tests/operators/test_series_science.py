"""What keeps the numbers of a series right, one fact after the other, in the order in which users check them."""

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet
import pytest
import rasterio
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_ee.core.grid import parse_crs, snap_scale
from airflow_ee.core.presets import PRESETS
from airflow_ee.core.region import Region
from airflow_ee.operators.series import EarthEngineTimeSeriesOperator

REGION = [-55.6, -12.1, -55.55, -12.05]
CONTEXT = {"params": {}, "ti": SimpleNamespace(dag_id="dag", task_id="task")}


def run(folder, **arguments):
    operator = EarthEngineTimeSeriesOperator(
        task_id="task",
        **{
            "request_retries": 0, "collection": "MOD13Q1", "index": "NDVI", "region": REGION, "start": "2023-01-01",
            "end": "2023-02-01", "table_uri": str(folder / "ndvi"), **arguments,
        },
    )  # fmt: skip
    summary = operator.execute(CONTEXT)
    return summary, pyarrow.parquet.read_table(folder / "ndvi.parquet").to_pylist()


def raster(folder, row):
    return rasterio.open(folder / "rasters" / f"{row['image_ids'][0].rsplit('/', 1)[-1]}.tif")


def test_1_a_masked_pixel_is_never_a_good_zero(simulated, tmp_path):
    """Masked pixels read as 0, and SummaryQA 0 means good: without the mask they would count as NDVI 0."""
    _, rows = run(tmp_path, raster_uri=str(tmp_path / "rasters"), quality="SummaryQA==0")
    masked = 0
    for row in rows:
        with raster(tmp_path, row) as file:
            quality = file.read(file.descriptions.index("SummaryQA") + 1, masked=True)
        masked += int(np.ma.getmaskarray(quality).sum())
        assert row["min"] > 0.05, "no vegetated pixel has NDVI 0"
        assert row["valid_count"] <= int((quality == 0).sum())
    assert masked > 0


def test_2_a_region_is_not_its_grid(simulated, tmp_path):
    """In the sinusoidal grid a box is sheared: it fills part of its rectangle, and the rest does not count."""
    _, (row,) = run(tmp_path, region=[-121, 45, -120.8, 45.2], end="2023-01-10", quality=None)
    grid = snap_scale(Region.parse([-121, 45, -120.8, 45.2]), scale=231.656358, crs="SR-ORG:6974")
    area = Region.parse([-121, 45, -120.8, 45.2]).project(parse_crs("SR-ORG:6974")).area / 231.656358**2
    assert row["pixel_count"] < 0.8 * grid.pixels
    assert row["weight_sum"] / row["valid_fraction"] == pytest.approx(area, rel=1e-4)


def test_3_the_native_grid_is_the_default(simulated, tmp_path):
    _, rows = run(tmp_path, raster_uri=str(tmp_path / "rasters"))
    with raster(tmp_path, rows[0]) as file:
        assert "Sinusoidal" in file.crs.to_wkt()
        assert file.transform.a == pytest.approx(231.65635826395825, abs=1e-12)
        assert ((file.transform.c + 20015109.354) / file.transform.a) % 1 == pytest.approx(0, abs=1e-6)


def test_4_a_scale_is_snapped_as_the_service_does(simulated, tmp_path):
    _, rows = run(tmp_path, raster_uri=str(tmp_path / "rasters"), scale=250, crs="EPSG:4326")
    pixel = 180 / np.pi * 250 / 6378137
    with raster(tmp_path, rows[0]) as file:
        assert file.transform.a == pytest.approx(pixel, rel=1e-15)
        assert abs(file.transform.c / pixel - round(file.transform.c / pixel)) < 1e-6


def test_5_composites_follow_their_own_calendar(simulated, tmp_path):
    _, rows = run(tmp_path, start="2022-11-17", end="2023-02-03")
    starts = [row["image_start"].timetuple().tm_yday for row in rows]
    assert starts == [321, 337, 353, 1, 17, 33]
    assert [row["image_end"] for row in rows[:-1]] == [row["image_start"] for row in rows[1:]]
    assert rows[2]["image_end"] == datetime(2023, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("group_by", ["image", "day", "interval"])
def test_6_observation_dates_come_from_the_pixels_and_pass_the_years_end(simulated, tmp_path, group_by):
    arguments = {"start": "2022-12-19", "end": "2022-12-20", "raster_uri": str(tmp_path / "rasters")}
    _, (image,) = run(tmp_path, **arguments)
    _, rows = run(tmp_path / group_by, **{**arguments, "raster_uri": None}, group_by=group_by)
    with raster(tmp_path, image) as file:
        days = file.read(file.descriptions.index("DayOfYear") + 1, masked=True)
        good = ~np.ma.getmaskarray(file.read(1, masked=True))
    assert days.min() < 4, "days of January are among them"
    elapsed = np.where(days.data >= 353, days.data - 353, days.data + 12)[good & ~np.ma.getmaskarray(days)]
    low, high = np.percentile(elapsed, [45, 55])
    (row,) = rows
    assert date(2022, 12, 19) + timedelta(days=int(low)) <= row["observation_date"]
    assert row["observation_date"] <= date(2022, 12, 19) + timedelta(days=int(high))


def test_7_rasters_hold_digital_numbers_and_tables_physical_values(simulated, tmp_path):
    _, rows = run(
        tmp_path, raster_uri=str(tmp_path / "rasters"), index=None, bands=["NDVI", "sur_refl_b01", "ViewZenith"]
    )
    for row in rows:
        with raster(tmp_path, row) as file:
            index = file.descriptions.index(row["band"])
            numbers = file.read(index + 1, masked=True)
            assert file.scales[index] == PRESETS["MOD13Q1"].band(row["band"]).scale
            assert file.units[index] == row["unit"] == ("deg" if row["band"] == "ViewZenith" else "1")
        assert numbers.max() > 100
        assert row["min"] >= numbers.min() * file.scales[index] - 1e-12
        assert row["max"] <= numbers.max() * file.scales[index] + 1e-12


def test_7_the_offset_is_applied_before_the_index(simulated, tmp_path):
    _, rows = run(
        tmp_path, collection="LC08", start="2023-06-01", end="2023-06-02", index=None, bands=["SR_B4", "SR_B5"],
        raster_uri=str(tmp_path / "rasters"),
    )  # fmt: skip
    _, (index,) = run(tmp_path / "index", collection="LC08", start="2023-06-01", end="2023-06-02")
    with raster(tmp_path, rows[0]) as file:
        red, nir = (file.read(band, masked=True).astype(float) for band in (1, 2))
        assert file.scales[:2] == (0.0000275,) * 2
        assert file.offsets[:2] == (-0.2,) * 2
    physical = [band * 0.0000275 - 0.2 for band in (red, nir)]
    right = ((physical[1] - physical[0]) / (physical[1] + physical[0])).compressed()
    raw = ((nir - red) / (nir + red)).compressed()
    assert right.min() - 1e-9 <= index["min"] <= index["mean"] <= right.max() + 1e-9
    assert index["mean"] == pytest.approx(right.mean(), abs=0.01)
    assert abs(index["mean"] - raw.mean()) > 0.05


def test_8_sentinel2_is_harmonized_and_masked_by_a_score(simulated, tmp_path):
    assert PRESETS["S2_SR_HARMONIZED"].quality == "S2_CLOUD_SCORE"
    with pytest.raises(AirflowFailException, match="jump by 1000"):
        run(tmp_path, collection="COPERNICUS/S2", index=None, bands=["B4"])
    arguments = {"collection": "S2_SR_HARMONIZED", "region": [-55.6, -12.1, -55.595, -12.095], "group_by": "interval"}
    _, (before,) = run(tmp_path / "2021", **arguments, start="2021-06-01", end="2021-07-01", mosaic="median")
    _, (after,) = run(tmp_path / "2023", **arguments, start="2023-06-01", end="2023-07-01", mosaic="median")
    assert before["mean"] == pytest.approx(after["mean"], abs=0.03), "no jump in January 2022"


def test_9_a_coarse_or_fine_grid_is_told(simulated, tmp_path, capsys):
    run(tmp_path / "native")
    assert "times as long as the native ones" not in capsys.readouterr().out
    run(tmp_path / "coarse", scale=1000, crs="EPSG:32721")
    assert "pixels of NDVI are 4.3 times as long as the native ones" in capsys.readouterr().out
    run(tmp_path / "fine", scale=100)
    assert "0.43 times as long as the native ones: the nearest is repeated" in capsys.readouterr().out


def test_9_resampled_quality_is_always_that_of_one_pixel(simulated, tmp_path):
    _, rows = run(tmp_path, scale=100, raster_uri=str(tmp_path / "rasters"))
    with raster(tmp_path, rows[0]) as file:
        quality = file.read(file.descriptions.index("SummaryQA") + 1, masked=True)
    assert set(np.unique(quality.compressed())) <= {0, 1, 2, 3}


def test_10_a_row_tells_the_revision_that_it_was_made_of(simulated, tmp_path):
    _, rows = run(tmp_path, group_by="interval")
    _, images = run(tmp_path / "images")
    assert all(row["source_update_time"] for row in images)
    assert rows[0]["source_update_time"] == max(row["source_update_time"] for row in images)


@pytest.mark.parametrize("sensor", ["MOD13Q1", "S2_SR_HARMONIZED", "LC08", "LC09"])
def test_11_changing_the_sensor_is_one_argument(simulated, tmp_path, sensor):
    _, rows = run(
        tmp_path, collection=sensor, region=[-55.6, -12.1, -55.595, -12.095], start="2023-06-01", end="2023-06-18"
    )  # fmt: skip
    assert {row["band"] for row in rows} == {"NDVI"}
    assert {row["source"] for row in rows} == {PRESETS[sensor].collection}
    means = [row["mean"] for row in rows if row["valid_fraction"] > 0.3]
    assert means
    assert all(0.1 < mean < 0.8 for mean in means)


@pytest.mark.parametrize(
    ("region", "words"),
    [
        ([179.5, -17, 180.5, -16], "a region over the antimeridian needs one task a side"),
        ({"type": "Polygon", "coordinates": [[[179, -17], [-179, -17], [-179, -16], [179, -17]]]}, "antimeridian"),
        ([10, 89.5, 11, 90.5], "leaves the world"),
    ],
)
def test_12_what_crosses_the_antimeridian_or_a_pole_is_refused(simulated, tmp_path, region, words):
    with pytest.raises(AirflowFailException, match=words):
        run(tmp_path, region=region)
    assert list(tmp_path.iterdir()) == []


def test_12_each_side_of_the_antimeridian_has_a_series(simulated, tmp_path):
    for side in ([179.9, -17, 180, -16.9], [-180, -17, -179.9, -16.9]):
        _, rows = run(tmp_path / str(side[0]), region=side, quality=None)
        assert len(rows) == 2
        assert all(row["pixel_count"] > 1000 for row in rows)


def test_12_tile_seams_do_not_show(simulated, tmp_path, monkeypatch):
    """A series in small tiles has the bytes of one in large ones."""
    from airflow_ee.core import settings

    run(tmp_path / "large", percentiles=[10, 50])
    original = settings.Limits

    def small(**options):
        return original(target_bytes=2_000, **options)

    monkeypatch.setattr(settings.ClientSettings, "__init__", _with_limits(settings.ClientSettings.__init__, small()))
    summary, _ = run(tmp_path / "small", percentiles=[10, 50])
    assert summary["requests"] > 10
    for name in ("ndvi.parquet", "ndvi.csv"):
        assert (tmp_path / "large" / name).read_bytes() == (tmp_path / "small" / name).read_bytes()


def _with_limits(original, limits):
    def make(self, **options):
        original(self, **{**options, "limits": limits})

    return make
