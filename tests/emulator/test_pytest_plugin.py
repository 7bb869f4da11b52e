"""The fixture for other people's tests, as `docs/emulator.md` shows it: its files are run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
TITLE = "## Test your own Earth Engine pipeline in CI without an account"


@pytest.fixture
def project(tmp_path):
    """The how-to's files in a folder of their own."""
    text = (CHECKOUT / "docs" / "emulator.md").read_text("utf-8")
    section = text[text.index(TITLE) :].split("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    for name, block in zip(("conftest.py", "pipeline.py", "test_pipeline.py"), blocks, strict=True):
        (tmp_path / name).write_text(block)
    return tmp_path


def pytest_in(folder, *options):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    environment = {**os.environ, "PYTHONPATH": f"{CHECKOUT}{os.pathsep}{folder}"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_how_to_works_as_it_is_written(project):
    done = pytest_in(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_the_fixture_is_nobodys_unless_asked_for(tmp_path):
    (tmp_path / "test_it.py").write_text("def test_it(earth_engine):\n    pass\n")
    done = pytest_in(tmp_path)
    assert done.returncode == 1
    assert "fixture 'earth_engine' not found" in done.stdout


def test_the_fixture_works_without_the_official_client(tmp_path):
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["airflow_ee.emulator.pytest_plugin"]\n')
    (tmp_path / "test_it.py").write_text(
        "import sys, urllib.request\n\n"
        "def test_it(earth_engine):\n"
        "    assert 'ee' not in sys.modules\n"
        "    assert urllib.request.urlopen(earth_engine.url + '/healthz').status == 200\n"
    )
    hidden = (
        "import importlib.util as u, sys, pytest\n"
        "found = u.find_spec\n"
        "u.find_spec = lambda name, package=None: None if name == 'ee' else found(name, package)\n"
        "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider']))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-c", hidden]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
