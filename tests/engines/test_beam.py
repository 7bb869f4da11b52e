"""One job on Beam, the same bytes: in each mode of its local runner, with workers that die, and as on machines far away."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial

import psutil
import pytest

from airflow_ee.core.errors import EngineFailed, InvalidArgument
from airflow_ee.emulator import Emulator
from airflow_ee.engines import beam_host, launchers
from airflow_ee.engines.beam import BeamEngine
from airflow_ee.engines.options import MissingExtra
from airflow_ee.engines.threads import ThreadEngine
from tests.core import jobs
from tests.engines import made

FORMS = ("GEO_TIFF", "ZARR", "TF_RECORD", made.PATCHES)
MODES = {"in_memory": 1, "multi_threading": 2, "multi_processing": 2}
# The same local runner by a name that is not known as such: in this process, and nothing but metrics comes back.
FAR_AWAY = BeamEngine(runner="apache_beam.runners.portability.fn_api_runner.FnApiRunner", processes=1, batch_units=10)


def engine(mode, **options):
    flags = {"direct_running_mode": mode, "direct_num_workers": MODES[mode]}
    return BeamEngine(pipeline_options=flags, **{"batch_units": 5, **options})


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", MODES)
def test_the_same_bytes_as_threads(server, tmp_path, expected, mode, form):
    report = engine(mode).run(made.job(server.url, tmp_path, form))
    assert jobs.content(tmp_path) == expected(form)
    units = 20 if form == made.PATCHES else 40
    assert report.to_json()["tiles"] == units
    assert report.to_json()["requests"] >= units
    assert len(report.batches) == units // 5


@pytest.mark.parametrize("mode", ["in_memory", "multi_processing"])
def test_a_failure_comes_back_as_what_it_is_and_ends_the_job(tmp_path, mode):
    with Emulator(root=tmp_path / "root", requests_per_second=None) as server:
        server.inject(jobs.METHOD, *["delay=0"] * 3, "400 The image is too strange.", *["delay=0.3"] * 30)
        job = made.raster_job(server.url, tmp_path, "COG", tiles=16, max_concurrency=1)
        with pytest.raises(InvalidArgument, match=r"rows.*The image is too strange") as failure:
            engine(mode, batch_units=2).run(job)
        assert pickle.loads(pickle.dumps(failure.value)).message == failure.value.message
        assert server.calls.count(jobs.METHOD) < 12
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("engine", [engine("in_memory"), FAR_AWAY], ids=["local", "far away"])
def test_pixels_of_other_types_than_announced_are_taken_as_they_are(server, tmp_path, engine):
    announced = replace(jobs.SOURCE, bands=tuple(replace(band, dtype=jobs.np.dtype("i4")) for band in jobs.BANDS))
    engine.run(made.raster_job(server.url, tmp_path, "NPY", tiles=8, source=announced))
    loaded = jobs.np.load(tmp_path / "out")
    assert [loaded.dtype[name] for name in ("fine", "coarse")] == [jobs.np.dtype("i2"), jobs.np.dtype("i1")]


def workers():
    """Worker processes of Beam that this process has started, by way of others."""
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if "sdk_worker_main" in " ".join(child.cmdline()) and "python" in child.name()
    ]


def test_a_worker_that_is_killed_costs_its_pieces_only(server, tmp_path, expected, caplog):
    before = server.calls.count(jobs.METHOD)
    killed = []

    def kill():
        while server.calls.count(jobs.METHOD) < before + 10:
            time.sleep(0.01)
        victim = workers()[0]
        victim.kill()
        killed.append(victim.pid)

    watcher = threading.Thread(target=kill)
    watcher.start()
    report = engine("multi_processing", batch_units=4).run(
        made.raster_job(server.url, tmp_path, "COG", max_concurrency=1)
    )
    watcher.join()
    asked = server.calls.count(jobs.METHOD) - before
    assert killed
    assert "A worker of Beam died" in caplog.text
    assert jobs.content(tmp_path) == expected("COG")
    assert report.units == 40
    # Two pieces were at work, and the other worker went on for a moment.
    assert asked <= 40 + 3 * 4
    assert not workers()


def test_workers_that_always_die_fail_as_the_engine_and_what_is_stored_stays(server, tmp_path, expected, monkeypatch):
    # A host that does one piece, and ends as when a worker of it has died.
    monkeypatch.setattr(beam_host, "PROGRAM", DYING)
    monkeypatch.setattr(beam_host, "MOST_RUNS", 2)
    job = made.raster_job(server.url, tmp_path, "COG")
    with pytest.raises(EngineFailed, match=r"ended in each of 2 runs.*Another try goes on") as failure:
        engine("multi_processing").run(job)
    assert failure.value.retryable
    assert not (tmp_path / "out").exists()
    assert ThreadEngine().run(job).resumed == 10
    assert jobs.content(tmp_path) == expected("COG")


DYING = """
import os, pathlib, pickle, sys
from airflow_ee.engines import beam_pipeline
pieces = pickle.loads(pathlib.Path(sys.argv[1], "task").read_bytes()).pieces
beam_pipeline._count = lambda report: None
beam_pipeline._do(next(iter(pieces.units.items())), job=pieces.job, processes=1, folder=pieces.folder)
os._exit(70)
"""


def command(*arguments):
    return [sys.executable, launchers.BEAM_JOB, "--runner=DirectRunner", "--labels=airflow-version=v3-3-2", *arguments]


def test_a_launcher_runs_a_job_file_with_what_airflow_adds(server, tmp_path, expected):
    file = tmp_path / "job.json"
    file.write_text(made.raster_job(server.url, tmp_path / "made", "COG").text)
    arguments = command(f"--job={file}", "--direct_running_mode=multi_threading", "--batch_units=10", "--job_name=ours")
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tiles"] == 40
    assert "4 of 4 batches are done" in done.stderr
    assert jobs.content(tmp_path / "made") == expected("COG")


def test_what_was_started_ends_with_the_one_that_started_it(tmp_path):
    with Emulator(root=tmp_path / "root", requests_per_second=None) as server:
        server.inject(jobs.METHOD, *["delay=5"] * 40)
        file = tmp_path / "job.json"
        file.write_text(made.raster_job(server.url, tmp_path / "made", "COG").text)
        started = subprocess.Popen(
            command(f"--job={file}", "--direct_running_mode=multi_processing", "--direct_num_workers=1"),
            stderr=subprocess.DEVNULL,
        )
        while not server.requests or not workers():
            assert started.poll() is None
            time.sleep(0.05)
        family = psutil.Process(started.pid).children(recursive=True)
        os.kill(started.pid, signal.SIGKILL)
        started.wait()
        assert len(family) >= 2
        assert psutil.wait_procs(family, timeout=20)[1] == []


def test_workers_far_away_count_what_they_do(tmp_path):
    with Emulator(root=tmp_path / "root", requests_per_second=None) as server:
        ThreadEngine().run(made.raster_job(server.url, tmp_path / "threads", "COG", tiles=8))
        server.inject(jobs.METHOD, "429", "503", "429")
        report = FAR_AWAY.run(made.raster_job(server.url, tmp_path / "beam", "COG", tiles=8))
        assert server.calls.count(jobs.METHOD) == 8 + 8 + 3
    (counted,) = report.batches
    assert (counted.units, counted.retries, counted.refusals) == (8, 3, 2)
    assert counted.bytes_fetched > 8 * 1000
    assert counted.seconds > 0
    assert jobs.content(tmp_path / "beam") == jobs.content(tmp_path / "threads")


def test_a_failure_far_away_comes_back_as_what_it_is(tmp_path):
    with Emulator(root=tmp_path / "root", requests_per_second=None) as server:
        server.inject(jobs.METHOD, "400 The image is too strange.")
        with pytest.raises(InvalidArgument, match=r"rows.*The image is too strange"):
            FAR_AWAY.run(made.raster_job(server.url, tmp_path, "COG", tiles=8))


def test_a_failure_of_another_kind_far_away_is_told_in_words(server, tmp_path, monkeypatch):
    def fail(_):
        raise ValueError("something is odd")

    monkeypatch.setattr("airflow_ee.engines.beam_pipeline.run_batch", fail)
    with pytest.raises(EngineFailed, match=r"Beam: .*ValueError: something is odd"):
        FAR_AWAY.run(made.raster_job(server.url, tmp_path, "COG"))


def test_what_beam_refuses_fails_as_the_engine(server, tmp_path):
    with pytest.raises(EngineFailed, match=r"Beam: ValueError: .*NoSuchRunner"):
        BeamEngine(runner="NoSuchRunner", processes=1).run(made.raster_job(server.url, tmp_path, "COG"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers must be a whole number of at least 1, got 0"),
        ({"processes": "2"}, "processes must be a whole number"),
        ({"batch_units": -1}, "batch_units must be a whole number"),
        ({"runner": ""}, "runner must be the name of a Beam runner"),
        ({"runner": "FlinkRunner"}, "FlinkRunner: how many processes share the quota"),
        ({"pipeline_options": "--streaming"}, "pipeline_options must be names and values, or flags"),
        ({"pipeline_options": ["--runner=FlinkRunner"]}, "give runner="),
        ({"pipeline_options": {"direct_num_workers": -1}}, "direct_num_workers must be a whole number of at least 1, got -1"),
        ({"pipeline_options": {"direct_num_workers": "many"}}, "pipeline_options: argument --direct_num_workers: invalid int"),
        ({"pipeline_options": ["--direct_running_mode=magic"]}, "pipeline_options: argument --direct_running_mode"),
    ],
)  # fmt: skip
def test_a_bad_option_is_refused_before_anything_starts(options, message):
    with pytest.raises(ValueError, match=message):
        BeamEngine(**options)


@pytest.mark.parametrize(
    ("options", "shares"),
    [
        ({}, (1, 1)),
        ({"pipeline_options": {"direct_running_mode": "multi_threading", "direct_num_workers": 3}}, (3, 1)),
        ({"pipeline_options": ["--direct_running_mode=multi_processing", "--direct_num_workers=3"]}, (3, 3)),
        ({"pipeline_options": {"direct_running_mode": "multi_processing", "direct_num_workers": 0}}, (os.cpu_count(),) * 2),
        ({"runner": "DataflowRunner", "pipeline_options": {"max_num_workers": 5, "num_workers": 2}}, (5, 5)),
        ({"runner": "DataflowRunner", "pipeline_options": {"num_workers": 2}}, (2, 2)),
        ({"runner": "FlinkRunner", "processes": 4, "workers": 8}, (8, 4)),
    ],
)  # fmt: skip
def test_every_process_takes_its_share_of_the_quota(server, tmp_path, monkeypatch, options, shares):
    told = {}
    monkeypatch.setattr("airflow_ee.core.job_run.run_job", lambda *_, **arguments: told.update(arguments))
    BeamEngine(**options).run(made.raster_job(server.url, tmp_path, "COG"))
    assert (told["workers"], told["processes"]) == shares


def test_options_reach_beam_as_they_are():
    options = {
        "project": "p",
        "experiments": ["a", "b"],
        "labels": {"x": 1},
        "no_auth": True,
        "streaming": False,
        "zone": None,
    }
    engine = BeamEngine(runner="DataflowRunner", pipeline_options=options, processes=1)
    assert engine.flags == ("--project=p", "--experiments=a", "--experiments=b", '--labels={"x": 1}', "--no_auth")
    assert BeamEngine(pipeline_options=["--a", "b"]).flags == ("--a", "b")


@pytest.mark.parametrize("engine", [BeamEngine, partial(replace, FAR_AWAY)], ids=["local", "far away"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_num_wokers": 3, "jbo_name": "x"}, "Beam has no option jbo_name, max_num_wokers"),
        ({"number_of_worker_harness_threads": "many"}, "Beam refuses a value among them"),
    ],
)
def test_an_option_that_beam_does_not_know_is_refused_and_nothing_asked_for(server, tmp_path, engine, options, message):
    before = server.calls.count(jobs.METHOD)
    with pytest.raises(ValueError, match=message):
        engine(pipeline_options=options).run(made.raster_job(server.url, tmp_path, "COG"))
    assert server.calls.count(jobs.METHOD) == before


def test_options_of_a_job_server_are_left_to_it(server, tmp_path):
    # Nobody listens there, which is found out later than what Beam does not know.
    options = {"job_endpoint": "127.0.0.1:1", "job_server_timeout": 1, "of_the_server": 1}
    engine = BeamEngine(runner="PortableRunner", processes=1, pipeline_options=options)
    with pytest.raises(EngineFailed, match=r"Beam: "):
        engine.submit(made.raster_job(server.url, tmp_path, "COG"))


def test_what_is_submitted_only_waits_for_a_commit(server, tmp_path, expected):
    job = made.raster_job(server.url, tmp_path, "COG")
    assert FAR_AWAY.submit(job).to_json() == {"output_uri": job.output_uri, "units": 40, "job_id": None}
    assert not (tmp_path / "out").exists()
    assert FAR_AWAY.submit(job).units == 0
    with job.client.open() as client:
        job.work.finish(client)
    assert jobs.content(tmp_path) == expected("COG")


def test_nothing_is_submitted_to_a_runner_that_ends_with_the_launcher(server, tmp_path):
    file = tmp_path / "job.json"
    file.write_text(made.raster_job(server.url, tmp_path / "made", "COG").text)
    done = subprocess.run(
        command(f"--job={file}", "--submit_only"), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.endswith(
        "ValueError: DirectRunner ends with the process that starts it: nothing can be submitted to it\n"
    )


@pytest.mark.parametrize("runner", ["DirectRunner", "DataflowRunner"])
def test_a_missing_extra_is_named(server, tmp_path, monkeypatch, runner):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(MissingExtra, match=r"this engine needs apache_beam: install airflow-ee\[beam\]"):
        BeamEngine(runner=runner, processes=1).run(made.raster_job(server.url, tmp_path, "COG"))
    assert not list(tmp_path.iterdir())
