"""Any sensor by one argument: NDVI of Sentinel-2, Landsat and MODIS is the simulated truth wherever the sky is clear."""

from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet
import pyproj
import pytest
import rasterio
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_ee.core.client import EarthEngineClient
from airflow_ee.emulator.catalog.fields import truth
from airflow_ee.operators.series import EarthEngineTimeSeriesOperator

REGION = [-55.6, -12.1, -55.59, -12.09]
CONTEXT = {"params": {}, "ti": SimpleNamespace(dag_id="dag", task_id="task")}
SENSORS = {"MOD13Q1": 231.656, "S2_SR_HARMONIZED": 10, "LC08": 30, "LC09": 30}


def run(folder, **arguments):
    operator = EarthEngineTimeSeriesOperator(
        task_id="task",
        **{
            "request_retries": 0, "index": "NDVI", "region": REGION, "start": "2023-06-01", "end": "2023-07-01",
            "table_uri": str(folder / "ndvi"), **arguments,
        },
    )  # fmt: skip
    summary = operator.execute(CONTEXT)
    return summary, pyarrow.parquet.read_table(folder / "ndvi.parquet").to_pylist()


def ndvi_and_truth(raster, day_of_year):
    """NDVI of a raster's valid pixels, and what the simulation says grows there."""
    with rasterio.open(raster) as file:
        values = file.read(1, masked=True).astype(float) * file.scales[0] + file.offsets[0]
        rows, cols = np.mgrid[0 : file.height, 0 : file.width]
        xs, ys = _centres(file, rows, cols)
        to_degrees = pyproj.Transformer.from_crs(pyproj.CRS(file.crs.to_wkt()), "EPSG:4326", always_xy=True)
        longitude, latitude = to_degrees.transform(xs, ys)
    valid = ~np.ma.getmaskarray(values)
    return values.data[valid], truth(longitude, latitude, float(day_of_year))[valid]


def _centres(file, rows, cols):
    a, b, c, d, e, f = file.transform[:6]
    return a * (cols + 0.5) + b * (rows + 0.5) + c, d * (cols + 0.5) + e * (rows + 0.5) + f


@pytest.mark.parametrize("sensor", ["S2_SR_HARMONIZED", "LC08", "LC09"])
def test_the_sensor_is_one_argument_and_its_ndvi_is_the_truth_under_a_clear_sky(simulated, tmp_path, sensor):
    _, rows = run(tmp_path, collection=sensor, raster_uri=str(tmp_path / "rasters"))
    clear = [row for row in rows if row["valid_fraction"] > 0.99]
    assert clear, "no clear day"
    for row in clear:
        raster = tmp_path / "rasters" / f"{row['image_ids'][0].rsplit('/', 1)[-1]}.tif"
        found, expected = ndvi_and_truth(raster, row["image_start"].timetuple().tm_yday)
        # A digital number is 0.0001 of reflectance; of red, about 0.05, that is 0.002 of NDVI at most.
        assert np.abs(found - expected).max() < 0.01
        assert np.abs(found - expected).mean() < 0.002
        with rasterio.open(raster) as file:
            assert file.res == (SENSORS[sensor], SENSORS[sensor])
            assert file.descriptions[0] == "NDVI"
            assert file.dtypes[0] == "float32"
        assert row["band"] == "NDVI"
        assert row["unit"] == "1"
        assert row["observation_date"] == row["image_start"].date()


def test_all_sensors_agree_on_the_month(simulated, tmp_path):
    means = {}
    for sensor in SENSORS:
        _, (row,) = run(tmp_path / sensor, collection=sensor, group_by="interval", mosaic="median")
        means[sensor] = row["mean"]
        assert row["valid_fraction"] > 0.95
    assert max(means.values()) - min(means.values()) < 0.02


def test_pixels_without_a_good_score_do_not_count(simulated, tmp_path):
    """The mask of Cloud Score+ is applied pixel by pixel, joined by the image's index."""
    _, rows = run(tmp_path, collection="S2_SR_HARMONIZED", raster_uri=str(tmp_path / "rasters"))
    clouded = 0
    for row in rows:
        with rasterio.open(tmp_path / "rasters" / f"{row['image_ids'][0].rsplit('/', 1)[-1]}.tif") as file:
            bands = dict(zip(file.descriptions, file.read(masked=True), strict=True))
            assert file.tags()["quality"] == "cs_cdf>=0.60"
            assert file.tags()["source"] == row["image_ids"][0]
        ndvi, score = bands["NDVI"], bands["cs_cdf"]
        good = ~np.ma.getmaskarray(score) & (score.data >= 0.6)
        assert not (~np.ma.getmaskarray(ndvi) & ~good).any()
        clouded += int((~good).sum())
    assert clouded > 500


@pytest.mark.parametrize(
    ("quality", "clouded"),
    [
        ("S2_SCL_CLEAR", True),
        ("SCL in (4, 5, 6)", True),
        ("S2_CLOUD_PROBABILITY", True),
        ("probability<40 and SCL in (4, 5)", True),
        ("cs>=0.5", True),
        (None, False),
    ],
)
def test_every_rule_of_sentinel2_can_be_chosen(simulated, tmp_path, quality, clouded):
    """Nothing is in the way on 5 June; thin clouds and their shadows on 10 June."""
    _, rows = run(tmp_path, collection="S2_SR_HARMONIZED", quality=quality, end="2023-06-12")
    assert rows[0]["valid_fraction"] == 1
    assert (rows[1]["valid_fraction"] < 1) is clouded


def without_scores(monkeypatch, missing):
    """From now on score images of these days are not listed."""
    original = EarthEngineClient.list_images

    def listed(self, collection_id, **arguments):
        found = original(self, collection_id, **arguments)
        if "CLOUD_SCORE" not in collection_id:
            return found
        return [image for image in found if not image.index.startswith(missing)]

    monkeypatch.setattr(EarthEngineClient, "list_images", listed)


def test_an_image_without_a_score_image_has_no_valid_pixel_until_the_score_comes(
    simulated, tmp_path, monkeypatch, capsys
):
    with monkeypatch.context() as patch:
        without_scores(patch, "20230605")
        _, rows = run(tmp_path, collection="S2_SR_HARMONIZED", end="2023-06-12")
        assert "1 of 2 images have no score image" in capsys.readouterr().out
    assert rows[0]["valid_count"] == 0
    assert rows[0]["mean"] is None
    assert rows[1]["valid_count"] > 0
    summary, rows = run(tmp_path, collection="S2_SR_HARMONIZED", end="2023-06-12")
    assert summary["images_unchanged"] == 1, "the image whose score came is made anew"
    assert rows[0]["valid_fraction"] == 1.0


def test_qa60_is_refused_where_it_is_empty(simulated, tmp_path):
    arguments = {"collection": "S2_SR_HARMONIZED", "quality": "QA60==0"}
    with pytest.raises(AirflowFailException, match=r"QA60 is empty in 6 of 6 images.*use S2_CLOUD_SCORE"):
        run(tmp_path, **arguments)
    _, rows = run(tmp_path, **arguments, start="2021-06-01", end="2021-06-12")
    assert rows


def test_a_day_is_one_row_although_granules_of_two_zones_saw_it(simulated, tmp_path):
    """54 W is the border of zones 21 and 22: tiles of both cover the region."""
    region = [-54.01, -12.5, -53.99, -12.49]
    arguments = {"collection": "S2_SR_HARMONIZED", "region": region, "quality": "S2_SCL_CLEAR"}
    alone, images = run(tmp_path / "image", **arguments)
    grouped, days = run(tmp_path / "day", group_by="day", **arguments)
    assert alone["images"] == grouped["images"] == sum(row["image_count"] for row in days)
    assert len(days) < len(images)
    zones = {row["image_ids"][0].rsplit("_T", 1)[-1][:2] for row in images}
    assert zones == {"21", "22"}
    for row in days:
        same_day = [item for item in images if item["image_start"].date() == row["observation_date"]]
        assert row["valid_count"] >= max((item["valid_count"] for item in same_day), default=0)
        assert row["image_ids"] == [item["image_ids"][0] for item in images if item["image_ids"][0] in row["image_ids"]]


@pytest.mark.parametrize("mosaic", ["first", "last", "mean", "median", "min", "max"])
def test_a_mosaic_is_numpys_of_the_rasters_of_its_images(simulated, tmp_path, mosaic):
    arguments = {"collection": "LC08", "quality": "QA_PIXEL.cloud==0", "scale": 120}
    _, images = run(tmp_path / "image", raster_uri=str(tmp_path / "images"), **arguments)
    _, (row,) = run(
        tmp_path / "month", group_by="interval", mosaic=mosaic, raster_uri=str(tmp_path / "month"), **arguments
    )
    stack = []
    for image in images:
        with rasterio.open(tmp_path / "images" / f"{image['image_ids'][0].rsplit('/', 1)[-1]}.tif") as file:
            stack.append(file.read(1, masked=True).filled(np.nan))
    with rasterio.open(tmp_path / "month" / "20230601T000000_20230701T000000.tif") as file:
        made = file.read(1, masked=True).filled(np.nan)
        assert file.tags()["mosaic"] == mosaic
        assert file.tags()["images"].split() == [image["image_ids"][0] for image in images]
    stack = np.array(stack)
    anywhere = ~np.isnan(stack).all(axis=0)
    at = np.argmax(~np.isnan(stack), axis=0), len(stack) - 1 - np.argmax(~np.isnan(stack[::-1]), axis=0)
    expected = {
        "first": np.take_along_axis(stack, at[0][None], 0)[0],
        "last": np.take_along_axis(stack, at[1][None], 0)[0],
        **{name: getattr(np, f"nan{name}")(stack[:, anywhere], axis=0) for name in ("mean", "median", "min", "max")},
    }[mosaic]
    if expected.shape == made.shape:
        expected = expected[anywhere]
    assert np.array_equal(~np.isnan(made), anywhere)
    assert np.allclose(made[anywhere], expected, atol=1e-6)
    assert row["image_count"] == len(images) == 6


def test_several_indices_and_extra_columns_in_one_table_lose_nothing(simulated, tmp_path):
    arguments = {"collection": "LC09", "end": "2023-06-12", "quality": None}
    run(tmp_path, **arguments)
    _, rows = run(
        tmp_path, **{**arguments, "index": ["EVI", "NBR"]}, statistics=["mean", "median", "sum"], percentiles=[10, 90]
    )
    by_band = {band: [row for row in rows if row["band"] == band] for band in ("NDVI", "EVI", "NBR")}
    assert {band: len(found) for band, found in by_band.items()} == {"NDVI": 3, "EVI": 3, "NBR": 3}
    assert all(row["std"] is not None and row["p10"] is None for row in by_band["NDVI"] if row["valid_count"])
    for row in (row for row in by_band["EVI"] if row["valid_count"]):
        assert row["std"] is None
        assert row["p10"] <= row["median"] <= row["p90"]
        assert row["sum"] == pytest.approx(row["mean"] * row["weight_sum"])
    assert list(rows[0])[-4:] == ["median", "sum", "p10", "p90"]
    header = (tmp_path / "ndvi.csv").read_text().splitlines()[0]
    assert header.endswith('"median","sum","p10","p90"')


def test_filters_choose_images_by_their_properties(simulated, tmp_path):
    everything, _ = run(tmp_path / "all", collection="S2_SR_HARMONIZED")
    some, rows = run(tmp_path / "some", collection="S2_SR_HARMONIZED", filters=["CLOUDY_PIXEL_PERCENTAGE<20"])
    assert (some["images"], everything["images"]) == (4, 6)
    assert len(rows) == some["images"]


def test_runs_in_any_order_make_one_table(simulated, tmp_path):
    arguments = {"collection": "LC08", "group_by": "day"}
    run(tmp_path / "once", **arguments)
    for start, end in [("2023-06-16", "2023-07-01"), ("2023-06-01", "2023-06-11"), ("2023-06-09", "2023-06-18")]:
        run(tmp_path / "parts", **arguments, start=start, end=end)
    for name in ("ndvi.parquet", "ndvi.csv"):
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_a_granule_that_comes_late_replaces_its_days_row_or_not_as_asked(simulated, tmp_path, monkeypatch):
    arguments = {"collection": "LC08", "group_by": "day", "quality": None, "start": "2023-06-10", "end": "2023-06-11"}
    original = EarthEngineClient.list_images
    with monkeypatch.context() as patch:
        patch.setattr(EarthEngineClient, "list_images", lambda *args, **options: original(*args, **options)[:1])
        _, (early,) = run(tmp_path, **arguments)
    kept, (row,) = run(tmp_path, **arguments, on_revised="keep")
    assert (kept["images_unchanged"], row) == (2, early)
    replaced, (row,) = run(tmp_path, **arguments, on_revised="replace")
    assert replaced["images_unchanged"] == 0
    assert (early["image_count"], row["image_count"]) == (1, 2)


def test_an_estimate_fetches_and_writes_nothing(simulated, tmp_path):
    arguments = {"collection": "LC08", "index": "NDVI", "region": REGION, "start": "2023-06-01", "end": "2023-07-01"}
    operator = EarthEngineTimeSeriesOperator(
        task_id="task",
        **arguments,
        table_uri=str(tmp_path / "ndvi"),
        raster_uri=str(tmp_path / "r"),
        estimate_only="True",
    )
    before = simulated.calls.count("image:computePixels")
    estimate = operator.execute(CONTEXT)["estimate"]
    assert simulated.calls.count("image:computePixels") == before
    assert list(tmp_path.iterdir()) == []
    assert (estimate["groups"], estimate["images"], estimate["requests"], estimate["unchanged"]) == (6, 6, 6, 0)
    assert estimate["bytes"] > estimate["pixels"] > 6 * 36 * 36
    assert estimate["seconds"] == pytest.approx(6 / 40)
    run(tmp_path, collection="LC08", raster_uri=str(tmp_path / "r"))
    assert simulated.calls.count("image:computePixels") - before == 6
    assert operator.execute(CONTEXT)["estimate"]["requests"] == 0


def test_days_are_told_in_utc_with_the_moment_at_which_they_begin(simulated, tmp_path):
    _, rows = run(tmp_path, collection="S2_SR_HARMONIZED", group_by="day", end="2023-06-12")
    assert [row["interval_start"] for row in rows] == [datetime(2023, 6, day, 4, tzinfo=UTC) for day in (5, 10)]
    assert [row["observation_date"].day for row in rows] == [5, 10]
