"""Imports point one way, public names are what they say, and the core needs no Airflow."""

import ast
import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_ee

ROOT = Path(airflow_ee.__file__).parent
CHECKOUT = ROOT.parent
MAY_USE = {
    "core": {"core"},
    "engines": {"engines", "core"},
    "emulator": {"emulator"},
    "hooks": {"hooks", "core", "get_provider_info"},
    "triggers": {"triggers", "hooks", "core"},
    "operators": {"operators", "triggers", "hooks", "links", "engines", "core"},
    # Sensors are operators to Airflow, and read the same arguments.
    "sensors": {"sensors", "operators", "triggers", "hooks", "links", "core"},
    "links": {"links"},
    "decorators": {"decorators", "operators", "hooks", "core"},
}
NEVER = {
    "core": {"airflow", "ee", "apache_beam", "dask", "pyspark"},
    "engines": {"airflow", "ee"},
    "emulator": {"airflow", "ee"},
    "links": {"ee"},
}
# What the emulator ships for other people's tests, and does not use itself: it hands them Google's client.
FOR_TESTS = {"emulator/pytest_plugin.py": {"ee"}}
INNER = {
    "client_reference": {"client", "settings"},
    "job_values": {
        "expression",
        "image_file",
        "patch_fetch",
        "patch_grids",
        "pixels",
        "points",
        "region",
        "resources",
        "sinks",
    },
    "job": {
        "client",
        "client_reference",
        "errors",
        "estimate",
        "grid",
        "image_file",
        "job_values",
        "patch_grids",
        "patch_plan",
        "patches",
        "pixels",
        "progress",
        "raster",
        "series_work",
        "settings",
        "sinks",
        "wire",
    },
    "job_run": {"client", "errors", "job", "progress"},
    "series_work": {
        "client",
        "errors",
        "estimate",
        "grouping",
        "observations",
        "presets",
        "progress",
        "quality",
        "region",
        "region_file",
        "resources",
        "series",
        "series_cube",
        "series_results",
        "series_rows",
        "sinks",
        "timeseries",
        "wire",
    },
    "errors": set(),
    "client": {
        "batch",
        "asset_methods",
        "wire",
        "transport",
        "quota",
        "retry",
        "settings",
        "errors",
        "expression",
        "grid",
        "region",
        "resources",
    },
    "wire": {"errors", "expression", "grid", "reading", "resources"},
    "batch": {"destination", "expression", "grid", "ingestion", "resources", "wire", "wire_ingestion"},
    "export_options": {"destination", "wire"},
    "wire_assets": {"access", "reading", "wire"},
    "wire_ingestion": {"wire"},
    "ingestion": {"export_options", "object_names", "wire", "wire_assets", "wire_ingestion"},
    "object_names": set(),
    "access": set(),
    "asset_methods": {"access", "errors", "resources", "wire", "wire_assets"},
    "assets": {"client", "errors", "resources", "wire", "wire_assets"},
    "retry": {"errors", "settings"},
    "transport": {"connections", "errors", "quota", "settings", "tokens"},
    "connections": {"settings"},
    "tokens": {"errors"},
    "quota": {"settings"},
    "buffers": {"errors"},
    "crew": {"errors"},
    "progress": set(),
    "plan": {"errors", "grid", "settings"},
    "decode": {"errors", "npy_header"},
    "npy_header": set(),
    "reading": {"errors"},
    "fetch": {"buffers", "client", "crew", "decode", "errors", "plan", "progress"},
    "operations": {"client", "destination", "errors", "resources", "watchdog"},
    "watchdog": {"errors", "resources"},
}
HEAVY = (
    "numpy",
    "rasterio",
    "pyarrow",
    "shapely",
    "pyproj",
    "matplotlib",
    "ee",
    "pandas",
    "airflow.providers.google.common.hooks.base_google",
)
FILES = sorted(path for path in ROOT.glob("*/**/*.py"))


def imported(path):
    """Every module that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module
            if node.module == "airflow_ee":
                yield from (f"airflow_ee.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_inward(path):
    layer = path.relative_to(ROOT).parts[0]
    never = set(NEVER.get(layer, ())) - FOR_TESTS.get(path.relative_to(ROOT).as_posix(), set())
    for name in imported(path):
        package, *rest = name.split(".")
        assert package not in never, f"{layer} must not import {name}"
        if package == "airflow_ee" and rest and rest[0] != "__version__":
            assert rest[0] in MAY_USE[layer], f"{layer} must not import {name}"


@pytest.mark.parametrize("name", sorted(INNER))
def test_the_cores_modules_lean_only_on_those_below(name):
    used = {
        item.split(".")[2] for item in imported(ROOT / "core" / f"{name}.py") if item.startswith("airflow_ee.core.")
    }
    assert used <= INNER[name]


@pytest.mark.parametrize("path", sorted(CHECKOUT.glob("*dags/*.py")), ids=lambda path: path.name)
def test_dags_use_what_users_may_use(path):
    for name in imported(path):
        if name.startswith("airflow_ee."):
            # Triggers too, which users write into watchers of assets, and engines with their launchers.
            assert name.split(".")[1] in {"operators", "sensors", "decorators", "triggers", "engines"}


@pytest.mark.parametrize(
    "name",
    [item.name for item in pkgutil.walk_packages([str(ROOT)], "airflow_ee.") if not item.name.endswith("__main__")],
)
def test_all_names_what_a_module_defines_and_offers(name):
    module = importlib.import_module(name)
    offered = getattr(module, "__all__", None)
    if offered is None:
        return
    assert len(set(offered)) == len(offered)
    for item in offered:
        assert hasattr(module, item), f"{name}.__all__ names {item}, which is not there"
    tree = ast.parse(Path(module.__file__).read_text())
    defined = {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    public = {item for item in defined if not item.startswith("_")}
    if not name.startswith("airflow_ee.emulator"):
        assert public <= set(offered), f"{name} defines {sorted(public - set(offered))} without offering them"


def run(code, *options, **environment):
    clean = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**clean, **environment},
        timeout=120,
    )


BLOCKED = """
import importlib.abc, sys
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
import pkgutil, importlib
import {package}
for item in pkgutil.walk_packages({package}.__path__, "{package}."):
    if not item.name.endswith("__main__"):
        importlib.import_module(item.name)
print("imported")
"""


def test_the_core_imports_without_airflow_and_without_ee():
    result = run(BLOCKED.format(blocked={"airflow", "ee", "apache_beam", "dask", "pyspark"}, package="airflow_ee.core"))
    assert result.stdout.strip() == "imported", result.stderr


def test_the_emulator_imports_without_airflow_and_without_ee():
    result = run(BLOCKED.format(blocked={"airflow", "ee"}, package="airflow_ee.emulator"))
    assert result.stdout.strip() == "imported", result.stderr


def test_parsing_the_dags_loads_nothing_heavy(tmp_path):
    code = f"""
import sys, runpy, warnings
for file in {sorted(str(path) for path in (CHECKOUT / "dags").glob("*.py"))!r}:
    runpy.run_path(file, run_name="dag")
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    result = run(code, AIRFLOW_HOME=str(tmp_path))
    assert result.stdout.strip().splitlines()[-1] == "[]", result.stdout + result.stderr


def test_parsing_the_dags_opens_no_connection(tmp_path):
    code = f"""
import runpy, socket
def refuse(*_):
    raise AssertionError("a DAG file opened a connection while it was parsed")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
for file in {sorted(str(path) for path in (CHECKOUT / "dags").glob("*.py"))!r}:
    runpy.run_path(file, run_name="dag")
print("quiet")
"""
    result = run(code, AIRFLOW_HOME=str(tmp_path))
    assert result.stdout.strip().splitlines()[-1] == "quiet", result.stdout + result.stderr


def test_the_version_is_told_once():
    import tomllib

    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert project["version"] == airflow_ee.__version__
    assert f"## {airflow_ee.__version__}" in (CHECKOUT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("lock", [CHECKOUT / "requirements.lock", *(CHECKOUT / "tests").glob("*/*.lock")])
def test_a_lock_names_no_host_and_pins_with_hashes(lock):
    text = lock.read_text()
    assert "://" not in text
    assert text.count("--hash=sha256:") > 1000
