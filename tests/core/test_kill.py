"""Jobs that are killed at any moment go on from there, ask only for what was under way, and end with the same bytes.

``make test-slow`` kills at 30 moments for each form; a plain run at 3, each of another form.
"""

import functools
import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest
import requests

from airflow_ee.emulator import Emulator
from tests.core import jobs

MOMENTS = int(os.environ.get("AIRFLOW_EE_KILLS", "3"))
TILES = 200
FORMS = ("GEO_TIFF", "ZARR", "TF_RECORD", "NPY", "NPZ", jobs.PATCHES)
REPOSITORY = Path(__file__).resolve().parents[2]
COMMIT_SECONDS = 0.2
"""About as long as the whole is put together after the last answer, and a little more."""
SHARDS = 20


class Server:
    """An emulator, and what jobs leave that nobody killed."""

    def __init__(self, emulator, folder):
        self.url, self._emulator, self._folder = emulator.url, emulator, folder

    @property
    def calls(self):
        return len(self._emulator.calls)

    def forget_calls(self):
        """Only so many are remembered."""
        requests.delete(f"{self.url}/emulator/state", timeout=10).raise_for_status()

    @functools.cache  # noqa: B019 - as long as the module's tests run
    def undisturbed(self, form):
        jobs.run(self.url, self._folder / form, form, TILES)
        return jobs.content(self._folder / form)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    with Emulator(root=folder / "root", requests_per_second=None) as emulator:
        yield Server(emulator, folder)


def begun(server, folder, form):
    """A process that is at work."""
    command = [sys.executable, "-m", "tests.core.jobs", server.url, str(folder), form, str(TILES)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n", process.communicate()[1][-2000:]
    return process


def killed(server, folder, form, *, after, seconds):
    """Kill a job so long after it has made so many requests; tells whether it was still alive, and how many it made."""
    server.forget_calls()
    process = begun(server, folder, form)
    while server.calls < after and process.poll() is None:
        time.sleep(0.001)
    time.sleep(seconds)
    alive = process.poll() is None
    process.kill()
    process.communicate()
    return alive, server.calls


def recorded(manifest):
    """Shards of patches that are told to be there."""
    return max(0, len(manifest.read_text().splitlines()) - 1) if manifest.is_file() else 0


def finished(server, folder, form):
    """Run the job to its end; gives the number of requests that it still had to make."""
    before = server.calls
    process = begun(server, folder, form)
    error = process.communicate(timeout=120)[1]
    assert process.returncode == 0, error[-2000:]
    return server.calls - before


def moment(form, number):
    """A random moment: between the requests, or after the last."""
    random = Random(f"{form} {number}")
    share = random.uniform(0.0, 1.15)
    if share < 1:
        return {"after": int(share * TILES), "seconds": random.uniform(0, 0.02)}
    return {"after": TILES, "seconds": random.uniform(0, COMMIT_SECONDS)}


@pytest.mark.parametrize(
    ("form", "number"), [(FORMS[each % len(FORMS)], each // len(FORMS)) for each in range(MOMENTS)]
)
def test_a_killed_job_goes_on_where_it_was(server, tmp_path, form, number):
    when = moment(form, number)
    alive, asked = killed(server, tmp_path, form, **when)
    assert alive or when["after"] == TILES
    missing = SHARDS - recorded(tmp_path / "out" / "manifest.jsonl")
    again = finished(server, tmp_path, form)
    if form == jobs.PATCHES:
        # Shards are kept when they are whole, and answers wait for their turn.
        assert again == missing * TILES // SHARDS
    else:
        assert asked + again - TILES <= jobs.CONCURRENCY
    assert jobs.content(tmp_path) == server.undisturbed(form)
    assert left(tmp_path) == set()


@pytest.mark.parametrize("form", FORMS if len(FORMS) < MOMENTS else FORMS[:1])
def test_a_job_that_is_killed_over_and_over_comes_to_its_end(server, tmp_path, form):
    random, alive, kills = Random(form), True, 0
    while alive and kills < 20:
        alive, _ = killed(server, tmp_path, form, after=random.randrange(30, 60), seconds=0)
        kills += alive
    finished(server, tmp_path, form)
    assert kills >= 3
    assert jobs.content(tmp_path) == server.undisturbed(form)
    assert left(tmp_path) == set()


def left(folder):
    """What should not have been left: hidden files and parts."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.name.startswith(".") or ".part" in path.name
    }
