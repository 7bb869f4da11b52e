"""One job on Dask, the same bytes: in its processes, in its threads, by a scheduler that is there, with workers that die."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import distributed
import pytest

from airflow_ee.core.errors import EngineFailed, InvalidArgument
from airflow_ee.core.job import PixelJob
from airflow_ee.emulator import Emulator
from airflow_ee.engines.dask import DaskEngine
from airflow_ee.engines.options import MissingExtra
from airflow_ee.engines.threads import ThreadEngine
from tests.core import jobs
from tests.engines import made

# Workers cannot import the tests.
distributed.protocol.pickle.cloudpickle.register_pickle_by_value(sys.modules[__name__])

FORMS = ("GEO_TIFF", "ZARR", "TF_RECORD", made.PATCHES)
PROCESSES = DaskEngine(workers=2, threads_per_worker=1, batch_units=5)
THREADS = DaskEngine(workers=1, threads_per_worker=4, processes=False, batch_units=5)


@pytest.fixture(scope="module")
def scheduler():
    """A cluster that another process would have: two workers of two threads."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        yield cluster


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("engine", [PROCESSES, THREADS, None], ids=["processes", "threads", "address"])
def test_the_same_bytes_as_threads(server, scheduler, tmp_path, expected, engine, form):
    engine = engine or DaskEngine(address=scheduler.scheduler_address, batch_units=5)
    report = engine.run(made.job(server.url, tmp_path, form))
    assert jobs.content(tmp_path) == expected(form)
    units = 20 if form == made.PATCHES else 40
    assert report.to_json()["tiles"] == units
    assert report.to_json()["requests"] >= units
    assert len(report.batches) == units // 5


def test_batches_are_told_as_they_end(server, tmp_path, caplog):
    with caplog.at_level("INFO", logger="airflow_ee"):
        THREADS.run(made.job(server.url, tmp_path, "ZARR"))
    told = [record.message for record in caplog.records if "batches are done" in record.message]
    assert told == [f"{number} of 8 batches are done" for number in range(1, 9)]


def test_every_worker_process_takes_its_share_of_the_quota(server, scheduler, tmp_path, monkeypatch):
    shares = []
    monkeypatch.setattr("airflow_ee.core.job_run.run_job", lambda *_, **options: shares.append(options))
    for engine in (THREADS, DaskEngine(address=scheduler.scheduler_address)):
        engine.run(made.job(server.url, tmp_path, "COG"))
    assert [(share["workers"], share["processes"]) for share in shares] == [(4, 1), (4, 2)]


@pytest.mark.parametrize("form", ["COG", made.PATCHES])
def test_a_worker_that_is_killed_costs_its_pieces_only(server, scheduler, tmp_path, expected, form):
    before = server.calls.count(jobs.METHOD)
    killed = []

    def kill():
        while server.calls.count(jobs.METHOD) < before + 10:
            time.sleep(0.01)
        victim = next(iter(scheduler.workers.values())).pid
        os.kill(victim, signal.SIGKILL)
        killed.append(victim)

    watcher = threading.Thread(target=kill)
    watcher.start()
    engine = DaskEngine(address=scheduler.scheduler_address, batch_units=4)
    report = engine.run(made.job(server.url, tmp_path, form))
    watcher.join()
    asked = server.calls.count(jobs.METHOD) - before
    assert killed
    assert jobs.content(tmp_path) == expected(form)
    # Two pieces were at work in it.
    assert asked <= report.to_json()["requests"] * (1 + 2 / len(report.batches)) + 1


@pytest.mark.parametrize("engine", [PROCESSES, THREADS], ids=["processes", "threads"])
def test_a_failure_comes_back_as_what_it_is_and_ends_the_job(tmp_path, engine):
    with Emulator(root=tmp_path / "root", requests_per_second=None) as server:
        server.inject(jobs.METHOD, *["delay=0"] * 3, "400 The image is too strange.")
        job = made.raster_job(server.url, tmp_path, "COG", tiles=16, max_concurrency=1)
        with pytest.raises(InvalidArgument, match=r"rows.*The image is too strange") as failure:
            replace(engine, batch_units=2).run(job)
        assert pickle.loads(pickle.dumps(failure.value)).message == failure.value.message
        assert server.calls.count(jobs.METHOD) < 12
        assert not (tmp_path / "out").exists()
        ThreadEngine().run(job)
        assert (tmp_path / "out").is_file()


def test_pixels_of_other_types_than_announced_are_taken_as_they_are(server, tmp_path):
    announced = replace(jobs.SOURCE, bands=tuple(replace(band, dtype=jobs.np.dtype("i4")) for band in jobs.BANDS))
    THREADS.run(made.raster_job(server.url, tmp_path, "NPY", tiles=8, source=announced))
    loaded = jobs.np.load(tmp_path / "out")
    assert [loaded.dtype[name] for name in ("fine", "coarse")] == [jobs.np.dtype("i2"), jobs.np.dtype("i1")]


@pytest.fixture
def one_life(scheduler):
    """The scheduler gives a piece up with the first worker that it costs."""
    with distributed.Client(scheduler, set_as_default=False) as client:
        before = client.run_on_scheduler(_allow_failures, 0)
        yield
        client.run_on_scheduler(_allow_failures, before)


def test_a_job_whose_workers_always_die_fails_as_the_engine(server, scheduler, one_life, tmp_path, monkeypatch):
    monkeypatch.setattr("airflow_ee.engines.dask._do", _die)
    with pytest.raises(EngineFailed, match=r"Dask: KilledWorker: .*Another try goes on") as failure:
        DaskEngine(address=scheduler.scheduler_address).run(made.raster_job(server.url, tmp_path, "COG"))
    assert failure.value.retryable
    assert not (tmp_path / "out").exists()


def _die(*_):
    os._exit(9)


def _allow_failures(count, *, dask_scheduler):
    before, dask_scheduler.allowed_failures = dask_scheduler.allowed_failures, count
    return before


def test_the_text_of_a_job_travels_once(server, scheduler, tmp_path, monkeypatch):
    job = made.raster_job(server.url, tmp_path, "COG")
    long = replace(job, storage_options={}, work=replace(job.work, source_version="v" * 3_000_000))
    sent = []
    real = distributed.protocol.pickle.dumps
    monkeypatch.setattr(
        "distributed.protocol.pickle.dumps",
        lambda value, **options: sent.append(len(made_of := real(value, **options))) or made_of,
    )
    DaskEngine(address=scheduler.scheduler_address, batch_units=2).run(PixelJob.parse(long.text))
    assert sum(sent) < 2.1 * len(long.text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers must be a whole number of at least 1, got 0"),
        ({"threads_per_worker": True}, "threads_per_worker must be a whole number"),
        ({"batch_units": 1.5}, "batch_units must be a whole number"),
        ({"address": ""}, "address must be a scheduler's"),
        ({"address": "tcp://here:8786", "processes": False}, "do not go with an address"),
    ],
)
def test_a_bad_option_is_refused_before_anything_starts(options, message):
    with pytest.raises(ValueError, match=message):
        DaskEngine(**options)


def test_a_missing_extra_is_named(server, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtra, match=r"this engine needs distributed: install airflow-ee\[dask\]"):
        DaskEngine().run(made.raster_job(server.url, tmp_path, "COG"))
    assert not list(tmp_path.iterdir())


def test_a_scheduler_that_does_not_answer_fails_as_the_engine(server, tmp_path, monkeypatch):
    monkeypatch.setattr("airflow_ee.engines.dask.CONNECT_SECONDS", 0.5)
    with pytest.raises(EngineFailed, match=r"Dask: tcp://127\.0\.0\.1:9: "):
        DaskEngine(address="tcp://127.0.0.1:9").run(made.raster_job(server.url, tmp_path, "COG"))


@pytest.mark.parametrize("where", ["here", "there"])
def test_the_command_line_runs_a_job_file(server, scheduler, tmp_path, expected, where):
    file = tmp_path / "job.json"
    file.write_text(made.raster_job(server.url, tmp_path / "made", "COG").text)
    options = (
        ["--workers", "2", "--threads-per-worker", "1"]
        if where == "here"
        else ["--address", scheduler.scheduler_address]
    )
    command = [sys.executable, "-m", "airflow_ee.engines.dask", "--job", str(file), *options, "--batch-units", "10"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tiles"] == 40
    assert "4 of 4 batches are done" in done.stderr
    assert jobs.content(tmp_path / "made") == expected("COG")


def test_an_option_that_nobody_knows_is_refused(tmp_path):
    command = [sys.executable, "-m", "airflow_ee.engines.dask", "--job", "job.json", "--colour", "red"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "unrecognized arguments: --colour red" in done.stderr
