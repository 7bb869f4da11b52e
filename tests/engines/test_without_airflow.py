"""Workers need the core and their engine, and no Airflow: their locks are enough for a whole job."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.core import jobs
from tests.engines import made

CHECKOUT = Path(__file__).parents[2]
WORKERS = CHECKOUT / "workers"
LOCKS = ("beam", "dask", "spark")
ALONE = "import airflow_ee.core.job_run, airflow_ee.engines.{engine}; import airflow"


@pytest.mark.parametrize("engine", LOCKS)
def test_a_lock_names_no_host_and_no_airflow_and_pins_with_hashes(engine):
    text = (WORKERS / f"{engine}.lock").read_text()
    assert "://" not in text
    assert "airflow" not in text
    pinned = re.findall(r"^[a-z0-9].*?(?=^[a-z0-9]|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(pinned) > 30
    assert all("==" in item and "--hash=sha256:" in item for item in pinned)


def test_the_lock_of_celerys_workers_has_what_the_tests_ran_with():
    own, tested = (pins(path) for path in (WORKERS / "celery.lock", CHECKOUT / "requirements.lock"))
    assert own <= tested
    assert {"apache-airflow", "apache-airflow-providers-celery", "celery"} <= {name for name, _ in own}
    assert "://" not in (WORKERS / "celery.lock").read_text()


def pins(path):
    return set(re.findall(r"^([a-z0-9._-]+)==(\S+)", path.read_text(), re.MULTILINE))


def test_workers_ask_for_what_the_project_asks_for():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    known = {*project["dependencies"], *(item for extra in project["optional-dependencies"].values() for item in extra)}
    asked = [line for path in WORKERS.glob("*.in") for line in path.read_text().splitlines()]
    # Airflow's provider of Google brings gcsfs where Airflow is.
    assert {line for line in asked if line and not line.startswith(("#", "-r "))} <= {*known, "gcsfs>=2024.6"}
    missing = {item for item in project["dependencies"] if not item.startswith("apache-airflow")} - set(asked)
    assert not missing


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Makes an environment of a lock, once."""
    known = {}
    (uv,) = (Path(sys.prefix)).glob("uv-*")

    def make(engine):
        if engine not in known:
            folder = tmp_path_factory.mktemp(engine) / "environment"
            run(uv, "venv", "--quiet", "--python", sys.executable, folder)
            lock = WORKERS / f"{engine}.lock"
            run(uv, "pip", "sync", "--quiet", "--require-hashes", lock, VIRTUAL_ENV=str(folder))
            known[engine] = folder / "bin" / "python"
        return known[engine]

    return make


def run(*command, check=True, **environment):
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW", "PYSPARK", "PYTHON", "VIRTUAL_ENV"))
    }
    # Not in the checkout, which would be on the path too.
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        cwd="/",
        env={**clean, **environment},
    )
    assert done.returncode == 0 or not check, done.stderr
    return done


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lock", "engine", "options"),
    [
        ("spark", "threads", ()),
        ("spark", "spark", ("--master", "local[2,4]")),
        ("dask", "threads", ()),
        ("dask", "dask", ("--workers", "2")),
        ("beam", "beam", ("--direct_running_mode=multi_threading", "--direct_num_workers=2")),
    ],
)
def test_a_job_runs_where_airflow_is_not(server, tmp_path, expected, environment, lock, engine, options):
    python, source = environment(lock), source_alone(tmp_path)
    alone = run(python, "-c", ALONE.format(engine=engine), check=False, PYTHONPATH=source)
    assert alone.stderr.rstrip().endswith("No module named 'airflow'")
    file = tmp_path / "job.json"
    file.write_text(made.raster_job(server.url, tmp_path / "made", "ZARR").text)
    done = run(python, "-m", f"airflow_ee.engines.{engine}", "--job", file, *options, PYTHONPATH=source)
    assert json.loads(done.stdout)["tiles"] == 40
    assert jobs.content(tmp_path / "made") == expected("ZARR")


def source_alone(folder):
    """A folder with the package and nothing else."""
    folder = folder / "source"
    folder.mkdir()
    (folder / "airflow_ee").symlink_to(CHECKOUT / "airflow_ee", target_is_directory=True)
    return str(folder)
