"""Where nothing can be written a job says so by the place's name, leaves no file that looks finished, and goes on once it can."""

import os
import resource
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_ee.core.decode import PixelBlock
from airflow_ee.core.patch_manifest import Manifest
from airflow_ee.core.plan import Tile
from airflow_ee.core.sinks.base import Location
from airflow_ee.core.sinks.geotiff import GeoTiffForm
from airflow_ee.core.sinks.layout import BandLayout, RasterLayout
from airflow_ee.core.sinks.npy import assemble_npy, assemble_npz
from airflow_ee.core.sinks.parts import PartsSink, RawForm
from airflow_ee.emulator import Emulator
from tests.core import jobs

TILES = 100
FORMS = (*jobs.RASTERS, jobs.PATCHES)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Emulator(root=tmp_path_factory.mktemp("root"), requests_per_second=None) as running:
        yield running


@pytest.fixture(scope="module")
def undisturbed(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    for form in FORMS:
        jobs.run(server.url, folder / form, form, TILES)
    return {form: jobs.content(folder / form) for form in FORMS}


class Disk:
    """A small disk of its own."""

    def __init__(self, path):
        self.path = path

    def mount(self, options):
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.path)], check=True)

    def change(self, options):
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.path)], check=True)


@pytest.fixture
def disk(tmp_path):
    made = Disk(tmp_path / "disk")
    made.path.mkdir()
    try:
        made.mount("size=1m")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no disk can be mounted here")
    yield made
    subprocess.run(["umount", str(made.path)], check=True)


def finished(folder):
    """What looks like a finished output."""
    return {
        name for name in ("out", "out/zarr.json", "out/dataset.json", "out.manifest.json") if (folder / name).is_file()
    }


def outcome(server, folder, form):
    """What a job tells of its failure; None when it does not fail."""
    try:
        jobs.run(server.url, folder, form, TILES)
    except OSError as problem:
        return str(problem)
    return None


@pytest.mark.parametrize("size", ["100k", "320k", "400k", "440k", "480k", "520k", "560k", "640k"])
@pytest.mark.parametrize("form", FORMS)
def test_a_full_disk_is_told_and_a_job_goes_on_when_there_is_room(form, size, disk, server, undisturbed):
    disk.change(f"size={size}")
    told = outcome(server, disk.path, form)
    if told is not None:
        assert str(disk.path / "out") in told or str(disk.path / ".out") in told
        assert "room on the disk" in told or "No space left" in told
        assert finished(disk.path) == set()
    assert told is not None or size != "100k" or form == jobs.PATCHES
    disk.change("size=20m")
    before = len(server.calls)
    jobs.run(server.url, disk.path, form, TILES)
    assert len(server.calls) - before < TILES
    assert jobs.content(disk.path) == undisturbed[form]


@contextmanager
def files_of_at_most(size):
    """No file may become larger, as on a disk that is full then."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


PART_FORMS = {
    "GEO_TIFF": GeoTiffForm(cloud_optimized=False),
    "COG": GeoTiffForm(cloud_optimized=True),
    "NPY": RawForm(assemble_npy),
    "NPZ": RawForm(assemble_npz),
}


@pytest.mark.parametrize("lacking", [1, 300, 20_000])
@pytest.mark.parametrize("mask", ["nodata", "band"])
@pytest.mark.parametrize("form", PART_FORMS)
def test_a_file_whose_last_bytes_find_no_room_is_not_published(tmp_path, form, mask, lacking):
    """GDAL keeps silent about them, and the file opens."""
    grid = jobs.grid(200)
    layout = RasterLayout(grid=grid, bands=(BandLayout(name="band", dtype=np.dtype("u2")),), mask=mask)
    sink = PartsSink(target=jobs.place(tmp_path / "out"), layout=layout, form=PART_FORMS[form])
    sink.prepare()
    random = np.random.default_rng(1)
    pixels, masks = random.integers(0, 60_000, grid.shape).astype("u2"), random.integers(0, 2, grid.shape).astype("u1")
    records = [sink.write(Tile(0, 0, grid), PixelBlock(("band",), (pixels,), (masks,)))]
    (whole,) = sink.commit(records)
    (tmp_path / "out").unlink()
    with files_of_at_most(whole.bytes - lacking), pytest.raises(OSError, match=str(tmp_path / "out")):
        sink.commit(records)
    assert not (tmp_path / "out").exists()
    assert sink.commit(records) == (whole,)


@pytest.mark.parametrize("form", FORMS)
def test_a_disk_that_may_not_be_written_to_is_told_before_a_pixel_is_asked_for(form, disk, server):
    disk.change("ro")
    before = len(server.calls)
    with pytest.raises(OSError, match=f"Read-only file system.*{disk.path}"):
        jobs.run(server.url, disk.path, form, TILES)
    assert len(server.calls) == before


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_that_is_a_file_is_told_before_a_pixel_is_asked_for(form, server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    before = len(server.calls)
    with pytest.raises((OSError, ValueError), match=str(tmp_path / "file")):
        jobs.run(server.url, tmp_path / "file", form, TILES)
    assert len(server.calls) == before


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_that_vanishes_is_told_and_the_job_begins_anew(form, server, undisturbed, tmp_path):
    folder, begun = tmp_path / "folder", len(server.calls)
    folder.mkdir()

    def vanish():
        while len(server.calls) < begun + TILES // 2:
            time.sleep(0.001)
        os.rename(folder, tmp_path / "elsewhere")

    thread = threading.Thread(target=vanish)
    thread.start()
    with pytest.raises(OSError, match=str(folder)):
        jobs.run(server.url, folder, form, TILES)
    thread.join()
    assert not folder.exists() or finished(folder) == set()
    jobs.run(server.url, folder, form, TILES)
    assert jobs.content(folder) == undisturbed[form]


def test_shards_that_vanish_between_two_are_missed(server, tmp_path, monkeypatch):
    add = Manifest.add

    def vanish(self, record):
        add(self, record)
        if len(self.records) == 3:
            os.rename(tmp_path / "out", tmp_path / "elsewhere")

    monkeypatch.setattr(Manifest, "add", vanish)
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "out")):
        jobs.run(server.url, tmp_path, jobs.PATCHES, TILES)
    monkeypatch.undo()
    assert finished(tmp_path) == set()
    jobs.run(server.url, tmp_path, jobs.PATCHES, TILES)
    assert finished(tmp_path) == {"out/dataset.json"}


class Bucket(MemoryFileSystem):
    """A store that refuses to write what ``refused`` is true for."""

    cachable = False
    refused = staticmethod(lambda _: False)

    def _check(self, path):
        if self.refused(path):
            raise PermissionError("Forbidden: storage.objects.create is denied")

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        self._check(path)
        return super().pipe_file(path, value, mode=mode, **kwargs)

    def put_file(self, lpath, rpath, **kwargs):
        self._check(rpath)
        return super().put_file(lpath, rpath, **kwargs)

    def cp_file(self, path1, path2, **kwargs):
        self._check(path2)
        return super().cp_file(path1, path2, **kwargs)


DENIED = {
    "everything": lambda _: True,
    "the output": lambda path: not any(word in path for word in ("parts", "manifest.jsonl")),
}


@pytest.mark.parametrize("denied", DENIED)
@pytest.mark.parametrize("form", jobs.RASTERS)
def test_a_bucket_that_denies_is_named_and_the_job_goes_on_when_it_allows(form, denied, server, tmp_path, undisturbed):
    bucket = Bucket()
    target = Location(bucket, "/bucket/out", "gs://bucket/out")
    bucket.refused = DENIED[denied]
    job = jobs.raster(tmp_path, form, tiles=TILES, target=target)
    with jobs.connected(server.url) as client, pytest.raises(PermissionError, match="gs://bucket/.*Forbidden"):
        job.run(client)
    bucket.refused = Bucket.refused
    assert not bucket.exists("/bucket/out")
    with jobs.connected(server.url) as client:
        summary = job.run(client).summary
    assert summary["tiles_resumed"] == (0 if denied == "everything" else TILES)
    found = {name.removeprefix("/bucket/"): bytes(bucket.cat_file(name)) for name in bucket.find("/bucket")}
    found = {name: body for name, body in found.items() if "manifest" not in name}
    assert found == undisturbed[form]


def test_a_bucket_that_denies_shards_is_named(server, tmp_path):
    bucket = Bucket()
    bucket.refused = lambda path: ".tfrecord" in path
    dataset = jobs.patches(tmp_path, points=20, shards=4)
    dataset = replace(dataset, folder=Location(bucket, "/bucket/set", "gs://bucket/set"))
    with (
        jobs.connected(server.url) as client,
        pytest.raises(PermissionError, match="gs://bucket/set/patches-0.*Forbidden"),
    ):
        dataset.make(client)
    bucket.refused = Bucket.refused
    with jobs.connected(server.url) as client:
        assert dataset.make(client).made == 4
