"""The patches operator against the emulator: datasets as asked for, bad input refused before a pixel is asked for."""

import json
import time
from inspect import signature
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyproj
import pytest
import rasterio
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.decode import decode_npy
from airflow_ee.core.expression import load_image
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.settings import ClientSettings
from airflow_ee.emulator import Emulator
from airflow_ee.operators.patches import EarthEnginePatchesOperator
from tests.tfrecords import read_shard

IMAGE = "MODIS/061/MOD13Q1/2023_06_10"
CONTEXT = {"params": {}, "ti": SimpleNamespace(dag_id="dag", task_id="task")}
RANDOM = {"count": 5, "region": [-55.9, -12.3, -55.2, -11.6], "seed": 7}
MODIS = Path(__file__).resolve().parents[3] / "shared" / "data" / "mod13q1_mato_grosso" / "images"
PIXEL_CALLS = {"getPixels", "image:computePixels"}


@pytest.fixture
def server(emulator, connect):
    connect(endpoint=emulator.url, is_anonymous=True)
    return emulator


def make(tmp_path, context=CONTEXT, **arguments):
    arguments = {
        "points": RANDOM,
        "patch_size": 8,
        "output_uri": str(tmp_path / "out"),
        "file_format": "NPZ",
        **arguments,
    }
    if "expression" not in arguments:
        arguments = {"images": IMAGE, "bands": ["NDVI", "EVI"], **arguments}
    return EarthEnginePatchesOperator(task_id="task", request_retries=0, **arguments).execute(context)


def geojson(*places):
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [lon, lat]},
            "properties": {"class": number, "crop": "soy"},
        }
        for number, (lon, lat) in enumerate(places)
    ]
    return {"type": "FeatureCollection", "features": features}


PLACES = [(-55.55, -12.05), (-55.52, -12.02), (-55.58, -12.08)]


def constant_image(value):
    return {"result": "0", "values": {"0": {"functionInvocationValue": {
        "functionName": "Image.constant", "arguments": {"value": {"constantValue": value}}}}}}  # fmt: skip


def test_a_dataset_is_made_and_described(server, tmp_path):
    summary = make(tmp_path, shards=2, file_format="TF_RECORD")
    assert summary["shard_uris"] == [str(tmp_path / "out" / f"patches-0000{n}-of-00002.tfrecord.gz") for n in (0, 1)]
    assert {name: summary[name] for name in ("points", "patches", "shard_count", "requests", "simulated")} == {
        "points": 5, "patches": 5, "shard_count": 2, "requests": 5, "simulated": True
    }  # fmt: skip
    assert summary["bytes"] == sum(Path(uri).stat().st_size for uri in summary["shard_uris"])
    assert len(json.dumps(summary)) < 2000
    told = json.loads(Path(summary["dataset_uri"]).read_text())
    assert told["provenance"]["simulated"] is True
    assert told["provenance"]["images"][0]["id"] == IMAGE
    assert told["bands"][0] == {"name": "NDVI", "dtype": "int16", "scale": 0.0001, "offset": 0.0, "unit": "1"}
    records = [record for uri in summary["shard_uris"] for record in read_shard(Path(uri))]
    assert [record["point"][1] for record in records] == [[0], [1], [2], [3], [4]]
    assert set(records[0]) == set(told["features"])


def test_pixels_are_those_that_the_service_gives_for_the_patch_alone(server, tmp_path):
    summary = make(tmp_path, scale=100, patch_size=[6, 4])
    with (
        EarthEngineClient(ClientSettings(project="demo-project", endpoint=server.url, high_volume=False)) as client,
        np.load(summary["shard_uris"][0]) as arrays,
    ):
        for index in range(5):
            grid = PixelGrid(
                crs=str(arrays["crs"][index]), transform=tuple(arrays["transform"][index]), width=6, height=4
            )
            assert grid.crs == "EPSG:32721"
            lon, lat = arrays["longitude"][index], arrays["latitude"][index]
            x, y = pyproj.Transformer.from_crs(4326, 32721, always_xy=True).transform(lon, lat)
            assert np.hypot(grid.xy(3, 2)[0] - x, grid.xy(3, 2)[1] - y) < 71
            body = client.compute_pixels(load_image(IMAGE), file_format="NPY", grid=grid, band_ids=["NDVI", "EVI"])
            alone = decode_npy(body, shape=(4, 6))
            np.testing.assert_array_equal(arrays["patches"][index], [alone["NDVI"], alone["EVI"]])


def test_stored_images_keep_their_own_pixels_without_a_scale(connect, tmp_path):
    if not MODIS.is_dir():
        pytest.skip("the published images are not beside the checkout: ../shared/data/mod13q1_mato_grosso")
    with Emulator(catalogs={"MODIS/061/MOD13Q1": MODIS}) as emulator:
        connect(endpoint=emulator.url, is_anonymous=True)
        points = geojson((-55.95825495, -12.01), (-55.93, -12.0))
        bands = ["NDVI", "EVI", "sur_refl_b03"]
        summary = make(
            tmp_path, images="MOD13Q1", start="2008-11-01", end="2009-01-01", points=points, bands=bands,
            label_properties="class,crop",
        )  # fmt: skip
    assert summary["patches"] == 6, "three dates of each point"
    assert summary["requests"] == 2, "all dates over one point in one request"
    assert summary["simulated"] is False
    seen = []
    with np.load(summary["shard_uris"][0]) as arrays:
        for index in range(6):
            name = str(arrays["image"][index])
            seen.append((int(arrays["class"][index]), name.rsplit("/", 1)[-1]))
            with rasterio.open(MODIS / f"{seen[-1][1]}.tif") as file:
                left, top = ~file.transform @ tuple(arrays["transform"][index][[2, 5]])
                assert (left, top) == pytest.approx((round(left), round(top)), abs=1e-6)
                whole = np.pad(file.read([1, 2, 5]), ((0, 0), (9, 9), (9, 9)), constant_values=-32768)
            window = whole[:, round(top) + 9 : round(top) + 17, round(left) + 9 : round(left) + 17]
            np.testing.assert_array_equal(arrays["masks"][index], window != -32768)
            np.testing.assert_array_equal(arrays["patches"][index], np.where(window == -32768, 0, window))
        assert set(arrays["crop"]) == {"soy"}
    assert seen == [(point, date) for point in (0, 1) for date in ("2008_11_16", "2008_12_02", "2008_12_18")]


def test_the_interval_comes_from_the_run(server, tmp_path):
    context = {**CONTEXT, "params": {"start": "2023-06-01", "end": "2023-06-20"}}
    assert make(tmp_path, context, images="MOD13Q1")["patches"] == 5
    told = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert [image["id"] for image in told["provenance"]["images"]] == [IMAGE]


def test_no_image_in_the_interval_skips_or_fails(server, tmp_path):
    interval = {"images": "MOD13Q1", "start": "2023-06-11", "end": "2023-06-12"}
    with pytest.raises(AirflowSkipException, match="has no image in the interval"):
        make(tmp_path, **interval)
    with pytest.raises(AirflowFailException, match="has no image in the interval"):
        make(tmp_path, **interval, on_empty="fail")


def test_a_computed_image_has_patches_too(server, tmp_path):
    summary = make(tmp_path, expression=constant_image([7, 2.5]), scale="30", crs="EPSG:3857", patch_size="4x3")
    with np.load(summary["shard_uris"][0]) as arrays:
        assert arrays["patches"].shape == (5, 2, 3, 4)
        assert (arrays["patches"][:, 0] == 7).all()
        assert (arrays["patches"][:, 1] == 2.5).all()
        assert arrays["masks"].all()
        assert "image" not in arrays


@pytest.mark.parametrize("suffix", [".geojson", ".csv", "text"])
def test_points_come_from_files_and_from_text(server, tmp_path, suffix):
    points = json.dumps(geojson(*PLACES))
    if suffix == ".csv":
        (tmp_path / "p.csv").write_text(
            "lon,lat,class\n" + "".join(f"{x},{y},{n}\n" for n, (x, y) in enumerate(PLACES))
        )
        points = str(tmp_path / "p.csv")
    elif suffix == ".geojson":
        (tmp_path / "p.geojson").write_text(points)
        points = f"file://{tmp_path / 'p.geojson'}"
    summary = make(tmp_path, points=points, label_properties=["class"])
    with np.load(summary["shard_uris"][0]) as arrays:
        assert arrays["class"].tolist() == [0, 1, 2]
        np.testing.assert_array_equal(np.column_stack([arrays["longitude"], arrays["latitude"]]), PLACES)


def test_points_come_from_a_table_asset_page_by_page(server, tmp_path, monkeypatch):
    import ee

    monkeypatch.setattr("airflow_ee.core.patch_sources.FEATURES_PAGE_SIZE", 2)
    ee.Reset()
    ee.Initialize(credentials=None, project="demo-project", url=server.url)
    collection = ee.FeatureCollection(
        [ee.Feature(ee.Geometry.Point(place), {"class": n}) for n, place in enumerate(PLACES)]
    )
    asset = "projects/demo-project/assets/places"
    task = ee.batch.Export.table.toAsset(collection, description="places", assetId=asset)
    task.start()
    deadline = time.monotonic() + 20
    while task.active() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert task.status()["state"] == "COMPLETED"
    before = len(server.calls)
    summary = make(tmp_path, points=asset, label_properties=["class"])
    assert server.calls[before:].count("table:computeFeatures") == 2
    with np.load(summary["shard_uris"][0]) as arrays:
        assert arrays["class"].tolist() == [0, 1, 2]
        np.testing.assert_allclose(arrays["longitude"], [x for x, _ in PLACES])


def test_an_estimate_asks_for_no_pixel_and_writes_nothing(server, tmp_path):
    estimate = make(tmp_path, estimate_only=True)["estimate"]
    assert (estimate["patches"], estimate["requests"], estimate["pixels"]) == (5, 5, 320)
    assert not PIXEL_CALLS & set(server.calls)
    assert not (tmp_path / "out").exists()


def test_a_rerun_fetches_nothing(server, tmp_path):
    make(tmp_path)
    again = make(tmp_path)
    assert (again["requests"], again["shards_unchanged"], again["simulated"]) == (0, 1, True)


BAD = [
    ({"file_format": "CSV"}, "file_format must be one of TF_RECORD, NPZ, ZARR"),
    ({"compression": "ZIP"}, "compression must be one of GZIP, NONE"),
    ({"mask": "nodata"}, "mask must be one of band, none"),
    ({"on_masked": "drop"}, "on_masked must be one of keep, skip, fail"),
    ({"on_empty": "wait"}, "on_empty must be one of skip, fail"),
    ({"min_valid_fraction": 0.5}, "min_valid_fraction needs on_masked"),
    ({"mask": "none", "on_masked": "skip"}, "on_masked='skip' needs masks"),
    ({"mask": "none", "min_mask": 0.5}, "min_mask is only for patches with masks"),
    ({"min_mask": 2}, "min_mask must be above 0"),
    ({"patch_size": 0}, "patch_size must be a whole number of pixels"),
    ({"patch_size": "8x"}, "patch_size must be"),
    ({"patch_size": [8, 8, 8]}, "patch_size must be"),
    ({"patch_size": 2.5}, "patch_size must be a whole number"),
    ({"patch_size": 5000}, "patch_size: 5000x5000 pixels of 4 bands, mask bands included"),
    ({"images": None}, "give either images or expression"),
    ({"expression": constant_image(1), "images": IMAGE}, "give either images or expression"),
    ({"expression": constant_image(1)}, "no lattice: a computed image has none of its own"),
    ({"expression": constant_image(1), "bands": ["B4"], "scale": 10}, "the expression has no band B4; it has constant"),
    ({"crs": "EPSG:4326"}, "crs needs a scale"),
    ({"crs": "EPSG:1", "scale": 10}, "crs must be a code"),
    ({"scale": 0}, "scale must be above 0"),
    ({"grid_from_asset": IMAGE, "scale": 10}, "grid_from_asset excludes scale"),
    ({"bands": ["NVDI"]}, "has no band 'NVDI'; it has NDVI"),
    ({"bands": ["NDVI", "NDVI"]}, "each at most once"),
    ({"images": [IMAGE, IMAGE]}, "each image at most once"),
    ({"images": "MODIS"}, "is of type FOLDER|not found|does not exist"),
    ({"shards": 0}, "shards must be at least 1"),
    ({"points_per_shard": 2, "shards": 2}, "exclude each other"),
    ({"max_pixels": 100}, r"max_pixels: 5 patches of 5 points in 1 shards take 5 requests, 320 pixels.* more pixels than 100"),
    ({"max_requests": 4}, "more requests than 4"),
    ({"max_bytes": 1000}, "more bytes than 1000"),
    ({"points": None}, "points must be a file, GeoJSON"),
    ({"points": "{1"}, "points is not JSON"),
    ({"points": "/nowhere/points.csv"}, "points: there is no file /nowhere/points.csv"),
    ({"points": IMAGE}, "points must be a table asset, .* is of type IMAGE"),
    ({"points": {"count": 5}}, "random ones need count, region, seed, got count"),
    ({"points": {**RANDOM, "count": 0}}, "count must be at least 1"),
    ({"points": {**RANDOM, "region": None}}, "random ones need count, region, seed"),
    ({"label_properties": ["class"]}, "random points have no labels, got class"),
    ({"points": geojson((0, 91))}, "row 1, latitude must be in"),
    ({"points": geojson(*PLACES), "label_properties": ["kind"]}, "row 1 has no property 'kind'"),
    ({"output_uri": ""}, "an output needs a path"),
    ({"output_uri": "/dev/null/x"}, "cannot be written"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=[f"{n}-{row[1][:30]}" for n, row in enumerate(BAD)])
def test_bad_input_is_refused_before_a_pixel_is_asked_for(server, tmp_path, arguments, words):
    with pytest.raises(AirflowFailException, match=words):
        make(tmp_path, **arguments)
    assert not PIXEL_CALLS & set(server.calls)
    assert not (tmp_path / "out").exists()


def test_every_argument_that_a_user_may_compute_is_a_template_field():
    fixed = {"self", "kwargs", "snap", "high_volume", "estimate_only"}
    asked = set(signature(EarthEnginePatchesOperator.__init__).parameters) - fixed
    assert asked <= set(EarthEnginePatchesOperator.template_fields)
