"""Images that are backed by Cloud Optimized GeoTIFFs: read from the bucket whenever their pixels are asked for."""

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import requests
from rasterio.enums import Resampling
from rio_cogeo import cog_validate

from airflow_ee.emulator import Emulator
from airflow_ee.emulator.catalog.external import not_optimized

from .conftest import UNHURRIED, Rest, call, graph, image, loaded, message
from .test_imports import HOME, geotiff, two_tiles
from .test_official_client import initialised


@pytest.fixture
def bucket(emulator):
    folder = emulator.root / "gs" / "b"
    folder.mkdir(parents=True)
    return folder


def cog(path, values, **profile):
    with rasterio.MemoryFile() as memory:
        geotiff(memory.name, values, **{"names": ("red", "nir")[: len(values)], **profile})
        with rasterio.open(memory.name) as source:
            rasterio.shutil.copy(source, path, driver="COG", compress="deflate")
    return path


def register(rest, manifest, status=200, **fields):
    answer = requests.post(
        f"{rest.url}/v1alpha/{rest.project}/image:importExternal",
        json={"imageManifest": manifest, **fields},
        timeout=30,
    )
    assert answer.status_code == status, answer.text
    return answer.json() if status == 200 else answer.json()["error"]["message"]


VALUES = np.arange(2 * 700 * 600, dtype="int32").reshape(2, 700, 600)


def test_an_image_is_registered_at_once_and_reads_the_file(rest, emulator, bucket):
    cog(bucket / "c.tif", VALUES, nodata=7)
    manifest = {
        "name": f"{HOME}/cog",
        "tilesets": [{"id": "0", "sources": [{"uris": ["gs://b/c.tif"]}]}],
        "properties": {"version": "1.1"},
        "startTime": "2016-01-01T00:00:00.000000000Z",
    }
    assert register(rest, manifest) == {"name": f"{HOME}/cog"}
    assert emulator.operations == []
    shown = rest.get(f"{HOME}/cog")
    assert shown.headers["x-earth-engine-emulator"] == "mounted"
    asset = shown.json()
    assert asset["cloudStorageLocation"] == {"uris": ["gs://b/c.tif"]}
    assert [band["id"] for band in asset["bands"]] == ["red", "nir"]
    assert asset["bands"][0]["grid"]["dimensions"] == {"width": 600, "height": 700}
    assert (asset["startTime"], asset["properties"]["version"]) == ("2016-01-01T00:00:00Z", "1.1")
    np.testing.assert_array_equal(loaded(rest.asset_pixels(f"{HOME}/cog"))["nir"], VALUES[1])
    mask = rest.pixels(graph(call("Image.mask", image=image(f"{HOME}/cog"))))["red"]
    assert (mask == (VALUES[0] != 7)).all()
    assert not list(emulator.root.rglob("assets/**/*.tif"))


def test_its_bands_come_from_several_files(rest, bucket):
    cog(bucket / "fine.tif", VALUES)
    coarse = {"transform": rasterio.Affine(30, 0, 600_000, 0, -30, 5_100_000)}
    cog(bucket / "coarse.tif", np.full((1, 20, 20), 2.5, "float32"), **coarse)
    manifest = {
        "name": f"{HOME}/two",
        "uriPrefix": "gs://b/",
        "tilesets": [
            {"id": "f", "sources": [{"uris": ["fine.tif"]}]},
            {"id": "c", "sources": [{"uris": ["coarse.tif"]}]},
        ],
        "bands": [
            {"id": "rough", "tilesetId": "c"},
            {"id": "near", "tilesetId": "f", "tilesetBandIndex": 1, "pyramidingPolicy": "MODE"},
        ],
    }
    register(rest, manifest)
    bands = rest.get(f"{HOME}/two").json()["bands"]
    assert [(band["id"], band["pyramidingPolicy"], band["grid"]["affineTransform"]["scaleX"]) for band in bands] == [
        ("rough", "MEAN", 30), ("near", "MODE", 10)
    ]  # fmt: skip
    near = loaded(rest.asset_pixels(f"{HOME}/two", bandIds=["near"]))["near"]
    np.testing.assert_array_equal(near, VALUES[1])


def test_a_file_that_is_replaced_is_seen_and_one_that_goes_is_missed(rest, bucket):
    cog(bucket / "c.tif", np.full((1, 20, 20), 1, "uint8"))
    register(rest, {"name": f"{HOME}/c", "tilesets": two_tiles("gs://b/c.tif")})
    assert (loaded(rest.asset_pixels(f"{HOME}/c"))["red"] == 1).all()
    cog(bucket / "c.tif", np.full((1, 20, 20), 2, "uint8"))
    assert (loaded(rest.asset_pixels(f"{HOME}/c"))["red"] == 2).all()
    cog(bucket / "c.tif", np.full((1, 10, 20), 2, "uint8"))
    assert (
        message(rest.asset_pixels(f"{HOME}/c"))
        == "Unable to read gs://b/c.tif: it is not the file that was registered."
    )
    (bucket / "c.tif").write_text("no image")
    assert "not a GeoTIFF" in message(rest.asset_pixels(f"{HOME}/c"))
    (bucket / "c.tif").unlink()
    assert message(rest.asset_pixels(f"{HOME}/c")).startswith("Unable to open gs://b/c.tif: there is no such object")
    assert rest.get(f"{HOME}/c").json()["bands"][0]["id"] == "red"
    assert "no such object" in message(
        rest.compute(graph(call("Image.multiply", image1=image(f"{HOME}/c"), image2=image(f"{HOME}/c"))))
    )


def test_an_asset_is_created_with_the_location_of_its_file(rest, bucket):
    cog(bucket / "c.tif", VALUES)
    body = {
        "type": "IMAGE",
        "gcs_location": {"uris": ["gs://b/c.tif"]},
        "properties": {"a": 1},
        "endTime": "2020-01-01T00:00:00Z",
    }
    made = rest.post(f"{HOME}?assetId=made", body).json()
    assert made == rest.get(f"{HOME}/made").json()
    assert (made["cloudStorageLocation"]["uris"], made["endTime"]) == (["gs://b/c.tif"], "2020-01-01T00:00:00Z")
    assert "Cannot overwrite" in message(rest.post(f"{HOME}?assetId=made", body), 409)
    renamed = {"type": "IMAGE", "cloudStorageLocation": {"uris": ["gs://b/c.tif"]}, "bands": [{"id": "x"}, {"id": "y"}]}
    assert rest.post(f"{HOME}?assetId=made&overwrite=true", renamed).json()["bands"][1]["id"] == "y"
    np.testing.assert_array_equal(loaded(rest.asset_pixels(f"{HOME}/made", bandIds=["y"]))["y"], VALUES[1])
    copied = rest.post(f"{HOME}/made:copy", {"destinationName": f"{HOME}/again"}).json()
    assert copied["cloudStorageLocation"] == made["cloudStorageLocation"]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"type": "IMAGE", "cloudStorageLocation": {"uris": ["gs://b/none.tif"]}}, "there is no such object"),
        ({"type": "IMAGE", "cloudStorageLocation": {"uris": ["gs://b/striped.tif"]}}, "not a Cloud Optimized GeoTIFF: it is not tiled"),
        ({"type": "IMAGE", "cloudStorageLocation": {"uris": ["gs://b/text.tif"]}}, "it is not a GeoTIFF"),
        ({"type": "IMAGE", "cloudStorageLocation": {"uris": []}}, "There must be one URI, got 0"),
        ({"type": "TABLE", "cloudStorageLocation": {"uris": ["gs://b/c.tif"]}}, "must be of type IMAGE"),
        ({"type": "IMAGE", "cloudStorageLocation": {"uris": ["gs://b/c.tif"], "region": "us"}}, 'Unknown name "region"'),
        ({"type": "IMAGE"}, "without data"),
    ],
)  # fmt: skip
def test_a_location_that_cannot_be_is_refused(rest, bucket, body, complaint):
    cog(bucket / "c.tif", VALUES)
    geotiff(bucket / "striped.tif", VALUES)
    (bucket / "text.tif").write_text("no image")
    assert complaint in message(rest.post(f"{HOME}?assetId=x", body))
    assert rest.get(f"{HOME}/x").status_code == 404


@pytest.mark.parametrize(
    ("manifest", "status", "complaint"),
    [
        ({"tilesets": two_tiles("gs://b/c.tif", "gs://b/c.tif")}, 400, "must have one file"),
        ({"tilesets": two_tiles("gs://b/c.tif"), "missingData": {"values": [0]}}, 400, "missingData is not emulated"),
        ({"tilesets": two_tiles("gs://b/c.tif"), "bands": [{"id": "x", "tilesetBandIndex": 5}]}, 400, "index 5"),
        ({"tilesets": two_tiles("gs://b/c.tif"), "name": f"{HOME}/no/parent"}, 400, "its parent"),
        ({"tilesets": two_tiles("gs://b/c.tif"), "name": "projects/earthengine-public/assets/x"}, 403, "denied"),
        ({}, 400, "at least one tileset"),
    ],
)  # fmt: skip
def test_a_manifest_that_cannot_be_is_refused(rest, bucket, manifest, status, complaint):
    cog(bucket / "c.tif", VALUES)
    assert complaint in register(rest, {"name": f"{HOME}/x", **manifest}, status)


def layouts(folder):
    """Files of every layout, good and bad."""
    yield cog(folder / "cog.tif", VALUES)
    yield geotiff(folder / "small.tif", VALUES[:, :50, :50])
    yield geotiff(folder / "striped.tif", VALUES)
    yield geotiff(folder / "tiled.tif", VALUES, tiled=True, blockxsize=256, blockysize=256)
    late = geotiff(folder / "late.tif", VALUES, tiled=True, blockxsize=256, blockysize=256)
    with rasterio.open(late, "r+") as dataset:
        dataset.build_overviews([2, 4], Resampling.nearest)
    yield late
    moved = geotiff(folder / "moved.tif", VALUES, tiled=True, blockxsize=256, blockysize=256)
    with rasterio.open(moved, "r+") as dataset:
        dataset.update_tags(note="x" * 5000)
    yield moved


def test_what_is_cloud_optimized_agrees_with_an_independent_judge(tmp_path):
    for path in layouts(tmp_path):
        good, errors, _ = cog_validate(path, quiet=True)
        assert (not_optimized(path) == "") is good, (path.name, not_optimized(path), errors)


def test_googles_client_registers_an_image(emulator, bucket, monkeypatch):
    cog(bucket / "c.tif", VALUES)
    from ee import _cloud_api_utils

    monkeypatch.setattr(_cloud_api_utils, "VERSION", "v1alpha")
    ee = initialised(emulator.url)
    made = ee.data.startExternalImageIngestion({"name": f"{HOME}/c", "tilesets": two_tiles("gs://b/c.tif")})
    assert made == {"name": f"{HOME}/c"}
    point = ee.Geometry.Point([600015, 5099995], "EPSG:32632")
    assert ee.Image(f"{HOME}/c").reduceRegion(ee.Reducer.first(), point, 10).getInfo() == {"red": 1, "nir": 420001}


def test_with_a_storage_endpoint_it_is_refused_by_name(tmp_path):
    with Emulator(root=tmp_path, storage_endpoint="http://127.0.0.1:9", **UNHURRIED) as running:
        rest = Rest(running.url)
        manifest = {"name": f"{HOME}/c", "tilesets": two_tiles("gs://b/c.tif")}
        assert "not emulated with a storage endpoint" in register(rest, manifest, 400)
