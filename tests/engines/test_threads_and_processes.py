"""One job, the same bytes: as operators run it, in threads, in processes, in processes that die."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_ee.core.errors import IncompleteJob, InvalidArgument
from airflow_ee.core.job import PixelJob
from airflow_ee.core.job_run import Batch, run_batch, run_job
from airflow_ee.emulator import Emulator
from airflow_ee.engines.processes import ProcessEngine
from airflow_ee.engines.threads import ThreadEngine
from tests.core import jobs
from tests.engines import made

FORMS = (*made.RASTERS, made.PATCHES)


@pytest.mark.parametrize("form", FORMS)
def test_a_job_in_pieces_leaves_what_it_leaves_in_one(server, tmp_path, expected, form):
    job = made.job(server.url, tmp_path, form)
    with job.client.open() as client:
        if form == made.PATCHES:
            job.work.dataset.make(client)
        else:
            job.work.job.run(client)
    assert jobs.content(tmp_path) == expected(form)
    assert len(expected(form)) >= 1


@pytest.mark.parametrize("form", FORMS)
def test_processes_leave_the_same_bytes(server, tmp_path, expected, form):
    report = ProcessEngine(processes=2, batch_units=5).run(made.job(server.url, tmp_path, form))
    assert jobs.content(tmp_path) == expected(form)
    told = report.to_json()
    assert told["tiles"] == (20 if form == made.PATCHES else 40)
    assert told["requests"] >= told["tiles"]
    assert told["uri"] == str(tmp_path / "out")
    assert told["simulated"] is False
    assert len(report.batches) >= 4


@pytest.mark.parametrize("form", ["ZARR", "COG", made.PATCHES])
def test_a_process_that_is_killed_costs_its_piece_only(server, tmp_path, expected, form):
    before = len(server.requests)
    killed = []

    def kill():
        while len(server.requests) < before + 10:
            time.sleep(0.01)
        (victim, *_) = [child for child in children() if "spawn_main" in child[1]]
        os.kill(victim[0], signal.SIGKILL)
        killed.append(victim[0])

    watcher = threading.Thread(target=kill)
    watcher.start()
    report = ProcessEngine(processes=2, batch_units=4).run(made.job(server.url, tmp_path, form))
    watcher.join()
    assert killed
    assert jobs.content(tmp_path) == expected(form)
    assert report.units in {20, 40}


def children():
    """Processes that this one has started: number and command."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            command = (path / "cmdline").read_bytes().decode().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == os.getpid():
            found.append((int(path.name), command))
    return found


@pytest.mark.parametrize("form", FORMS)
def test_a_job_reads_back_from_its_own_text(server, tmp_path, form):
    job = made.job(server.url, tmp_path, form)
    again = PixelJob.parse(job.text)
    assert again.text == job.text
    assert again.client == job.client
    assert json.loads(job.text)["version"] == 1
    assert "token" not in job.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2, this is version 1"),
        ({"kind": "video"}, "kind must be raster, patches, series, got 'video'"),
        ({"client": {}}, "'settings' is missing"),
        ({"work": {}}, "'source' is missing"),
        ({"client": {"settings": {"project": "demo-project", "endpoint": "http://example.com"}}}, "endpoint must be https"),
        ({"client": {"settings": {"project": "demo-project"}, "credentials": {"kind": "key"}}}, "credentials must be of kind"),
    ],
)  # fmt: skip
def test_what_is_no_job_is_refused_by_what_is_wrong(server, tmp_path, change, message):
    value = json.loads(made.raster_job(server.url, tmp_path, "COG").text) | change
    with pytest.raises(ValueError, match="this is no job file") as refusal:
        PixelJob.parse(json.dumps(value))
    assert message in str(refusal.value)


def test_what_is_there_is_not_fetched_again(server, tmp_path, expected):
    job = made.raster_job(server.url, tmp_path, "ZARR")
    with job.client.open() as client:
        units = job.work.begin(client)
    run_batch(Batch(job.text, tuple(units[:17]), 1))
    before = server.calls.count(jobs.METHOD)
    report = ThreadEngine().run(job)
    assert (report.resumed, report.units) == (17, 40)
    asked = report.to_json()
    assert asked["requests"] - asked["retries"] == 23
    # One may be made again on a machine that is busy.
    assert server.calls.count(jobs.METHOD) - before == asked["requests"]
    assert jobs.content(tmp_path) == expected("ZARR")


@pytest.mark.parametrize("form", ["COG", made.PATCHES])
def test_units_that_are_done_twice_change_nothing(server, tmp_path, expected, form):
    def twice(batches):
        doubled = [batch for batch in batches for _ in range(2)]
        threads = [threading.Thread(target=run_batch, args=(batch,)) for batch in doubled]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return ()

    run_job(made.job(server.url, tmp_path, form), twice, workers=2, processes=1, batch_units=4)
    assert jobs.content(tmp_path) == expected(form)


@pytest.mark.parametrize("form", ["ZARR", made.PATCHES])
def test_units_that_an_engine_lost_are_named_and_the_next_run_makes_them(server, tmp_path, expected, form):
    job = made.job(server.url, tmp_path, form)
    with pytest.raises(IncompleteJob, match=r"are not there, .* among them; run the job again") as failure:
        run_job(job, lambda batches: map(run_batch, batches[1:]), workers=2, processes=1)
    assert pickle.loads(pickle.dumps(failure.value)).message == failure.value.message
    assert ThreadEngine().run(job).resumed > 0
    assert jobs.content(tmp_path) == expected(form)


def test_a_failure_in_a_process_comes_back_as_what_it_is(tmp_path):
    with Emulator(root=tmp_path / "root", requests_per_second=None) as server:
        server.inject(jobs.METHOD, *["delay=0"] * 3, "400 The image is too strange.")
        job = made.raster_job(server.url, tmp_path, "COG")
        with pytest.raises(InvalidArgument, match=r"rows.*The image is too strange"):
            ProcessEngine(processes=2).run(job)
        assert not (tmp_path / "out").exists()
        ThreadEngine().run(job)
        assert (tmp_path / "out").is_file()


def test_pixels_of_other_types_than_announced_are_taken_as_they_are(server, tmp_path):
    announced = replace(jobs.SOURCE, bands=tuple(replace(band, dtype=jobs.np.dtype("i4")) for band in jobs.BANDS))
    report = ProcessEngine(processes=2).run(made.raster_job(server.url, tmp_path, "NPY", source=announced))
    assert report.units == 40
    loaded = jobs.np.load(tmp_path / "out")
    assert [loaded.dtype[name] for name in ("fine", "coarse")] == [jobs.np.dtype("i2"), jobs.np.dtype("i1")]


class TestCommand:
    def run(self, *arguments, module="threads"):
        command = [sys.executable, "-m", f"airflow_ee.engines.{module}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    @pytest.mark.parametrize("module", ["threads", "processes"])
    def test_a_job_file_is_run(self, server, tmp_path, expected, module):
        file = tmp_path / "job.json"
        file.write_text(made.raster_job(server.url, tmp_path / "made", "GEO_TIFF").text)
        done = self.run("--job", str(file), "--report", str(tmp_path / "report.json"), module=module)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == json.loads((tmp_path / "report.json").read_text())
        assert jobs.content(tmp_path / "made") == expected("GEO_TIFF")

    @pytest.mark.parametrize("form", ["COG", made.PATCHES])
    def test_a_dry_run_tells_what_would_be_asked_for_and_asks_for_nothing(self, server, tmp_path, form):
        file = tmp_path / "job.json"
        file.write_text(made.job(server.url, tmp_path / "made", form).text)
        before = len(server.calls)
        told = json.loads(self.run("--job", str(file), "--dry-run").stdout)
        assert told["units"] == (20 if form == made.PATCHES else 40)
        assert len(told["first_units"]) == 5
        assert {"requests", "bytes", "seconds", "pixels", "tiles"} <= set(told)
        assert len(server.calls) == before
        assert not (tmp_path / "made").exists()

    def test_a_failure_is_one_line(self, tmp_path):
        file = tmp_path / "job.json"
        file.write_text("{}")
        done = self.run("--job", str(file))
        assert (done.returncode, done.stderr) == (1, "ValueError: this is no job file: 'version' is missing\n")
        assert self.run("--job", str(tmp_path / "none.json")).returncode == 1
