"""Patches are the pixels that the source files have there, in the points' order, and the same bytes however they were come by."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pyproj
import pytest
import rasterio
import xarray
from fsspec.implementations.local import LocalFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.decode import decode_npy
from airflow_ee.core.errors import NotFound, Stopped
from airflow_ee.core.expression import load_image
from airflow_ee.core.grid import PixelGrid, parse_crs
from airflow_ee.core.patch_fetch import PatchSource
from airflow_ee.core.patch_grids import PatchRule, place_patches
from airflow_ee.core.patch_plan import PatchPlan
from airflow_ee.core.patches import PatchDataset, patch_layout
from airflow_ee.core.points import Points, points_from_features, random_points
from airflow_ee.core.region import Region
from airflow_ee.core.settings import ClientSettings, Limits, RetryPolicy
from airflow_ee.core.sinks.base import Location
from airflow_ee.core.sinks.shard_arrays import shard_format
from airflow_ee.emulator import Emulator
from tests.tfrecords import read_shard

MODIS = Path(__file__).resolve().parents[3] / "shared" / "data" / "mod13q1_mato_grosso" / "images"
IMAGES = tuple(f"MODIS/061/MOD13Q1/{date}" for date in ("2008_11_16", "2008_12_02", "2009_12_03"))
BANDS = ("NDVI", "EVI", "sur_refl_b03")
SIDE = 8


@pytest.fixture(scope="module")
def server():
    if not MODIS.is_dir():
        pytest.skip("the published images are not beside the checkout: ../shared/data/mod13q1_mato_grosso")
    with Emulator(catalogs={"MODIS/061/MOD13Q1": MODIS}, requests_per_second=None) as running:
        yield running


@pytest.fixture
def client(server):
    server.clear_faults()
    with connected(server) as client:
        yield client


def connected(server, **options):
    quick = RetryPolicy(initial_seconds=0.0, maximum_seconds=0.0)
    options = {"requests_per_second": 1e6, "retry": quick, **options}
    return EarthEngineClient(ClientSettings(project="demo-project", endpoint=server.url, high_volume=False, **options))


def native(client, bands=BANDS, image=IMAGES[0]):
    asset = client.get_asset(image)
    return asset.bands[0].grid, tuple(asset.band(name) for name in bands)


def points_at(grid, pixels, **labels):
    """Points in the middles of pixels (row, column) of a grid."""
    to_degrees = pyproj.Transformer.from_crs(parse_crs(grid.crs), "EPSG:4326", always_xy=True)
    features = []
    for number, (row, column) in enumerate(pixels):
        lon, lat = to_degrees.transform(*grid.xy(column + 0.5, row + 0.5))
        properties = {name: values[number] for name, values in labels.items()}
        features.append({"geometry": {"type": "Point", "coordinates": [lon, lat]}, "properties": properties})
    return points_from_features(features, labels)


def dataset(client, folder, points, *, form="NPZ", gzip=True, rule=None, source=None, shards=2, limits=None, **options):
    grid, bands = native(client)
    rule = rule or PatchRule(width=SIDE, height=SIDE, crs=grid.crs, transform=grid.transform)
    source = source or PatchSource(images=IMAGES, bands=bands)
    layout = patch_layout(points, rule, source)
    plan = PatchPlan(grids=place_patches(points, rule), source=source, limits=limits or Limits(), shards=shards)
    return PatchDataset(
        points=points, plan=plan, layout=layout, form=shard_format(form, layout, gzip=gzip), form_name=form,
        folder=Location(LocalFileSystem(), str(folder), str(folder)), **options,
    )  # fmt: skip


def truth(image, row, column, height=SIDE, width=SIDE):
    """Bands and masks of the source file's window that has a pixel in the lower right of its middle; 0 where masked."""
    with rasterio.open(MODIS / f"{image.rsplit('/', 1)[-1]}.tif") as file:
        top, left = row - height // 2, column - width // 2
        whole = np.pad(file.read(masked=True).filled(-32768), ((0, 0), (60, 60), (60, 60)), constant_values=-32768)
        chosen = [file.descriptions.index(name) for name in BANDS]
    window = whole[chosen, top + 60 : top + 60 + height, left + 60 : left + 60 + width]
    return np.where(window == -32768, 0, window), (window != -32768).astype(np.uint8)


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


PIXELS = [(8, 14), (22, 35), (13, 20), (0, 0), (24, 3), (26, 36), (8, 15)]
CLASSES = [3, 1, 2, 0, 5, 4, 3]
NAMES = ["soy", "cotton", "forest", "soy", "sugar", "forest", "ça"]


@pytest.fixture
def labelled(client):
    grid, _ = native(client)
    return points_at(grid, PIXELS, crop=CLASSES, name=NAMES)


def check_facts(facts, number):
    point, image = divmod(number, len(IMAGES))
    assert (facts["point"], facts["image"]) == (point, IMAGES[image])
    assert (facts["crop"], facts["name"]) == (CLASSES[point], NAMES[point])
    assert facts["crs"] == "SR-ORG:6974"


def test_npz_patches_are_the_source_files_windows_with_their_masks(client, labelled, tmp_path):
    summary = dataset(client, tmp_path, labelled, shards=3).make(client)
    assert [shard.points for shard in summary.shards] == [3, 3, 1]
    number = masked = 0
    for shard in summary.shards:
        with np.load(tmp_path / shard.file, allow_pickle=False) as arrays:
            assert arrays["bands"].tolist() == list(BANDS)
            for index in range(shard.patches):
                values, masks = truth(IMAGES[number % 3], *PIXELS[number // 3])
                np.testing.assert_array_equal(arrays["patches"][index], values)
                np.testing.assert_array_equal(arrays["masks"][index], masks)
                check_facts({name: arrays[name][index] for name in arrays.files if name != "bands"}, number)
                masked += int((masks == 0).sum())
                number += 1
    assert number == len(PIXELS) * len(IMAGES)
    assert masked > 300
    assert summary.total("fully_masked") == 0
    expected = sum(truth(image, *pixel)[1].min() == 0 for pixel in PIXELS for image in IMAGES)
    assert summary.total("partly_masked") == expected


def test_tfrecord_patches_are_the_source_files_windows_with_their_masks(client, labelled, tmp_path):
    made = dataset(client, tmp_path, labelled, form="TF_RECORD")
    records = [record for shard in made.make(client).shards for record in read_shard(tmp_path / shard.file)]
    assert len(records) == len(PIXELS) * len(IMAGES)
    described = json.loads((tmp_path / "dataset.json").read_text())["features"]
    for number, record in enumerate(records):
        values, masks = truth(IMAGES[number % 3], *PIXELS[number // 3])
        for band, name in enumerate(BANDS):
            assert record[name] == ("int64_list", values[band].ravel().tolist())
            assert record[f"{name}_mask"] == ("bytes_list", [masks[band].tobytes()])
        assert set(record) == set(described)
        assert {name: f"{entry['feature']}_list" for name, entry in described.items()} == {
            name: kind for name, (kind, _) in record.items()
        }
        (transform,) = record["transform"][1]
        a, b, x, d, e, y = np.frombuffer(transform, "<f8")
        row, column = PIXELS[number // 3]
        with rasterio.open(MODIS / f"{IMAGES[0].rsplit('/', 1)[-1]}.tif") as file:
            assert (x, y) == pytest.approx(tuple(file.transform @ (column - 4, row - 4)), abs=1e-6)
            assert (a, b, d, e) == (file.transform.a, 0, 0, file.transform.e)
        texts = {name: record[name][1][0].decode() for name in ("image", "name", "crs")}
        check_facts({**{name: record[name][1][0] for name in ("point", "crop")}, **texts}, number)


def test_zarr_patches_open_in_xarray_with_places_and_labels(client, labelled, tmp_path):
    summary = dataset(client, tmp_path, labelled, form="ZARR").make(client)
    parts = [xarray.open_zarr(tmp_path / shard.file, consolidated=False) for shard in summary.shards]
    whole = xarray.concat(parts, "patch")
    assert whole["NDVI"].dims == ("patch", "y", "x")
    assert whole["NDVI"].dtype == np.int16
    assert {"point", "image", "longitude", "latitude", "crs", "transform"} <= set(whole.coords)
    np.testing.assert_allclose(whole["longitude"][::3], labelled.longitudes, rtol=0)
    for number in range(whole.sizes["patch"]):
        values, masks = truth(IMAGES[number % 3], *PIXELS[number // 3])
        one = whole.isel(patch=number)
        np.testing.assert_array_equal([one[name] for name in BANDS], values)
        np.testing.assert_array_equal([one[f"{name}_mask"] for name in BANDS], masks)
        check_facts({name: one[name].values.item() for name in ("point", "image", "crop", "name", "crs")}, number)


def test_without_masks_stored_images_are_read_by_getpixels(client, server, labelled, tmp_path):
    _, bands = native(client)
    before = len(server.calls)
    source = PatchSource(images=IMAGES[:1], bands=bands, masked=False)
    made = dataset(client, tmp_path, labelled, source=source)
    summary = made.make(client)
    calls = Counter(server.calls[before:])
    assert "image:computePixels" not in calls
    assert calls["getPixels"] == summary.fetched["requests"]
    with np.load(tmp_path / summary.shards[0].file) as arrays:
        np.testing.assert_array_equal(arrays["patches"][0], truth(IMAGES[0], *PIXELS[0])[0])
        assert "masks" not in arrays


# What is asked for.


def test_images_over_one_point_are_one_request(client, labelled, tmp_path):
    summary = dataset(client, tmp_path, labelled).make(client)
    assert summary.total("patches") == 21
    # The first and the last point are neighbours, but not in the order of the points.
    assert summary.fetched["requests"] == len(PIXELS)


def test_images_are_spread_over_requests_where_one_cannot_carry_them(client, labelled, tmp_path):
    limits = Limits(target_bytes=2 * SIDE * SIDE * 15)
    few = dataset(client, tmp_path / "few", labelled, limits=limits)
    assert few.plan.estimate(100).requests == 2 * len(PIXELS)
    assert few.make(client).fetched["requests"] == 2 * len(PIXELS)
    dataset(client, tmp_path / "one", labelled).make(client)
    assert files(tmp_path / "few") == files(tmp_path / "one")


def test_neighbours_share_a_request_and_get_their_own_pixels(client, server, tmp_path):
    grid, _ = native(client)
    pixels = [(12, 12), (12, 12), (13, 14), (20, 30), (20, 26), (8, 14)]
    points = points_at(grid, pixels)
    together = dataset(client, tmp_path / "together", points, shards=1)
    groups = [request.points for request in together.plan.requests(range(1))]
    assert groups == [(0, 1, 2), (3, 4), (5,)]
    before = len(server.requests)
    together.make(client)
    sizes = [
        item.body["grid"]["dimensions"] for item in server.requests[before:] if item.method == "image:computePixels"
    ]
    assert sorted(size["width"] for size in sizes) == [SIDE, SIDE + 2, SIDE + 4]
    with np.load(tmp_path / "together" / "patches-00000-of-00001.npz") as arrays:
        for index, pixel in enumerate(pixels):
            for number, image in enumerate(IMAGES):
                values, masks = truth(image, *pixel)
                np.testing.assert_array_equal(arrays["patches"][3 * index + number], values)
                np.testing.assert_array_equal(arrays["masks"][3 * index + number], masks)


def test_the_estimate_is_what_is_then_asked_for(client, server, labelled, tmp_path):
    made = dataset(client, tmp_path, labelled)
    estimate = made.plan.estimate(requests_per_second=2.0)
    assert (estimate.points, estimate.patches, estimate.pixels) == (7, 21, 21 * SIDE * SIDE)
    assert estimate.shards == 2
    assert estimate.seconds_at_quota == 3.5
    assert made.make(client).fetched["requests"] == estimate.requests
    # Per pixel and band: two bytes, its mask byte; its mask band's byte, that one's mask byte.
    assert estimate.bytes == 21 * SIDE * SIDE * 3 * (2 + 1 + 2)


def test_what_no_request_can_carry_is_refused_before_anything_is_asked_for(client, server, labelled, tmp_path):
    grid, bands = native(client)
    before = len(server.calls)
    large = PatchRule(width=4000, height=4000, crs=grid.crs, transform=grid.transform)
    with pytest.raises(
        ValueError, match=r"patch_size: 4000x4000 pixels of 6 bands, mask bands included are 240000000 bytes"
    ):
        dataset(client, tmp_path, labelled, rule=large)
    with pytest.raises(ValueError, match="bands: 6 bands, mask bands included, a request may have 5"):
        dataset(client, tmp_path, labelled, limits=Limits(max_bands=5))
    assert set(server.calls[before:]) <= {"assets.get"}
    assert bands[0].id == "NDVI"


@pytest.mark.parametrize("fault", ["400 memory", "400 timeout"])
def test_what_is_too_hungry_is_asked_for_in_parts(client, server, labelled, tmp_path, fault):
    whole = dataset(client, tmp_path / "whole", labelled).make(client)
    server.inject("image:computePixels", *[fault] * 3)
    limits = replace(Limits(), floor_side=2)
    with connected(server, limits=limits, max_concurrency=1) as strict:
        parts = dataset(client, tmp_path / "parts", labelled).make(strict)
    assert not server.pending
    # Three images: too many. One image, one image, then a patch: too large. So five more calls than needed, one of them for four quarters.
    assert parts.fetched["requests"] > whole.fetched["requests"] + 3
    assert files(tmp_path / "whole") == files(tmp_path / "parts")


def test_spoilt_and_lost_answers_are_asked_for_again(client, server, labelled, tmp_path):
    dataset(client, tmp_path / "whole", labelled).make(client)
    server.inject("image:computePixels", "corrupt", "truncate", "503", "wrong-dtype", "429", "reset", "scramble")
    dataset(client, tmp_path / "struck", labelled).make(client)
    assert not server.pending
    assert files(tmp_path / "whole") == files(tmp_path / "struck")


def test_a_permanent_failure_names_the_points_and_leaves_what_was_recorded(client, server, labelled, tmp_path):
    with connected(server, max_concurrency=1) as slow:
        made = dataset(client, tmp_path, labelled, shards=7)
        server.inject("image:computePixels", "delay=0", "delay=0", "404")
        with pytest.raises(NotFound, match="patch of points row 3 "):
            made.make(slow)
    assert {path.name for path in tmp_path.iterdir()} == {
        "manifest.jsonl", "patches-00000-of-00007.npz", "patches-00001-of-00007.npz"
    }  # fmt: skip


# Masked patches.


def far_and_near(client):
    """A point far outside the images, one whose patch leaves them, and one inside that has all pixels but for some dates."""
    grid, _ = native(client)
    return points_at(grid, [(500, 500), (0, 0), (13, 5)])


def test_fully_and_partly_masked_patches_are_counted_and_kept(client, tmp_path):
    summary = dataset(client, tmp_path, far_and_near(client)).make(client)
    assert (summary.total("fully_masked"), summary.total("partly_masked")) == (3, 3)
    assert (summary.total("patches"), summary.total("left_out")) == (9, 0)


@pytest.mark.parametrize(("fraction", "left"), [(0.0, [0, 0, 0]), (0.25, [0, 0, 0]), (0.26, [0] * 6), (1.0, [0] * 6)])
def test_patches_with_too_little_are_left_out(client, tmp_path, fraction, left):
    made = dataset(client, tmp_path, far_and_near(client), on_masked="skip", min_valid_fraction=fraction, shards=1)
    summary = made.make(client)
    assert summary.total("left_out") == len(left)
    assert (summary.total("fully_masked"), summary.total("partly_masked")) == (3, 3)
    with np.load(tmp_path / summary.shards[0].file) as arrays:
        assert len(arrays["patches"]) == 9 - len(left) == len(arrays["point"])
        assert 0 not in arrays["point"]


@pytest.mark.parametrize("form", ["NPZ", "ZARR", "TF_RECORD"])
def test_a_shard_may_be_empty(client, tmp_path, form):
    made = dataset(client, tmp_path, far_and_near(client), form=form, on_masked="skip", shards=3)
    first = made.make(client).shards[0]
    assert (first.patches, first.left_out) == (0, 3)
    path = tmp_path / first.file
    if form == "NPZ":
        assert np.load(path)["patches"].shape == (0, 3, SIDE, SIDE)
    elif form == "ZARR":
        assert xarray.open_zarr(path, consolidated=False)["NDVI"].shape == (0, SIDE, SIDE)
    else:
        assert read_shard(path) == []


def test_a_patch_with_too_little_fails_the_task_by_its_row(client, tmp_path):
    made = dataset(client, tmp_path, far_and_near(client), on_masked="fail", min_valid_fraction=0.5, shards=3)
    with pytest.raises(
        ValueError,
        match=r"on_masked='fail': the patch of MODIS/061/MOD13Q1/2008_11_16 around the point of row 1 .* has 0.00%",
    ):
        made.make(client)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on_masked": "drop"}, "on_masked must be one of keep, skip, fail, got 'drop'"),
        ({"on_masked": "skip", "min_valid_fraction": 1.5}, "min_valid_fraction must be in 0..1, got 1.5"),
        ({"min_valid_fraction": 0.5}, "min_valid_fraction needs on_masked='skip' or 'fail'"),
        ({"shards": 0}, "shards must be at least 1, got 0"),
        ({"form": "CSV"}, "file_format must be one of TF_RECORD, NPZ, ZARR, got 'CSV'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(client, labelled, tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        dataset(client, tmp_path, labelled, **options)


def test_labels_may_not_take_the_name_of_a_band(client, tmp_path):
    grid, _ = native(client)
    for name in ("NDVI", "EVI_mask", "crs"):
        with pytest.raises(ValueError, match=f"bands and labels must have different names.*got {name} twice"):
            dataset(client, tmp_path, points_at(grid, [(1, 1)], **{name: [1]}))


# The same bytes, however they are come by.


class Shuffled:
    """A client whose answers come in a random order."""

    def __init__(self, client, seed):
        self._client, self._chance = client, random.Random(seed)

    def __getattr__(self, name):
        return getattr(self._client, name)

    def fetch_pixels(self, *arguments, **options):
        time.sleep(self._chance.random() * 0.05)
        return self._client.fetch_pixels(*arguments, **options)


@pytest.mark.parametrize("form", ["NPZ", "ZARR", "TF_RECORD"])
def test_eight_threads_make_the_bytes_of_one(client, tmp_path, form):
    points = random_points(Region.parse([-56.0, -12.03, -55.93, -11.99]), count=40, seed=3)
    one = dataset(client, tmp_path / "one", points, form=form, shards=3).make(client, max_concurrency=1)
    eight = dataset(client, tmp_path / "eight", points, form=form, shards=3).make(
        Shuffled(client, 5), max_concurrency=8
    )
    assert one.fetched["requests"] == eight.fetched["requests"] > 20
    assert files(tmp_path / "one") == files(tmp_path / "eight")


def test_nothing_waits_unbounded_for_a_slow_first_answer(client, tmp_path, monkeypatch):
    monkeypatch.setattr("airflow_ee.core.patch_fetch.BUFFER_BYTES", 10 * 3 * SIDE * SIDE * 15)
    points = random_points(Region.parse([-56.0, -12.03, -55.93, -11.99]), count=40, seed=3)
    made = dataset(client, tmp_path, points, shards=1)
    plan, begun, first = list(made.plan.requests(range(1))), [], threading.Event()
    assert len(plan) > 25

    class Slow(Shuffled):
        def fetch_pixels(self, call, grid, **options):
            begun.append(grid)
            if grid == plan[0].grid:
                first.wait(20)
            return self._client.fetch_pixels(call, grid, **options)

    thread = threading.Thread(target=made.make, args=(Slow(client, 1),), kwargs={"max_concurrency": 4})
    thread.start()
    deadline = time.monotonic() + 10
    while len(begun) < 9 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)
    ahead = len(begun)
    first.set()
    thread.join(30)
    assert 8 <= ahead <= 12
    assert len(begun) == len(plan)


KILLED = """
import sys, time
from tests.core import test_patches as t
from airflow_ee.core.patches import PatchDataset
from airflow_ee.core.patch_manifest import Manifest
url, folder, form = sys.argv[1:]
class Server: pass
Server.url = url
add = Manifest.add
def slowly(self, record):
    add(self, record)
    print(record.file, flush=True)
    if len(self.records) == 2:
        time.sleep(60)
Manifest.add = slowly
with t.connected(Server) as client:
    t.undisturbed(client, folder, form).make(client)
"""


def undisturbed(client, folder, form):
    points = random_points(Region.parse([-56.0, -12.03, -55.93, -11.99]), count=30, seed=11)
    return dataset(client, folder, points, form=form, shards=5)


@pytest.mark.parametrize("form", ["NPZ", "ZARR", "TF_RECORD"])
def test_after_a_kill_only_missing_shards_are_fetched_and_the_bytes_are_the_same(client, server, tmp_path, form):
    whole = undisturbed(client, tmp_path / "whole", form)
    whole.make(client)
    command = [sys.executable, "-c", KILLED, server.url, str(tmp_path / "killed"), form]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[2])
    names = [process.stdout.readline().strip() for _ in range(2)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert names == list(whole.names[:2])
    assert not (tmp_path / "killed" / "dataset.json").exists()
    again = undisturbed(client, tmp_path / "killed", form)
    summary = again.make(client)
    assert summary.made == 3
    assert summary.fetched["requests"] == len(list(again.plan.requests([2, 3, 4])))
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_a_finished_dataset_is_not_fetched_again(client, server, labelled, tmp_path):
    made = dataset(client, tmp_path, labelled)
    made.make(client)
    before, calls = files(tmp_path), len(server.calls)
    summary = made.make(client)
    assert (summary.made, summary.fetched["requests"], len(server.calls)) == (0, 0, calls)
    assert files(tmp_path) == before


@pytest.mark.parametrize("form", ["NPZ", "ZARR"])
def test_a_shard_that_is_gone_or_cut_short_is_made_again(client, labelled, tmp_path, form):
    made = dataset(client, tmp_path, labelled, form=form, shards=3)
    made.make(client)
    before = files(tmp_path)
    for name in made.names[:2]:
        victim = tmp_path / name if form == "NPZ" else tmp_path / name / "NDVI" / "c" / "0" / "0" / "0"
        victim.write_bytes(victim.read_bytes()[:-1])
    assert made.make(client).made == 2
    assert files(tmp_path) == before


CHANGES = {
    "points": lambda client: {"points": points_at(native(client)[0], PIXELS, crop=CLASSES[::-1], name=NAMES)},
    "bands": lambda client: {"source": PatchSource(images=IMAGES, bands=native(client, BANDS[:2])[1])},
    "images": lambda client: {"source": PatchSource(images=IMAGES[:2], bands=native(client)[1])},
    "grid": lambda _: {"rule": PatchRule(width=6, height=8, crs="EPSG:4326", scale=250)},
    "shards": lambda _: {"shards": 3},
    "form": lambda _: {"form": "TF_RECORD"},
    "revision": lambda _: {"provenance": {"update_times": ["later"]}},
    "masks": lambda _: {"on_masked": "skip"},
}


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_a_changed_request_starts_afresh_and_says_so(client, labelled, tmp_path, caplog, change):
    dataset(client, tmp_path / "old", labelled).make(client)
    (tmp_path / "old" / "notes.txt").write_text("a user's own")
    options = {"points": labelled, **CHANGES[change](client)}
    dataset(client, tmp_path / "old", **options).make(client)
    dataset(client, tmp_path / "new", **options).make(client)
    assert "holds patches of another request: they are replaced" in caplog.text
    assert files(tmp_path / "old").pop("notes.txt") == b"a user's own"
    left = {name: content for name, content in files(tmp_path / "old").items() if name != "notes.txt"}
    assert left == files(tmp_path / "new")


@pytest.mark.parametrize("form", ["NPZ", "ZARR", "TF_RECORD"])
def test_an_object_store_gets_the_same_bytes_and_is_resumed(client, labelled, tmp_path, form):
    dataset(client, tmp_path, labelled, form=form).make(client)
    made = dataset(client, tmp_path, labelled, form=form)
    store = fsspec.filesystem("memory")
    there = replace(made, folder=Location(store, f"/bucket-{form}", f"memory://bucket-{form}"))
    assert there.make(client).made == 2
    found = {path.removeprefix(f"/bucket-{form}/"): store.cat_file(path) for path in store.find(f"/bucket-{form}")}
    assert found == files(tmp_path)
    assert there.make(client).made == 0
    store.rm(f"/bucket-{form}/{made.names[0]}", recursive=True)
    assert there.make(client).made == 1


def test_what_a_killed_run_left_is_removed(client, labelled, tmp_path):
    (tmp_path / ".patches.abc").mkdir()
    (tmp_path / ".patches.abc" / "patches-00000-of-00002.npz").write_bytes(b"half")
    dataset(client, tmp_path, labelled).make(client)
    assert {path.suffix for path in tmp_path.iterdir()} == {".jsonl", ".json", ".npz"}


def test_told_to_stop_it_ends_and_leaves_only_whole_shards(client, server, labelled, tmp_path):
    server.inject("image:computePixels", "delay=0", *["hang"] * 20)
    with connected(server) as hung:
        made = dataset(client, tmp_path, labelled, shards=7)
        threading.Timer(1.0, hung.stop).start()
        told = time.monotonic()
        with pytest.raises(Stopped):
            made.make(hung)
        assert time.monotonic() - told < 5
    server.clear_faults()
    assert {path.suffix for path in tmp_path.iterdir()} <= {".jsonl", ".npz"}


def test_npz_members_have_no_date_of_their_own(client, labelled, tmp_path):
    made = dataset(client, tmp_path, labelled)
    made.make(client)
    with zipfile.ZipFile(tmp_path / made.names[0]) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_description_tells_a_reader_all_it_needs(client, labelled, tmp_path):
    made = dataset(client, tmp_path, labelled, provenance={"images": list(IMAGES)})
    summary = made.make(client)
    told = json.loads((tmp_path / "dataset.json").read_text())
    assert told["patch_size"] == [SIDE, SIDE]
    assert [band["name"] for band in told["bands"]] == list(BANDS)
    assert told["labels"] == {"crop": "int64", "name": "string"}
    assert told["counts"]["patches"] == 21
    assert told["provenance"]["images"] == list(IMAGES)
    assert told["provenance"]["simulated"] is False
    assert told["provenance"]["request_digest"] == summary.digest
    for shard in told["shards"]:
        assert (tmp_path / shard["file"]).stat().st_size == shard["bytes"]
        with np.load(tmp_path / shard["file"]) as arrays:
            for name, entry in told["features"].items():
                assert list(arrays[name].shape) == [shard["patches"], *entry["shape"]]
                assert entry["dtype"] == ("string" if arrays[name].dtype.kind == "U" else arrays[name].dtype.name)


# Where patches lie.

crses = st.sampled_from(["EPSG:32721", "EPSG:4326", "EPSG:3857", "SR-ORG:6974", "utm"])


@settings(deadline=None, max_examples=150)
@given(
    lon=st.floats(-59.9, -54.1), lat=st.floats(-60, 60), width=st.integers(1, 40), height=st.integers(1, 40),
    scale=st.floats(1, 3000), crs=crses,
)  # fmt: skip
def test_a_patch_is_centred_on_its_point_and_lies_on_the_lattice(lon, lat, width, height, scale, crs):
    points = Points(longitudes=np.array([lon]), latitudes=np.array([lat]))
    rule = PatchRule(width=width, height=height, crs=crs, scale=scale)
    grid, exact = (place_patches(points, each).grid(0) for each in (rule, replace(rule, snap=False)))
    if crs == "utm":
        assert grid.crs == ("EPSG:32721" if lat < 0 else "EPSG:32621")
    pixel = grid.transform[0]
    assert pixel == pytest.approx(scale if crs != "EPSG:4326" else np.degrees(scale / 6378137), rel=1e-12)
    x, y = pyproj.Transformer.from_crs("EPSG:4326", parse_crs(grid.crs), always_xy=True).transform(lon, lat)
    assert exact.xy(width / 2, height / 2) == pytest.approx((x, y), abs=1e-6 * pixel)
    centre = grid.xy(width / 2, height / 2)
    assert max(abs(centre[0] - x), abs(centre[1] - y)) <= pixel * (0.5 + 1e-6)
    for origin in (grid.transform[2], grid.transform[5]):
        assert abs(origin / pixel - round(origin / pixel)) < 1e-6
    if width % 2 and height % 2:
        column, row = (x - grid.transform[2]) / pixel, (grid.transform[5] - y) / pixel
        assert (np.floor(column + 1e-6), np.floor(row + 1e-6)) == pytest.approx((width // 2, height // 2), abs=1)


@pytest.mark.parametrize(
    ("lon", "lat", "crs", "words"),
    [
        (179.9999, 10, "EPSG:4326", "row 2, its patch leaves the world of EPSG:4326"),
        (0, 89.9999, "EPSG:4326", "row 2, its patch leaves the world"),
        (-179.9999, 10, "EPSG:3857", "row 2, its patch leaves the world"),
        (179.9999, 50, "SR-ORG:6974", "row 2, its patch leaves the world"),
        (0, 90, "EPSG:3857", "row 2, "),
        (0, 85, "utm", r"row 2, latitude 85.0 lies in no UTM zone \(-80..84\)"),
    ],
)
def test_a_patch_that_leaves_the_world_is_refused_by_its_row(lon, lat, crs, words):
    points = Points(longitudes=np.array([0.0, lon]), latitudes=np.array([0.0, lat]))
    with pytest.raises(ValueError, match=words):
        place_patches(points, PatchRule(width=8, height=8, crs=crs, scale=100))


def test_a_patch_over_the_antimeridian_has_a_place_in_utm():
    points = Points(longitudes=np.array([179.9999, 180.0, -180.0]), latitudes=np.array([10.0, 10.0, 10.0]))
    grids = place_patches(points, PatchRule(width=64, height=64, crs="utm", scale=10))
    assert [grids.crs(index) for index in range(3)] == ["EPSG:32660", "EPSG:32660", "EPSG:32601"]


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    crs=crses.filter(lambda crs: crs != "utm"), scale=st.integers(60, 900), seed=st.integers(0, 999),
    width=st.integers(1, 20), height=st.integers(1, 20),
)  # fmt: skip
def test_patches_are_windows_of_the_whole_image(client, tmp_path, crs, scale, seed, width, height):
    points = random_points(Region.parse([-55.99, -12.02, -55.95, -12.0]), count=6, seed=seed)
    source = PatchSource(expression=load_image(IMAGES[0]), bands=native(client)[1])
    rule = PatchRule(width=width, height=height, crs=crs, scale=scale)
    folder = tmp_path / f"{crs}-{scale}-{seed}-{width}-{height}".replace(":", "_")
    made = dataset(client, folder, points, rule=rule, source=source, shards=1)
    made.make(client)
    first, size = made.grids, 220
    left, top = int(first.columns.min()) - 3, int(first.rows.min()) - 2
    whole_grid = first.window(0, left, top, size, size)
    body = client.compute_pixels(load_image(IMAGES[0]), file_format="NPY", grid=whole_grid, band_ids=BANDS)
    whole = decode_npy(body, shape=(size, size), bands=BANDS)
    with np.load(folder / made.names[0]) as arrays:
        for index in range(len(points)):
            row, column = int(first.rows[index]) - top, int(first.columns[index]) - left
            window = whole[row : row + height, column : column + width]
            assert window.shape == (height, width)
            np.testing.assert_array_equal(arrays["patches"][index], [window[name] for name in BANDS])


def test_a_lattice_of_its_own_may_be_sheared():
    grid = PixelGrid(crs="EPSG:32721", transform=(30.0, 4.0, 6e5, -3.0, -30.0, 8.7e6), width=9, height=9)
    points = points_at(grid, [(0, 0), (7, 3)])
    rule = PatchRule(width=3, height=5, crs=grid.crs, transform=grid.transform)
    grids = place_patches(points, rule)
    assert grids.columns.tolist() == [-1, 2]
    assert grids.rows.tolist() == [-2, 5]
    assert grids.grid(1).transform == pytest.approx(grid.window(row=5, col=2, rows=1, cols=1).transform)
