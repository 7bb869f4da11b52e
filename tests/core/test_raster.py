"""A raster of many tiles: it goes on where it stopped, ends with the same bytes, and leaves nothing half made."""

import gzip
import json
import logging
import threading
from dataclasses import replace
from datetime import UTC, datetime

import fsspec
import numpy as np
import pystac
import pytest
import rasterio
import xarray
from fsspec.implementations.local import LocalFileSystem

from airflow_ee.core import errors
from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.expression import Expression, constant, invoke
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.image_file import ImageFile
from airflow_ee.core.pixels import PixelSource
from airflow_ee.core.region import Region
from airflow_ee.core.resources import Band
from airflow_ee.core.settings import ClientSettings, Limits, RetryPolicy
from airflow_ee.core.sinks.base import Location
from tests.tfrecords import parse

GRID = PixelGrid(
    crs="SR-ORG:6974",
    transform=(231.65635826395825, 0, -6050632.423, 0, -231.65635826395834, -1334340.6232),
    width=700,
    height=1100,
)


def call(name, **arguments):
    return invoke(
        name, **{key: value if isinstance(value, dict) else constant(value) for key, value in arguments.items()}
    )


def band(source, name, size, cast):
    """Degrees of longitude or latitude, cut in pieces of so many: numbers that change from pixel to pixel."""
    degrees = call("Image.select", input=call("Image.pixelLonLat"), bandSelectors=[source])
    scaled = call("Image.multiply", image1=degrees, image2=call("Image.constant", value=1e4))
    pieces = call("Image.mod", image1=call("Image.abs", value=scaled), image2=call("Image.constant", value=size))
    return call("Image.rename", input=call(cast, value=pieces), names=[name])


def image():
    """Two bands, each masked in stripes of its own."""
    ndvi, quality = band("longitude", "NDVI", 9000, "Image.toInt16"), band("latitude", "SummaryQA", 100, "Image.toInt8")
    dark = call("Image.gt", image1=quality, image2=call("Image.constant", value=30))
    masked = call("Image.updateMask", image=ndvi, mask=dark)
    both = call("Image.addBands", dstImg=masked, srcImg=quality)
    return Expression.parse({"result": "0", "values": {"0": both}})


SOURCE = PixelSource(
    expression=image(), bands=(Band(id="NDVI", dtype=np.dtype("i2")), Band(id="SummaryQA", dtype=np.dtype("i1")))
)
FORMATS = ("COG", "GEO_TIFF", "ZARR", "NPY", "NPZ", "TF_RECORD")


@pytest.fixture
def client(emulator):
    settings = ClientSettings(
        project="demo-project",
        endpoint=emulator.url,
        high_volume_endpoint=emulator.url,
        request_timeout_seconds=20,
        retry=RetryPolicy(attempts=3, initial_seconds=0.01, maximum_seconds=0.02),
        limits=Limits(target_bytes=512 * 512 * 9),
    )
    with EarthEngineClient(settings) as made:
        yield made


def place(path):
    return Location(LocalFileSystem(), str(path), str(path))


def job(target, file_format="GEO_TIFF", source=SOURCE, grid=GRID, max_concurrency=None, **options):
    return ImageFile(file_format=file_format, **options).job(source, grid, target, max_concurrency=max_concurrency)


def interrupted(client, emulator, target, **options):
    """A job that stores three tiles and fails at the fourth."""
    emulator.inject("image:computePixels", "delay=0", "delay=0", "delay=0", "403")
    with pytest.raises(errors.PermissionDenied, match="tile at row"):
        job(target, max_concurrency=1, **options).run(client)


def content(path):
    """Bytes of a file, or of all files of a folder."""
    if path.is_file():
        return path.read_bytes()
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def calls(emulator):
    return emulator.calls.count("image:computePixels")


@pytest.mark.parametrize("file_format", FORMATS)
def test_tiles_make_the_same_file_as_one_request(client, emulator, tmp_path, file_format):
    tiled = job(place(tmp_path / "tiled"), file_format).run(client)
    assert tiled.summary["tiles"] == 6
    client.settings = replace(client.settings, limits=Limits())
    whole = job(place(tmp_path / "whole"), file_format).run(client)
    assert whole.summary["tiles"] == 1
    assert content(tmp_path / "tiled") == content(tmp_path / "whole")
    assert tiled.valid_fraction == whole.valid_fraction


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_job_that_failed_goes_on_where_it_stopped(client, emulator, tmp_path, file_format):
    job(place(tmp_path / "whole"), file_format).run(client)
    interrupted(client, emulator, place(tmp_path / "again"), file_format=file_format)
    assert not (tmp_path / "again").exists()
    assert len((tmp_path / "again.parts" / "manifest.jsonl").read_text().splitlines()) == 1 + 3
    before = calls(emulator)
    result = job(place(tmp_path / "again"), file_format).run(client)
    assert result.summary["tiles_resumed"] == 3
    assert calls(emulator) - before == 3
    assert content(tmp_path / "again") == content(tmp_path / "whole")
    left = {path.name.removesuffix(".mixer.json") for path in tmp_path.iterdir()} - {"root"}
    assert left == {"whole", "whole.manifest.json", "again", "again.manifest.json"}


@pytest.mark.parametrize(
    "changed",
    [
        {"source": replace(SOURCE, min_mask=0.5)},
        {"source": replace(SOURCE, bands=SOURCE.bands[:1])},
        {"grid": replace(GRID, width=699)},
        {"grid": replace(GRID, transform=(231.0, 0, -6050632.423, 0, -231.0, -1334340.6232))},
        {"mask": "none"},
        {"clip_to": Region.parse([-55.6, -13.0, -54.0, -11.0])},
    ],
    ids=["min_mask", "bands", "size", "lattice", "mask", "region"],
)
def test_a_changed_request_begins_afresh_and_says_so(client, emulator, tmp_path, caplog, changed):
    interrupted(client, emulator, place(tmp_path / "x"))
    with caplog.at_level(logging.WARNING):
        result = job(place(tmp_path / "x"), **changed).run(client)
    assert result.summary["tiles_resumed"] == 0
    assert "the request has changed, so it begins afresh" in caplog.text


def test_what_only_the_file_depends_on_costs_no_second_request(client, emulator, tmp_path):
    interrupted(client, emulator, place(tmp_path / "x"))
    result = job(place(tmp_path / "x"), nodata=-30000.0).run(client)
    assert result.summary["tiles_resumed"] == 3
    with rasterio.open(tmp_path / "x") as file:
        assert file.nodata == -30000


def test_a_part_that_was_damaged_is_fetched_again(client, emulator, tmp_path):
    job(place(tmp_path / "whole")).run(client)
    interrupted(client, emulator, place(tmp_path / "x"))
    part = sorted((tmp_path / "x.parts").glob("*.part"))[0]
    damaged = bytearray(part.read_bytes())
    damaged[1000] ^= 1
    part.write_bytes(damaged)
    result = job(place(tmp_path / "x")).run(client)
    assert result.summary["tiles_resumed"] == 2
    assert content(tmp_path / "x") == content(tmp_path / "whole")


def test_a_line_that_a_kill_cut_off_is_no_line(client, emulator, tmp_path):
    interrupted(client, emulator, place(tmp_path / "x"))
    manifest = tmp_path / "x.parts" / "manifest.jsonl"
    manifest.write_text(manifest.read_text()[:-20])
    result = job(place(tmp_path / "x"), max_concurrency=1).run(client)
    assert (result.summary["tiles_resumed"], result.summary["tiles"]) == (2, 4)


def test_a_commit_that_was_cut_off_is_done_again_without_a_request(client, emulator, tmp_path, monkeypatch):
    whole = job(place(tmp_path / "x"))
    monkeypatch.setattr(Location, "publish", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        whole.run(client)
    monkeypatch.undo()
    assert not (tmp_path / "x").exists()
    before = calls(emulator)
    result = whole.run(client)
    assert calls(emulator) == before
    assert result.summary["tiles_resumed"] == 6


def test_an_object_store_takes_parts_and_goes_on_too(client, emulator, tmp_path):
    store = fsspec.filesystem("memory")
    store.store.clear()
    target = Location(store, "/bucket/x.tif", "memory://bucket/x.tif")
    interrupted(client, emulator, target)
    assert not store.exists("/bucket/x.tif")
    result = job(target).run(client)
    assert result.summary["tiles_resumed"] == 3
    job(place(tmp_path / "whole")).run(client)
    assert store.cat_file("/bucket/x.tif") == content(tmp_path / "whole")
    assert sorted(store.find("/bucket")) == ["/bucket/x.tif", "/bucket/x.tif.manifest.json"]


def test_attempts_are_counted_and_change_no_byte(client, emulator, tmp_path):
    job(place(tmp_path / "calm")).run(client)
    emulator.inject("image:computePixels", "503", "503")
    result = job(place(tmp_path / "rough")).run(client)
    told = json.loads((tmp_path / "rough.manifest.json").read_text())
    assert result.summary["retries"] == 2
    assert sum(tile["attempts"] for tile in told["tiles"]) == 8
    assert content(tmp_path / "rough") == content(tmp_path / "calm")


def test_pixels_outside_the_region_are_masked_tile_by_tile_as_on_the_whole(client, tmp_path):
    region = Region.parse(
        {"type": "Polygon", "coordinates": [[[-55.5, -12.2], [-54.9, -12.3], [-55.2, -13.9], [-55.5, -12.2]]]}
    )
    job(place(tmp_path / "tiled"), clip_to=region).run(client)
    client.settings = replace(client.settings, limits=Limits())
    job(place(tmp_path / "whole"), clip_to=region).run(client)
    assert content(tmp_path / "tiled") == content(tmp_path / "whole")
    with rasterio.open(tmp_path / "tiled") as file:
        assert 0.05 < file.read_masks(1).mean() / 255 < 0.95


@pytest.mark.parametrize("file_format", ["COG", "GEO_TIFF", "NPY", "NPZ"])
def test_a_disk_that_is_full_leaves_no_file(client, tmp_path, file_format, monkeypatch):
    written, lock = [0], threading.Lock()
    put = Location.put

    def full(self, *pieces):
        with lock:
            written[0] += 1
        if written[0] > 2:
            raise OSError(28, "No space left on device")
        put(self, *pieces)

    monkeypatch.setattr(Location, "put", full)
    with pytest.raises(OSError, match="No space left"):
        job(place(tmp_path / "x"), file_format).run(client)
    monkeypatch.undo()
    assert not (tmp_path / "x").exists()
    assert job(place(tmp_path / "x"), file_format).run(client).summary["tiles_resumed"] == 2


@pytest.mark.parametrize("file_format", ["COG", "ZARR", "NPZ"])
def test_a_stac_item_lies_beside_a_raster_whose_time_is_known(client, tmp_path, file_format):
    start, end = datetime(2023, 6, 10, tzinfo=UTC), datetime(2023, 6, 26, tzinfo=UTC)
    whole = ImageFile(file_format=file_format).job(SOURCE, GRID, place(tmp_path / "x"), start=start, end=end)
    whole.run(client)
    item = pystac.Item.from_file(tmp_path / "x.stac.json")
    assert item.id == "x"
    assert item.common_metadata.start_datetime == start
    (band, quality) = item.assets["data"].to_dict()["raster:bands"]
    assert (band["data_type"], band["nodata"]) == ("int16", -32768)
    assert quality["nodata"] == (-32768 if file_format == "COG" else -128)
    assert whole.finished().unchanged


def test_a_zarr_store_opens_in_xarray_with_coordinates_crs_and_masked_pixels(client, tmp_path):
    start = datetime(2023, 6, 10, tzinfo=UTC)
    ImageFile(file_format="ZARR").job(SOURCE, GRID, place(tmp_path / "x.zarr"), start=start).run(client)
    ImageFile(file_format="GEO_TIFF").job(SOURCE, GRID, place(tmp_path / "x.tif")).run(client)
    with xarray.open_zarr(tmp_path / "x.zarr") as cube, rasterio.open(tmp_path / "x.tif") as file:
        assert cube.NDVI.dims == ("time", "y", "x")
        assert cube.time.values.astype("datetime64[s]").tolist() == [datetime(2023, 6, 10)]
        expected = file.read(1, masked=True).astype("f8").filled(np.nan)
        np.testing.assert_array_equal(cube.NDVI.values[0].astype("f8"), expected)
        assert float(cube.x[0]) == pytest.approx(GRID.transform[2] + GRID.transform[0] / 2)


def test_tfrecord_patches_put_together_by_their_mixer_are_the_image(client, tmp_path):
    ImageFile(file_format="TF_RECORD", mask="band").job(SOURCE, GRID, place(tmp_path / "x.tfrecord.gz")).run(client)
    ImageFile(file_format="NPY", mask="band").job(SOURCE, GRID, place(tmp_path / "x.npy")).run(client)
    told = json.loads((tmp_path / "x.tfrecord.gz.mixer.json").read_text())
    expected = np.load(tmp_path / "x.npy")
    assert (told["patchesPerRow"], told["totalPatches"], told["patchDimensions"]) == (3, 15, [256, 256])
    data, examples = gzip.decompress((tmp_path / "x.tfrecord.gz").read_bytes()), []
    while data:
        length = int.from_bytes(data[:8], "little")
        examples.append({name: values for name, (_, values) in parse(data[12 : 12 + length]).items()})
        data = data[16 + length :]
    assert len(examples) == 15
    for name in expected.dtype.names:
        whole = np.zeros((5 * 256, 3 * 256), expected[name].dtype)
        for index, example in enumerate(examples):
            row, col = 256 * (index // 3), 256 * (index % 3)
            assert (example["patch_row"], example["patch_col"]) == ([row], [col])
            pixels = example[name]
            flat = np.frombuffer(pixels[0], np.uint8) if isinstance(pixels[0], bytes) else np.array(pixels)
            whole[row : row + 256, col : col + 256] = flat.reshape(256, 256)
        assert (whole[: GRID.height, : GRID.width] == expected[name]).all()
        assert not whole[GRID.height :].any()
        assert not whole[:, GRID.width :].any()
