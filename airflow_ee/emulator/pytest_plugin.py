"""A pytest fixture for other people's tests: an emulator for each test, and Google's client talking to it.

Nothing loads it by itself; a ``conftest.py`` asks for it::

    pytest_plugins = ["airflow_ee.emulator.pytest_plugin"]
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from airflow_ee.emulator.emulator import Emulator

PROJECT = "emulated-project"
"""The project that Google's client is initialised for."""

_QUICK = {"pending_seconds": 0.0, "running_seconds": 0.0, "cancelling_seconds": 0.0}


@pytest.fixture
def earth_engine_options() -> Mapping[str, Any]:
    """Arguments of :class:`~airflow_ee.emulator.Emulator`; define a fixture of this name to give your own."""
    return {}


@pytest.fixture
def earth_engine(earth_engine_options: Mapping[str, Any], tmp_path: Path) -> Iterator[Emulator]:
    """A running emulator of the test's own; ``ee``, if it is installed, is initialised for it.

    Its operations end at once, and what exports leave is under ``earth_engine.root``, a folder of the test.
    """
    with Emulator(**{"root": tmp_path / "earth-engine", **_QUICK, **earth_engine_options}) as running:
        if importlib.util.find_spec("ee") is None:
            yield running
            return
        import ee

        ee.Reset()
        ee.Initialize(credentials=None, project=PROJECT, url=running.url)
        yield running
        ee.Reset()
