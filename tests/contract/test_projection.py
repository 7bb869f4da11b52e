"""Projections: how they are shown, scaled and moved."""

import pyproj
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_ee.emulator.functions import registry

LAMBERT = pyproj.CRS("EPSG:27572").to_wkt("WKT1_GDAL")
OWN = (
    LAMBERT.replace("NTF (Paris) / Lambert zone II", "mine")
    .replace("2200000", "2200123")
    .split(',AUTHORITY["EPSG","27572"]')[0]
    + "]"
)


def shown(crs, *transform):
    return {"type": "Projection", "crs": crs, "transform": list(transform)}


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (lambda ee: ee.Projection("EPSG:3857"), shown("EPSG:3857", 1, 0, 0, 0, 1, 0)),
        (lambda ee: ee.Projection("epsg:4326"), shown("EPSG:4326", 1, 0, 0, 0, 1, 0)),
        (lambda ee: ee.Projection(LAMBERT), shown("EPSG:27572", 1, 0, 0, 0, 1, 0)),
        (lambda ee: ee.Projection("EPSG:32632", [20, 0, 5, 0, -20, 7]), shown("EPSG:32632", 20, 0, 5, 0, -20, 7)),
        (lambda ee: ee.Projection("EPSG:32632").atScale(30), shown("EPSG:32632", 30, 0, 0, 0, 30, 0)),
        (
            lambda ee: ee.Projection("EPSG:32632", [20, 0, 5, 0, -20, 7]).atScale(10),
            shown("EPSG:32632", 10, 0, 5, 0, -10, 7),
        ),
        (
            lambda ee: ee.Projection("EPSG:32632", [20, 0, 5, 0, -20, 7]).scale(2, 3),
            shown("EPSG:32632", 40, 0, 5, 0, -60, 7),
        ),
        (
            lambda ee: ee.Projection("EPSG:32632", [20, 0, 5, 0, -20, 7]).translate(2, 3),
            shown("EPSG:32632", 20, 0, 45, 0, -20, -53),
        ),
        (lambda ee: ee.Projection("EPSG:32632").crs(), "EPSG:32632"),
        (lambda ee: ee.Projection(OWN).crs(), None),
        (lambda ee: ee.Projection("EPSG:32632", [20, 0, 5, 0, -20, 7]).nominalScale(), 20),
        (lambda ee: ee.Projection("EPSG:3857", [2, 0, 0, 0, -8, 0]).nominalScale(), 4),
        (lambda ee: ee.Projection("EPSG:4326").nominalScale(), 111319.49079327357),
        # To the last digit as the tags of exported files and Google's guide to regions have it.
        (
            lambda ee: ee.Projection("EPSG:4326").atScale(30),
            shown("EPSG:4326", 0.00026949458523585647, 0, 0, 0, 0.00026949458523585647, 0),
        ),
        (
            lambda ee: ee.Projection(
                "EPSG:32632",
                None,
                'PARAM_MT["Affine", PARAMETER["num_row", 3], PARAMETER["elt_0_0", 9], PARAMETER["elt_1_2", -4.5]]',
            ),
            shown("EPSG:32632", 9, 0, 0, 0, 1, -4.5),
        ),
    ],
)
def test_values(evaluate, make, value):
    assert evaluate(make) == value


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda ee: ee.Projection("EPSG:0"), "could not be parsed"),
        (lambda ee: ee.Projection("EPSG:4326", [1, 0, 0]), "6 numbers"),
        (lambda ee: ee.Projection("EPSG:4326", [0, 0, 0, 0, 0, 0]), "cannot be inverted"),
        (lambda ee: ee.Projection("EPSG:4326").atScale(0), "greater than zero"),
        (lambda ee: ee.Projection("EPSG:4326", [1, 0, 0, 0, 1, 0], "PARAM_MT[]"), "both"),
    ],
)
def test_what_makes_no_sense_is_refused(refusal, make, words):
    assert words in refusal(make)


terms = st.floats(-1e6, 1e6).map(lambda value: round(value, 6))


@given(st.lists(terms, min_size=6, max_size=6).filter(lambda t: abs(t[0] * t[4] - t[1] * t[3]) > 1e-3))
def test_transforms_are_read_as_they_are_written(transform):
    projection = registry.call("Projection", {"crs": "EPSG:3857", "transform": transform})
    text = registry.call("Projection.transform", {"projection": projection})
    assert registry.call("Projection", {"crs": "EPSG:3857", "transformWkt": text}) == projection
