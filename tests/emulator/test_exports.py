"""Exports: their life, their files, the assets they make, and what a restart leaves of them."""

import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile

from airflow_ee.emulator import Emulator
from airflow_ee.emulator.clock import ManualClock

from .conftest import Rest, call, graph, grid, image, loaded, message

NDVI = graph(call("Image.select", input=image("MODIS/061/MOD13Q1/2020_06_09"), bandSelectors=["NDVI", "SummaryQA"]))
GRID = grid("EPSG:32632", (660000, 5160000), 250, 60, 40)


TFRECORD = {"fileFormat": "TF_RECORD_IMAGE", "driveDestination": {"filenamePrefix": "x"}}


def to_bucket(prefix="p/x", **tiff):
    options = {"fileFormat": "GEO_TIFF", "cloudStorageDestination": {"bucket": "b", "filenamePrefix": prefix}}
    return {"fileExportOptions": options | ({"geoTiffOptions": tiff} if tiff else {})}


def to_asset(name, **options):
    return {"assetExportOptions": {"earthEngineDestination": {"name": name, **options}}}


def test_an_exported_file_has_the_pixels_of_compute_pixels(rest, emulator):
    answer = rest.export(NDVI, grid=GRID, description="d", **to_bucket(noData={"floatValue": -9999}))
    assert answer.headers["x-earth-engine-emulator"] == "simulated"
    assert answer.json()["metadata"]["state"] == "PENDING"
    operation = rest.ended(answer.json()["name"])
    assert operation["metadata"]["destinationUris"] == ["https://console.developers.google.com/storage/browser/b/p/"]
    assert rest.get(operation["name"]).headers["x-earth-engine-emulator"] == "simulated"
    computed = rest.pixels(NDVI, GRID)
    valid = rest.pixels(graph(call("Image.mask", image=NDVI["values"]["0"])), GRID)
    with rasterio.open(emulator.root / "gs" / "b" / "p" / "x.tif") as dataset:
        assert dataset.crs.to_epsg() == 32632
        assert tuple(dataset.transform)[:6] == (250, 0, 660000, 0, -250, 5160000)
        for index, name in enumerate(["NDVI", "SummaryQA"], start=1):
            expected = np.where(valid[name] > 0, computed[name].astype(np.int16), -9999)
            np.testing.assert_array_equal(dataset.read(index), expected)
    assert not list(emulator.root.rglob("*.writing"))


@pytest.mark.parametrize("cloud_optimized", [False, True])
def test_a_file_of_simulated_imagery_says_so_and_another_does_not(rest, emulator, cloud_optimized):
    computed = graph(call("Image.constant", value=7))
    for name, expression in (("simulated", NDVI), ("computed", computed)):
        body = to_bucket(name, cloudOptimized=cloud_optimized, noData={"floatValue": -9999})
        assert rest.ended(rest.export(expression, grid=GRID, **body).json()["name"])["metadata"]["state"] == "SUCCEEDED"
    with rasterio.open(emulator.root / "gs" / "b" / "simulated.tif") as dataset:
        assert dataset.tags()["simulated"] == "true"
    with rasterio.open(emulator.root / "gs" / "b" / "computed.tif") as dataset:
        assert "simulated" not in dataset.tags()


def test_the_fourth_band_of_bytes_is_no_alpha_in_files_and_in_answers(rest, emulator):
    bytes_ = graph(call("Image.toByte", value=call("Image.constant", value=[1, 2, 3, 0])))
    assert (
        rest.ended(rest.export(bytes_, grid=GRID, **to_bucket("p/four")).json()["name"])["metadata"]["state"]
        == "SUCCEEDED"
    )
    answer = rest.compute(bytes_, GRID, fileFormat="GEO_TIFF")
    for dataset in (rasterio.open(emulator.root / "gs/b/p/four.tif"), MemoryFile(answer.content).open()):
        with dataset:
            assert [band.name for band in dataset.colorinterp][3] != "alpha"
            assert (dataset.read() == [[[1]], [[2]], [[3]], [[0]]]).all()


def test_a_large_export_is_split_and_empty_files_are_left_out(rest, emulator):
    half = call(
        "Image.clip",
        input=NDVI["values"]["0"],
        geometry=call(
            "GeometryConstructors.Rectangle",
            coordinates=[660000, 5150000, 664000, 5160000],
            crs="EPSG:32632",
            geodesic=False,
        ),
    )
    tiff = {"tileSize": {"value": 16}, "tileDimensions": {"width": 32, "height": 32}, "skipEmptyFiles": True}
    operation = rest.ended(rest.export(graph(half), grid=GRID, **to_bucket("s", **tiff)).json()["name"])
    assert operation["metadata"]["state"] == "SUCCEEDED"
    names = sorted(path.name for path in (emulator.root / "gs" / "b").iterdir())
    assert names == ["s-0000000000-0000000000.tif", "s-0000000032-0000000000.tif"]
    whole = rest.pixels(graph(half), GRID)["NDVI"]
    with rasterio.open(emulator.root / "gs" / "b" / names[1]) as dataset:
        np.testing.assert_array_equal(dataset.read(1), whole[32:40, 0:32])
        assert dataset.transform.f == 5160000 - 32 * 250


def test_an_exported_asset_can_be_read_and_loaded(rest):
    name = "projects/demo-project/assets/made"
    policies = {"pyramidingPolicy": "MEAN", "pyramidingPolicyOverrides": {"SummaryQA": "MODE"}}
    body = {"assetExportOptions": {**to_asset(name)["assetExportOptions"], **policies}}
    assert rest.ended(rest.export(NDVI, grid=GRID, **body).json()["name"])["metadata"]["state"] == "SUCCEEDED"
    asset = rest.get(name)
    assert asset.headers["x-earth-engine-emulator"] == "simulated"
    assert [band["pyramidingPolicy"] for band in asset.json()["bands"]] == ["MEAN", "MODE"]
    np.testing.assert_array_equal(loaded(rest.asset_pixels(name)), rest.pixels(NDVI, GRID))
    mask = call("Image.mask", image=image(name))
    np.testing.assert_array_equal(
        rest.pixels(graph(mask)), rest.pixels(graph(call("Image.mask", image=NDVI["values"]["0"])), GRID)
    )
    assert "Cannot overwrite asset" in message(rest.export(NDVI, grid=GRID, **to_asset(name)), 409)
    assert rest.ended(rest.export(NDVI, grid=GRID, **to_asset(name, overwrite=True)).json()["name"])["done"]
    assert "parent" in message(rest.export(NDVI, grid=GRID, **to_asset("projects/demo-project/assets/no/x")))


def test_an_operation_goes_through_its_states_by_the_clock(tmp_path):
    clock = ManualClock(datetime(2024, 3, 1, tzinfo=UTC))
    with Emulator(root=tmp_path, clock=clock, pending_seconds=40, running_seconds=60) as running:
        rest = Rest(running.url)
        name = rest.export(NDVI, grid=GRID, **to_bucket()).json()["name"]

        def until(state):
            for _ in range(200):
                operation = rest.get(name).json()
                if operation["metadata"]["state"] == state:
                    return operation
                rest.post(f"{name}:wait", {"timeout": "0.05s"})
            raise AssertionError(operation)

        assert "done" not in until("PENDING")
        clock.advance(41)
        assert until("RUNNING")["metadata"]["startTime"] == "2024-03-01T00:00:41Z"
        clock.advance(30)
        assert "done" not in until("RUNNING")
        clock.advance(31)
        ended = until("SUCCEEDED")
        assert ended["done"] is True
        assert ended["metadata"]["progress"] == 1
        assert ended["metadata"]["batchEecuUsageSeconds"] > 0


def test_too_many_pixels_and_wrong_bands_fail_the_operation(rest):
    operation = rest.ended(rest.export(NDVI, grid=GRID, maxPixels="2399", **to_bucket()).json()["name"])
    assert operation["error"] == {
        "code": 3,
        "message": "Export too large: specified 2400 pixels (max: 2399). "
        "Specify higher maxPixels value if you intend to export a large area.",
    }
    assert rest.ended(rest.export(NDVI, grid=GRID, maxPixels={"value": "2400"}, **to_bucket()).json()["name"])[
        "response"
    ]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"priority": 10000}, "Priority must be an integer between 0 and 9999"),
        ({"priority": {"value": -1}}, "Priority"),
        ({"requestId": "a_b"}, "Invalid request_id"),
        ({"requestId": "a" * 61}, "Invalid request_id"),
        ({"workloadTag": "A"}, "Invalid workload tag"),
        ({"description": "d" * 101}, "at most 100"),
        ({**to_bucket(), **to_asset("projects/demo-project/assets/x")}, "'export_options' is already set"),
        ({"fileExportOptions": {}}, "destination must be specified"),
        (to_bucket("../../x"), "Invalid file name prefix"),
        (to_bucket(tileDimensions={"width": 100, "height": 256}), "multiples of the tile size"),
        (
            {"fileExportOptions": {"fileFormat": "PNG", "driveDestination": {"filenamePrefix": "x"}}},
            "Unsupported file format",
        ),
    ],
)
def test_bad_requests_are_refused_at_once(rest, emulator, fields, complaint):
    assert complaint in message(
        rest.export(NDVI, grid=GRID, **{**to_bucket(), **fields} if "fileExportOptions" not in fields else fields)
    )
    assert emulator.operations == []


def test_an_export_without_a_usable_grid_is_refused(rest):
    collection = call("Collection.limit", collection=call("ImageCollection.load", id="MODIS/061/MOD13Q1"), limit=1)
    assert "Cannot export an unbounded image" in message(
        rest.export(graph(call("reduce.mean", collection=collection)), **to_bucket())
    )


@pytest.mark.parametrize(
    ("method", "body", "status", "complaint"),
    [
        ("image", {"fileExportOptions": {**TFRECORD, "tfRecordOptions": {"sequenceData": True}}}, 400, "sequenceData"),
        ("image", {"fileExportOptions": {**TFRECORD, "tfRecordOptions": {"tensorDepths": {"a": 0}}}}, 400, "Depth of band 'a'"),
        ("image", {"fileExportOptions": {**TFRECORD, "geoTiffOptions": {"tileSize": 64}}}, 400, "geoTiffOptions"),
        ("image", to_bucket(metadataKeys=["a"]), 400, "metadataKeys is not emulated"),
        ("image", to_bucket(noData={"integerValue": "3"}), 400, "noData.float_value"),
    ],
)  # fmt: skip
def test_other_exports_are_refused_by_name(rest, emulator, method, body, status, complaint):
    answer = rest.post(f"{rest.project}/{method}:export", {"expression": NDVI, **body})
    assert complaint in message(answer, status)
    assert emulator.operations == []


def test_a_request_id_starts_one_operation(rest, emulator, tmp_path):
    fields = {"grid": GRID, "requestId": "run-1", **to_bucket()}
    first = rest.export(NDVI, **fields).json()["name"]
    assert message(rest.export(NDVI, **fields)) == "A different Operation was already started with the given request_id"
    assert [operation["name"] for operation in emulator.operations] == [first]
    with Emulator(root=tmp_path / "same", duplicate_request_id="same") as other:
        rest = Rest(other.url)
        assert rest.export(NDVI, **fields).json()["name"] == rest.export(NDVI, **fields).json()["name"]


def test_operations_and_assets_survive_a_restart(tmp_path):
    with Emulator(root=tmp_path, pending_seconds=0, running_seconds=0) as running:
        rest = Rest(running.url)
        made = rest.ended(rest.export(NDVI, grid=GRID, **to_asset("projects/demo-project/assets/kept")).json()["name"])
        running.inject("image:export", "stuck")
        stuck = rest.export(NDVI, grid=GRID, description="later", requestId="r", **to_bucket("later")).json()["name"]
        for _ in range(200):
            if rest.get(stuck).json()["metadata"]["state"] == "RUNNING":
                break
            rest.post(f"{stuck}:wait", {"timeout": "0.05s"})
    with Emulator(root=tmp_path, pending_seconds=0, running_seconds=0) as running:
        rest = Rest(running.url)
        assert rest.get(made["name"]).json() == made
        assert rest.asset_pixels("projects/demo-project/assets/kept").status_code == 200
        again = rest.get(stuck).json()["metadata"]
        assert (again["state"], again["attempt"]) == ("RUNNING", 2)
        assert "already started" in message(rest.export(NDVI, grid=GRID, requestId="r", **to_bucket()))


def test_operations_are_listed_in_pages_newest_first_and_deleted(rest):
    names = [
        rest.ended(rest.export(NDVI, grid=GRID, **to_bucket(f"n{number}")).json()["name"])["name"]
        for number in range(3)
    ]
    page = rest.get(f"{rest.project}/operations", pageSize=2).json()
    assert [each["name"] for each in page["operations"]] == names[:0:-1]
    rest_of_it = rest.get(f"{rest.project}/operations", pageSize=2, pageToken=page["nextPageToken"]).json()
    assert [each["name"] for each in rest_of_it["operations"]] == names[:1]
    assert "nextPageToken" not in rest_of_it
    assert rest.session.delete(f"{rest.url}/v1/{names[0]}", timeout=10).json() == {}
    assert rest.get(names[0]).status_code == 404


def test_cancelling_is_asynchronous_and_ends_with_code_1(rest, emulator):
    emulator.inject("image:export", "stuck")
    name = rest.export(NDVI, grid=GRID, **to_bucket("never")).json()["name"]
    assert rest.post(f"{name}:cancel").json() == {}
    operation = rest.ended(name)
    assert operation["metadata"]["state"] == "CANCELLED"
    assert operation["error"]["code"] == 1
    assert not (emulator.root / "gs").exists()
    assert "already in state CANCELLED" in message(rest.post(f"{name}:cancel"))


def test_an_export_whose_server_is_killed_is_finished_by_the_next_one(tmp_path):
    arguments = [sys.executable, "-m", "airflow_ee.emulator", "--port", "0", "--root", str(tmp_path)]
    slow = [*arguments, "--pending-seconds", "0", "--running-seconds", "60"]
    with subprocess.Popen(slow, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        rest = Rest(process.stdout.readline().split()[-1])
        name = rest.export(NDVI, grid=GRID, **to_bucket()).json()["name"]
        while rest.get(name).json()["metadata"]["state"] != "RUNNING":
            rest.post(f"{name}:wait", {"timeout": "0.05s"})
        process.kill()
    with Emulator(root=tmp_path, running_seconds=0) as running:
        operation = Rest(running.url).ended(name)
        assert operation["metadata"]["state"] == "SUCCEEDED"
        assert operation["metadata"]["attempt"] == 2
        assert (tmp_path / "gs" / "b" / "p" / "x.tif").is_file()
