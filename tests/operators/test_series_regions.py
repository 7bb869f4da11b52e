"""Many regions in one series: each has the numbers that it has alone, and each image is fetched once for all of them."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet
import pytest
import rasterio
import shapely
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.grid import parse_crs
from airflow_ee.core.region import Region
from airflow_ee.operators.series import EarthEngineTimeSeriesOperator

CONTEXT = {"params": {}, "ti": SimpleNamespace(dag_id="dag", task_id="task")}
FIELDS = {
    "triangle": shapely.Polygon([(-55.6, -12.1), (-55.55, -12.1), (-55.55, -12.05)]),
    "hole": shapely.box(-55.54, -12.1, -55.5, -12.06).difference(shapely.box(-55.53, -12.09, -55.51, -12.07)),
    "parts": shapely.MultiPolygon([shapely.box(-55.4, -12.0, -55.39, -11.99), shapely.box(-55.2, -11.8, -55.18, -11.79)]),
    "overlapping": shapely.box(-55.57, -12.09, -55.52, -12.06),
    "smaller than a pixel": shapely.box(-55.4501, -12.0501, -55.45, -12.05),
}  # fmt: skip


def geojson(fields=FIELDS):
    features = [
        {"type": "Feature", "properties": {"name": name}, "geometry": json.loads(shapely.to_geojson(shape))}
        for name, shape in fields.items()
    ]
    return json.dumps({"type": "FeatureCollection", "features": features})


def run(folder, **arguments):
    operator = EarthEngineTimeSeriesOperator(
        task_id="task",
        **{
            "request_retries": 0, "collection": "MOD13Q1", "index": "NDVI", "start": "2023-01-01", "end": "2023-02-01",
            "table_uri": str(folder / "ndvi"), **arguments,
        },
    )  # fmt: skip
    summary = operator.execute(CONTEXT)
    return summary, pyarrow.parquet.read_table(folder / "ndvi.parquet").to_pylist()


@pytest.fixture
def fields(tmp_path):
    file = tmp_path / "fields.geojson"
    file.write_text(geojson())
    return {"regions_uri": str(file), "region_id_property": "name"}


@pytest.mark.parametrize("weights", ["coverage", "area"])
def test_every_region_has_the_numbers_that_it_has_alone(simulated, tmp_path, fields, weights):
    _, together = run(tmp_path / "together", **fields, weights=weights, percentiles=[50])
    for name, shape in FIELDS.items():
        feature = {"type": "Feature", "id": name, "properties": {}, "geometry": json.loads(shapely.to_geojson(shape))}
        _, alone = run(tmp_path / name, region=feature, weights=weights, percentiles=[50])
        rows = [row for row in together if row["region_id"] == name]
        assert len(rows) == len(alone) == 2
        for one, other in zip(rows, alone, strict=True):
            for key in ("mean", "std", "weight_sum", "valid_fraction"):
                assert one[key] == pytest.approx(other[key], rel=1e-9, nan_ok=True), (name, key)
            for key in set(one) - {"mean", "std", "weight_sum", "valid_fraction"}:
                assert one[key] == other[key], (name, key)


def test_means_are_those_of_exact_intersections(simulated, tmp_path, fields):
    """Oracle: shapely cuts every pixel of the raster with the polygon, numpy takes the average."""
    _, rows = run(tmp_path, **fields, raster_uri=str(tmp_path / "rasters"))
    for row in rows:
        with rasterio.open(tmp_path / "rasters" / f"{row['image_start']:%Y_%m_%d}.tif") as file:
            values = file.read(1, masked=True).astype(float) * file.scales[0]
            a, _, c, _, e, f = file.transform[:6]
        cols, rows_ = np.meshgrid(np.arange(values.shape[1]), np.arange(values.shape[0]))
        boxes = shapely.box(c + a * cols, f + e * (rows_ + 1), c + a * (cols + 1), f + e * rows_)
        projected = Region(FIELDS[row["region_id"]]).project(parse_crs("SR-ORG:6974"))
        share = shapely.area(shapely.intersection(boxes, projected)) / abs(a * e)
        weight = np.where(np.ma.getmaskarray(values), 0, share)
        assert row["pixel_count"] == (share > 1e-6).sum()
        assert row["weight_sum"] == pytest.approx(weight.sum(), rel=1e-6)
        if weight.sum():
            assert row["mean"] == pytest.approx(np.average(values.data, weights=weight), rel=1e-6)
        assert row["valid_fraction"] == pytest.approx(weight.sum() / share.sum(), rel=1e-6)


def test_each_image_is_fetched_once_and_only_where_regions_are(simulated, tmp_path, fields):
    before = simulated.calls.count("image:computePixels")
    summary, rows = run(tmp_path, **fields)
    assert summary["regions"] == len(FIELDS)
    assert summary["groups"] == 2
    # The parts of "parts" are far from the others, so each image takes a few windows, but not one for each region.
    assert summary["requests"] == simulated.calls.count("image:computePixels") - before
    assert 2 <= summary["requests"] <= 2 * 3
    assert len(rows) == 2 * len(FIELDS)
    again, _ = run(tmp_path, **fields)
    assert (again["requests"], again["images_unchanged"]) == (0, 2)


def test_thousands_of_fields_take_few_requests_and_bounded_bytes(simulated, tmp_path):
    generator = np.random.default_rng(7)
    corners = np.column_stack([generator.uniform(-55.9, -55.1, 2000), generator.uniform(-12.4, -11.6, 2000)])
    strewn = {str(index): shapely.box(x, y, x + 0.004, y + 0.004) for index, (x, y) in enumerate(corners)}
    file = tmp_path / "fields.geojson"
    file.write_text(geojson(strewn))
    arguments = {"regions_uri": str(file), "region_id_property": "name"}
    estimate = EarthEngineTimeSeriesOperator(
        task_id="task", collection="MOD13Q1", index="NDVI", start="2023-01-01", end="2023-01-10",
        table_uri=str(tmp_path / "ndvi"), estimate_only=True, **arguments,
    ).execute(CONTEXT)["estimate"]  # fmt: skip
    summary, rows = run(tmp_path, **arguments, end="2023-01-10")
    assert len(rows) == summary["table_rows"] == 2000
    assert summary["requests"] == estimate["requests"] <= 4
    assert estimate["pixels"] < 450 * 450


def test_a_raster_holds_all_regions(simulated, tmp_path, fields):
    summary, _ = run(tmp_path, **fields, raster_uri=str(tmp_path / "rasters"))
    assert summary["raster_count"] == 2
    with rasterio.open(summary["rasters"][0]) as file:
        bounds = shapely.union_all(
            [Region(shape).project(parse_crs("SR-ORG:6974")) for shape in FIELDS.values()]
        ).bounds
        assert file.bounds.left <= bounds[0] + 1e-3
        assert file.bounds.bottom <= bounds[1] + 1e-3
        assert file.bounds.right >= bounds[2] - 1e-3
        assert file.bounds.top >= bounds[3] - 1e-3


def test_a_region_that_changed_makes_its_rows_anew(simulated, tmp_path, fields):
    run(tmp_path, **fields)
    moved = {**FIELDS, "hole": shapely.box(-55.54, -12.1, -55.5, -12.06)}
    (tmp_path / "fields.geojson").write_text(geojson(moved))
    summary, rows = run(tmp_path, **fields)
    assert summary["images_unchanged"] == 0
    assert len(rows) == 2 * len(FIELDS)


def test_regions_without_a_pixels_centre_have_empty_rows_and_are_told(simulated, tmp_path, fields, capsys):
    _, rows = run(tmp_path, **fields, weights="center")
    empty = [row for row in rows if row["region_id"] == "smaller than a pixel"]
    assert [(row["pixel_count"], row["mean"]) for row in empty] == [(0, None)] * 2
    assert all(row["pixel_count"] > 0 for row in rows if row not in empty)


class WithFeatures(EarthEngineClient):
    """Lists features by the emulator's own table:computeFeatures."""

    def compute_features(self, expression, *, page_size):
        body = {"expression": expression.graph, "pageSize": page_size}
        while True:
            page = self._call("table:computeFeatures", "POST", f"{self._project}/table:computeFeatures", body=body)
            yield from page.get("features", ())
            if not page.get("nextPageToken"):
                return
            body = {**body, "pageToken": page["nextPageToken"]}


def test_regions_may_be_a_table_asset(simulated, tmp_path, monkeypatch):
    from airflow_ee.hooks import earth_engine

    monkeypatch.setattr(earth_engine, "EarthEngineClient", WithFeatures)
    with pytest.raises(AirflowFailException, match="max_pixels: the region covers about"):
        run(tmp_path, regions_uri="TIGER/2018/States", region_id_property="NAME", max_pixels=1000)
    _, rows = run(
        tmp_path,
        regions_uri="TIGER/2018/States", region_id_property="NAME", scale=20_000, crs="EPSG:4326", end="2023-01-10",
        quality=None,
    )  # fmt: skip
    assert len(rows) == 52
    assert {"Vermont", "Texas"} <= {row["region_id"] for row in rows}
    areas = {row["region_id"]: row["weight_sum"] / row["valid_fraction"] for row in rows if row["valid_fraction"]}
    assert areas["Texas"] > 20 * areas["Vermont"]


@pytest.mark.parametrize(
    ("fields_", "words"),
    [
        ({"a": shapely.box(179.5, 0, 180.5, 1)}, r"region 'a' \(number 1\): .*leaves the world"),
        ({"ok": shapely.box(0, 0, 1, 1), "line": shapely.LineString([(0, 0), (1, 1)])}, r"region 'line' \(number 2\)"),
        ({}, "regions_uri has no region"),
    ],
)
def test_a_region_that_cannot_be_used_is_refused_by_name(simulated, tmp_path, fields_, words):
    file = tmp_path / "fields.geojson"
    file.write_text(geojson(fields_))
    with pytest.raises(AirflowFailException, match=words):
        run(tmp_path, regions_uri=str(file), region_id_property="name")
