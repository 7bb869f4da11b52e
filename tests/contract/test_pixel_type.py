"""Pixel types and margins of error."""

import pytest

from airflow_ee.emulator.pixels.types import PixelType


def shown(precision, **limits):
    return {"type": "PixelType", "precision": precision, **limits}


VALUES = [
    (lambda ee: ee.PixelType("int", -5, 5), shown("int", min=-5, max=5)),
    (lambda ee: ee.PixelType("float"), shown("float")),
    (lambda ee: ee.PixelType("double", 0, 1.5, 2), shown("double", min=0, max=1.5, dimensions=2)),
    (lambda ee: ee.PixelType.uint16(), shown("int", min=0, max=65535)),
    (lambda ee: ee.PixelType.int8(), shown("int", min=-128, max=127)),
    (lambda ee: ee.PixelType.double(), shown("double")),
    (lambda ee: ee.PixelType.int16().minValue(), -32768),
    (lambda ee: ee.PixelType.uint32().maxValue(), 4294967295),
    (lambda ee: ee.PixelType.float().maxValue(), "Infinity"),
    (lambda ee: ee.PixelType.double().minValue(), "-Infinity"),
    (lambda ee: ee.PixelType("double", 0, 1, 3).dimensions(), 3),
    (lambda ee: ee.PixelType.int32().precision(), "int"),
    (lambda ee: ee.PixelType.float().precision(), "float"),
    (lambda ee: ee.ErrorMargin(-30), {"type": "ErrorMargin", "unit": "meters", "value": 30}),
    (lambda ee: ee.ErrorMargin(2, "projected"), {"type": "ErrorMargin", "unit": "projected", "value": 2}),
    (lambda ee: ee.ErrorMargin(5e7), {"type": "ErrorMargin", "unit": "infinite"}),
    (lambda ee: ee.ErrorMargin(5, "infinite"), {"type": "ErrorMargin", "unit": "infinite"}),
]
REFUSED = [
    (lambda ee: ee.PixelType("byte", 0, 1), "Unknown precision 'byte'"),
    (lambda ee: ee.PixelType("int", 0), "maxValue"),
    (lambda ee: ee.PixelType("int", 2, 1), "must not be greater"),
    (lambda ee: ee.PixelType("float", dimensions=-1), "dimensions"),
    (lambda ee: ee.ErrorMargin(1, "miles"), "'miles'"),
]


@pytest.mark.parametrize(("expression", "expected"), VALUES)
def test_types_and_margins_are_made_and_shown(evaluate, expression, expected):
    assert evaluate(expression) == expected


@pytest.mark.parametrize(("expression", "words"), REFUSED)
def test_what_is_wrong_is_refused(refusal, expression, words):
    assert words in refusal(expression)


def test_the_rest_form_counts_dimensions():
    assert PixelType("float", dimensions=2).as_json() == {"precision": "FLOAT", "dimensionsCount": 2}
    assert PixelType("int", 0, 9).as_json() == {"precision": "INT", "range": {"max": 9}}
