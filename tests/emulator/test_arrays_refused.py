"""Functions of numbers refuse images of arrays by their own name, before a pixel is computed."""

import pytest

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.session import Session
from tests.emulator.conftest import NOW

ALONE = (
    "CannyEdgeDetector", "Image.zeroCrossing", "Image.derivative", "Image.fastDistanceTransform", "Image.glcmTexture",
    "Image.spectralGradient", "Landsat.simpleCloudScore", "Landsat.TOA", "Landsat.calibratedRadiance",
)  # fmt: skip


@pytest.mark.parametrize("name", ALONE)
def test_an_image_of_arrays_is_refused_by_name(mounted, name):
    session = Session(mounted.catalog, registry, NOW)
    arrays = session.call("Image.toArray", {"image": session.call("Image.constant", {"value": [1, 2]}), "axis": 0})
    first = registry.argument_names(name)[0]
    rest = {"threshold": 1.0, "metric": "sam"}
    known = {key: value for key, value in rest.items() if key in registry.argument_names(name)}
    with pytest.raises(EmulatorError, match=name):
        session.call(name, {first: arrays, **known})
