"""A job that is run again takes up what is there, whatever the first try was told, and leaves nothing behind."""

from dataclasses import replace

import numpy as np
import pytest

from airflow_ee.core import errors
from airflow_ee.core.raster import RasterJob
from airflow_ee.core.resources import Band
from tests.core import jobs

TILES = 20
ANNOUNCED = replace(jobs.SOURCE, bands=(Band(id="fine", dtype=np.dtype("i4")), jobs.BANDS[1]))


@pytest.fixture
def client(emulator):
    with jobs.connected(emulator.url, requests_per_second=90) as made:
        yield made


def interrupted(client, emulator, job, *, after):
    """The job fails when so many tiles have come."""
    emulator.inject(jobs.METHOD, *["delay=0"] * after, "403 times=4")
    with pytest.raises(errors.PermissionDenied):
        replace(job, max_concurrency=1).run(client)
    emulator.clear_faults()


def test_a_job_that_is_stopped_again_and_again_loses_nothing(client, emulator, tmp_path):
    job = jobs.raster(tmp_path, "NPY", tiles=TILES)
    for _ in range(4):
        interrupted(client, emulator, job, after=4)
    summary = job.run(client).summary
    assert (summary["tiles"], summary["tiles_resumed"]) == (4, 16)


def test_a_job_whose_image_announces_other_types_goes_on_too(client, emulator, tmp_path):
    job = jobs.raster(tmp_path / "again", "NPY", tiles=TILES, source=ANNOUNCED)
    (tmp_path / "again").mkdir()
    # An image is taken to be of the types that its first pixels have when nothing else comes.
    interrupted(client, emulator, job, after=jobs.QUICK.attempts + 5)
    assert job.run(client).summary["tiles_resumed"] >= 4
    jobs.raster(tmp_path, "NPY", tiles=TILES).run(client)
    assert np.array_equal(np.load(tmp_path / "again" / "out"), np.load(tmp_path / "out"))


def test_an_image_that_changed_its_types_begins_afresh(client, emulator, tmp_path):
    job = jobs.raster(tmp_path, "NPY", tiles=TILES, source=replace(jobs.SOURCE, masks="none"))
    interrupted(client, emulator, job, after=5)
    emulator.inject(jobs.METHOD, "wrong-dtype always")
    summary = job.run(client).summary
    assert summary["tiles_resumed"] == 0
    assert np.load(tmp_path / "out").dtype["fine"] == np.uint16


def test_masks_of_another_type_are_an_error_and_not_asked_for_without_end(client, emulator, tmp_path):
    emulator.inject(jobs.METHOD, "wrong-dtype always")
    with pytest.raises(errors.OtherTypes):
        jobs.raster(tmp_path, "NPY", tiles=TILES).run(client)
    assert len(emulator.calls) <= 3 * jobs.CONCURRENCY * jobs.QUICK.attempts


def test_a_job_killed_at_its_very_end_is_tidied_up_by_the_next(client, tmp_path, monkeypatch):
    job = jobs.raster(tmp_path, "NPY", tiles=TILES)
    with monkeypatch.context() as patch:
        patch.setattr(RasterJob, "_clear", lambda *_: None)
        job.run(client)
    assert (tmp_path / "out.parts").exists()
    assert job.finished().unchanged
    assert not (tmp_path / "out.parts").exists()


def test_what_a_kill_left_is_removed_and_what_is_somebody_elses_is_not(client, tmp_path):
    (tmp_path / ".out.0123456789ab.part").write_bytes(b"half")
    (tmp_path / ".out.manifest.json.0123456789ab.part").write_bytes(b"half")
    for name in (".out", ".out.part", ".other.0123456789ab.part", "out.0123456789ab.part"):
        (tmp_path / name).write_bytes(b"mine")
    jobs.raster(tmp_path, "NPY", tiles=TILES).run(client)
    names = {path.name for path in tmp_path.iterdir()} - {"root"}
    assert names == {
        "out", "out.manifest.json", ".out", ".out.part", ".other.0123456789ab.part", "out.0123456789ab.part",
    }  # fmt: skip
