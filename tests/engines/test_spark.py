"""One job on Spark, the same bytes: in a session of its own or of others, when workers and executors die, by spark-submit."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from airflow_ee.core.client_reference import CredentialReference
from airflow_ee.core.errors import EngineFailed, InvalidArgument
from airflow_ee.emulator import Emulator
from airflow_ee.engines import spark
from airflow_ee.engines.launchers import SPARK_JOB
from airflow_ee.engines.options import MissingExtra
from airflow_ee.engines.spark import SparkEngine
from tests.core import jobs
from tests.engines import made

MASTER = "local[2,4]"
QUIET = {"spark.ui.enabled": "false", "spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
FORMS = ("ZARR", "GEO_TIFF", "TF_RECORD", made.PATCHES)

pytestmark = pytest.mark.slow


class TestWithoutASession:
    """These come first: a session of the process serves all that come later."""

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"workers": 0}, "workers must be a whole number of at least 1, got 0"),
            ({"batch_units": True}, "batch_units must be a whole number of at least 1, got True"),
            ({"master": "mesos://host"}, "master must be local[n], yarn, spark://... or k8s://..., got 'mesos://host'"),
            ({"configuration": {"executor.cores": "4"}}, "spark.*, with texts as values, got 'executor.cores': '4'"),
            ({"configuration": {"spark.executor.cores": 4}}, "with texts as values, got 'spark.executor.cores': 4"),
        ],
    )
    def test_options_that_cannot_be_are_refused_by_name(self, options, message):
        with pytest.raises(ValueError, match=r".") as refusal:
            SparkEngine(**options)
        assert message in str(refusal.value)

    def test_without_pyspark_the_extra_is_named(self, server, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "pyspark", None)
        with pytest.raises(MissingExtra, match=r"needs pyspark: install airflow-ee\[spark\]"):
            SparkEngine().run(made.job(server.url, tmp_path, "COG"))

    def test_a_client_of_spark_is_not_taken_for_spark(self, server, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "pyspark", ModuleType("pyspark"))
        with pytest.raises(MissingExtra, match=r"only pyspark-client is installed: install airflow-ee\[spark\]"):
            SparkEngine().run(made.job(server.url, tmp_path, "COG"))

    @pytest.mark.parametrize("variable", ["JAVA_HOME", "PATH"])
    def test_without_java_it_says_what_to_install_and_starts_nothing(self, server, tmp_path, monkeypatch, variable):
        monkeypatch.delenv("JAVA_HOME", raising=False)
        monkeypatch.setenv(variable, str(tmp_path))
        before = len(server.requests)
        with pytest.raises(FileNotFoundError, match=r"install a Java runtime, version 17"):
            SparkEngine().run(made.job(server.url, tmp_path, "COG"))
        assert len(server.requests) == before
        assert not list(tmp_path.iterdir())

    def test_a_session_that_cannot_start_is_the_engines_failure(self, server, tmp_path):
        with pytest.raises(EngineFailed, match=r"(?s)JavaSparkContext.*bind") as failure:
            SparkEngine(configuration={"spark.driver.bindAddress": "203.0.113.1"}).run(
                made.job(server.url, tmp_path, "COG")
            )
        assert "\tat " not in str(failure.value)
        assert failure.value.retryable

    def test_a_session_of_its_own_is_stopped_again(self, server, tmp_path, expected, monkeypatch):
        from pyspark import SparkContext

        monkeypatch.delenv("PYSPARK_PYTHON", raising=False)
        report = SparkEngine(workers=2).run(made.job(server.url, tmp_path, "COG"))
        assert report.to_json()["tiles"] == 40
        assert jobs.content(tmp_path) == expected("COG")
        assert SparkContext._active_spark_context is None


@pytest.fixture(scope="module")
def context():
    """A session of somebody else."""
    from pyspark.sql import SparkSession

    # The workers' Python, as its owner would name it.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master(MASTER).appName("tests")
    for name, value in QUIET.items():
        builder = builder.config(name, value)
    with builder.getOrCreate() as session:
        yield session.sparkContext
    del os.environ["PYSPARK_PYTHON"]


class TestInASession:
    @pytest.mark.parametrize("form", FORMS)
    def test_tasks_leave_the_same_bytes(self, context, server, tmp_path, expected, form):
        report = SparkEngine(batch_units=5).run(made.job(server.url, tmp_path, form))
        assert jobs.content(tmp_path) == expected(form)
        told = report.to_json()
        assert told["tiles"] == (20 if form == made.PATCHES else 40)
        assert told["requests"] >= told["tiles"]
        assert len(report.batches) == (4 if form == made.PATCHES else 8)

    def test_the_session_stays_as_it_was(self, context, server, tmp_path):
        context.setJobGroup("mine", "my own work")
        SparkEngine(master=MASTER).run(made.job(server.url, tmp_path, "COG"))
        assert context.getLocalProperty("spark.jobGroup.id") == "mine"
        assert context.parallelize(range(10), 2).sum() == 45

    def test_what_the_session_cannot_be_any_more_is_refused(self, context, server, tmp_path):
        job = made.job(server.url, tmp_path, "COG")
        with pytest.raises(ValueError, match=r"spark.master 'local\[2,4\]' instead of 'yarn': leave it out"):
            SparkEngine(master="yarn").run(job)
        with pytest.raises(ValueError, match=r"spark.task.cpus None instead of '2'"):
            SparkEngine(configuration={"spark.task.cpus": "2"}).run(job)

    @pytest.mark.parametrize(("form", "requests", "piece"), [("ZARR", 40, 4), (made.PATCHES, 500, 100)])
    def test_a_worker_that_is_killed_costs_its_piece_only(
        self, context, server, tmp_path, expected, form, requests, piece
    ):
        wanted = expected(form)
        before = server.calls.count(jobs.METHOD)
        with Killing(lambda: server.calls.count(jobs.METHOD) >= before + 10, once=True) as killed:
            SparkEngine(batch_units=4).run(made.job(server.url, tmp_path, form))
        assert len(killed) == 1
        assert jobs.content(tmp_path) == wanted
        assert requests <= server.calls.count(jobs.METHOD) - before <= requests + piece

    def test_workers_that_die_too_often_are_the_engines_failure_and_another_run_goes_on(
        self, context, tmp_path, expected
    ):
        target = tmp_path / "made"
        with Emulator(root=tmp_path / "root", requests_per_second=None, latency_seconds=0.5) as own:
            job = made.job(own.url, target, "COG")
            with (
                Killing(lambda: own.calls.count(jobs.METHOD) > 10) as killed,
                pytest.raises(EngineFailed, match="Job aborted due to stage failure"),
            ):
                SparkEngine(batch_units=2).run(job)
            assert len(killed) >= 4
            assert not (target / "out").exists()
            assert SparkEngine().run(job).resumed > 0
        assert jobs.content(target) == expected("COG")

    def test_a_failure_in_a_task_comes_back_as_what_it_is_and_stops_the_others(self, context, tmp_path):
        with Emulator(root=tmp_path / "root", requests_per_second=None) as own:
            own.inject(jobs.METHOD, *["delay=0"] * 3, "400 The image is too strange.", *["delay=1"] * 100)
            job = made.raster_job(own.url, tmp_path, "COG", max_concurrency=1)
            with pytest.raises(InvalidArgument, match=r"rows.*The image is too strange"):
                SparkEngine(batch_units=5).run(job)
            assert not (tmp_path / "out").exists()
            asked = own.calls.count(jobs.METHOD)
            assert asked < 20
            time.sleep(1.5)
            assert own.calls.count(jobs.METHOD) == asked

    def test_a_task_that_cannot_write_tells_why(self, context, server, tmp_path):
        job = made.job(server.url, tmp_path, "ZARR")
        blocked = []

        def block():
            while not (parts := [path for path in tmp_path.iterdir() if path.is_dir()]):
                time.sleep(0.01)
            for path in parts:
                path.rename(tmp_path / "moved")
                path.write_text("no folder any more")
                blocked.append(path)

        watcher = threading.Thread(target=block, daemon=True)
        watcher.start()
        with pytest.raises(OSError, match=r"out") as failure:
            SparkEngine().run(job)
        watcher.join()
        assert blocked
        assert not isinstance(failure.value, EngineFailed)
        assert not (tmp_path / "out").exists()

    def test_pixels_of_other_types_than_announced_are_taken_as_they_are(self, context, server, tmp_path):
        announced = replace(jobs.SOURCE, bands=tuple(replace(band, dtype=jobs.np.dtype("i4")) for band in jobs.BANDS))
        SparkEngine().run(made.raster_job(server.url, tmp_path, "NPY", source=announced))
        loaded = jobs.np.load(tmp_path / "out")
        assert [loaded.dtype[name] for name in ("fine", "coarse")] == [jobs.np.dtype("i2"), jobs.np.dtype("i1")]

    def test_tasks_together_stay_within_the_quota(self, context, tmp_path):
        with Emulator(root=tmp_path / "root", requests_per_second=None, max_concurrent_requests=4) as own:
            own.inject(jobs.METHOD, *["delay=0.1"] * 40)
            job = made.raster_job(own.url, tmp_path, "COG", max_concurrency=None)
            client = replace(job.client, settings=replace(job.client.settings, max_concurrency=4))
            report = SparkEngine().run(replace(job, client=client))
        # Spark keeps a process for each task that runs at once, and uses it again: the two have two requests each.
        assert len(workers()) == 2
        assert report.to_json()["refusals"] == 0


class Killing:
    """Kills Python workers of Spark as soon as a condition holds: one, or each that there is until the end."""

    def __init__(self, condition, *, once=False):
        self._condition, self._once = condition, once
        self._ended, self._killed = threading.Event(), []
        self._thread = threading.Thread(target=self._kill)

    def __enter__(self):
        self._thread.start()
        return self._killed

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _kill(self):
        while not self._ended.wait(0.01):
            if self._condition():
                for worker in workers()[: 1 if self._once else None]:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        worker.kill()
                        self._killed.append(worker.pid)
                if self._once and self._killed:
                    return


def workers():
    """Python processes of Spark's tasks: children of a daemon, which is another such process."""
    daemons = below(psutil.Process().pid, "pyspark.daemon")
    numbers = {process.pid for process in daemons}
    return [process for process in daemons if parent(process) in numbers]


def parent(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.ppid()


def below(number, word):
    """Processes that one has started, and these have started, with a word in their command."""
    found = []
    for process in psutil.Process(number).children(recursive=True):
        try:
            found += [process] if word in " ".join(process.cmdline()) else []
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.mark.parametrize(
    ("properties", "slots"),
    [
        ({"spark.master": "local"}, 1),
        ({"spark.master": "local[3]"}, 3),
        ({"spark.master": "local[*, 4]"}, len(os.sched_getaffinity(0))),
        ({"spark.master": "local[8,4]", "spark.task.cpus": "3"}, 2),
        ({"spark.master": "local-cluster[2,3,1024]"}, 6),
        ({"spark.master": "spark://host:7077", "spark.cores.max": "12"}, 12),
        ({"spark.master": "yarn", "spark.executor.instances": "5", "spark.executor.cores": "4"}, 20),
        (
            {
                "spark.master": "yarn",
                "spark.dynamicAllocation.enabled": "true",
                "spark.executor.instances": "2",
                "spark.dynamicAllocation.maxExecutors": "10",
                "spark.executor.cores": "4",
                "spark.task.cpus": "2",
            },
            20,
        ),
    ],
)
def test_each_task_that_runs_at_once_gets_a_share(properties, slots):
    assert SparkEngine()._count(properties) == slots
    assert SparkEngine(workers=100)._count(properties) == 100
    assert SparkEngine(workers=1)._count(properties) == slots


def test_where_spark_does_not_tell_how_many_run_at_once_it_must_be_told():
    properties = {"spark.master": "yarn", "spark.dynamicAllocation.enabled": "true", "spark.executor.instances": "5"}
    with pytest.raises(ValueError, match="they share the quota: give workers"):
        SparkEngine()._count(properties)
    assert SparkEngine(workers=7)._count(properties) == 7


def test_nothing_of_spark_is_imported_before_it_runs():
    code = "import sys, airflow_ee.engines.spark; print([name for name in sys.modules if name.split('.')[0] in {'pyspark', 'py4j'}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class TestCommand:
    @pytest.fixture
    def start(self):
        """Starts a command, which is gone after the test."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PYSPARK")}
        given = {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
        with contextlib.ExitStack() as started:

            def begin(*command):
                process = subprocess.Popen(
                    command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**clean, **given}
                )
                started.callback(process.communicate)
                started.callback(process.kill)
                return process

            yield begin

    def test_a_job_file_is_run(self, start, server, tmp_path, expected):
        file = tmp_path / "job.json"
        file.write_text(made.raster_job(server.url, tmp_path / "made", "ZARR").text)
        arguments = ("--job", str(file), "--master", MASTER, "--batch-units", "5", "--conf", "spark.app.name=tiles")
        process = start(sys.executable, "-m", "airflow_ee.engines.spark", *arguments)
        told, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        assert json.loads(told)["tiles"] == 40
        assert "Done: " in said
        assert jobs.content(tmp_path / "made") == expected("ZARR")

    def test_spark_submit_runs_it_in_the_session_that_it_configures(self, start, server, tmp_path, expected):
        file = tmp_path / "job.json"
        file.write_text(made.patch_job(server.url, tmp_path / "made").text)
        submit = Path(sys.executable).parent / "spark-submit"
        report = tmp_path / "report.json"
        process = start(submit, "--master", MASTER, SPARK_JOB, "--job", str(file), "--report", str(report))
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        assert json.loads(report.read_text())["tiles"] == 20
        assert jobs.content(tmp_path / "made") == expected(made.PATCHES)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--job", "no-such-file.json"), "FileNotFoundError: "),
            (("--job", "held.json"), "ValueError: this job's credentials are in an Airflow connection"),
            (("--job", "held.json", "--batch-units", "0"), "ValueError: batch_units must be a whole number"),
            (("--job", "held.json", "--no-such-option"), "unrecognized arguments: --no-such-option"),
        ],
    )
    def test_what_is_wrong_is_told_before_a_session_starts(self, start, server, tmp_path, arguments, message):
        job = made.raster_job(server.url, tmp_path / "made", "COG")
        held = replace(job, client=replace(job.client, credentials=CredentialReference(kind="connection")))
        (tmp_path / "held.json").write_text(held.text)
        arguments = (arguments[0], str(tmp_path / arguments[1]), *arguments[2:])
        process = start(Path(sys.executable).parent / "spark-submit", "--master", MASTER, SPARK_JOB, *arguments)
        # Spark puts what the program says on its own output.
        said = "".join(process.communicate(timeout=120))
        assert process.returncode != 0
        assert message in said
        assert "Running Spark version" not in said

    def test_an_executor_that_is_lost_takes_its_partitions_with_it_and_they_run_again(self, start, tmp_path, expected):
        with Emulator(root=tmp_path / "root", requests_per_second=None, latency_seconds=0.1) as own:
            file = tmp_path / "job.json"
            file.write_text(made.raster_job(own.url, tmp_path / "made", "COG", max_concurrency=1).text)
            arguments = ("--job", str(file), "--master", "local-cluster[2,1,512]", "--batch-units", "4")
            memory = ("--conf", "spark.executor.memory=512m")
            process = start(sys.executable, "-m", "airflow_ee.engines.spark", *arguments, *memory)
            while own.calls.count(jobs.METHOD) < 12 and process.poll() is None:
                time.sleep(0.05)
            victim = below(process.pid, "CoarseGrainedExecutorBackend")[0]
            victim.send_signal(signal.SIGKILL)
            told, said = process.communicate(timeout=120)
            assert process.returncode == 0, said
            assert "ExecutorLostFailure" in said
            assert own.calls.count(jobs.METHOD) <= 40 + 2 * 4
        assert json.loads(told)["tiles"] == 40
        assert jobs.content(tmp_path / "made") == expected("COG")

    def test_spark_itself_killed_is_the_engines_failure(self, start, tmp_path):
        with Emulator(root=tmp_path / "root", requests_per_second=None, latency_seconds=0.2) as own:
            file = tmp_path / "job.json"
            file.write_text(made.raster_job(own.url, tmp_path / "made", "COG").text)
            process = start(sys.executable, "-m", "airflow_ee.engines.spark", "--job", str(file), "--workers", "2")
            while own.calls.count(jobs.METHOD) < 5 and process.poll() is None:
                time.sleep(0.05)
            below(process.pid, "SparkSubmit")[0].kill()
            _, said = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "\nEngineFailed: " in said
        assert not (tmp_path / "made" / "out").exists()

    def test_a_failure_is_told_in_the_last_line(self, tmp_path, capsys):
        file = tmp_path / "job.json"
        file.write_text("{}")
        assert spark.run_command(["--job", str(file)]) == 1
        assert capsys.readouterr().err.endswith("ValueError: this is no job file: 'version' is missing\n")
