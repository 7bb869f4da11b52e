"""Filters on properties let through what Earth Engine's own would."""

import pytest

from airflow_ee.core.filters import PropertyFilter, keep_matching, parse_filters

SCENE = {
    "CLOUD_COVER": 12.5,
    "WRS_PATH": 227,
    "SPACECRAFT_ID": "LANDSAT_8",
    "system:index": "LC08_227068",
    "N": "05.09",
}


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("CLOUD_COVER<40", True),
        ("CLOUD_COVER<=12.5", True),
        ("CLOUD_COVER>12.5", False),
        ("WRS_PATH==227", True),
        ("WRS_PATH != 227", False),
        ("SPACECRAFT_ID == LANDSAT_8", True),
        ("SPACECRAFT_ID == 'LANDSAT_9'", False),
        ("system:index == LC08_227068", True),
        ("N == '05.09'", True),
        ("N == 5.09", False),
        ("CLOUD_COVER == '12.5'", False),
        ("MISSING<40", False),
        ("MISSING!=40", False),
    ],
)
def test_a_filter_compares_a_property_with_a_value_of_its_kind(text, passes):
    assert PropertyFilter.parse(text).holds(SCENE) is passes


def test_all_filters_have_to_hold():
    filters = parse_filters(["CLOUD_COVER<40 and WRS_PATH==227", "SPACECRAFT_ID==LANDSAT_8"])
    assert len(filters) == 3
    assert keep_matching(filters, SCENE)
    assert not keep_matching(parse_filters(["CLOUD_COVER<40 and WRS_PATH==1"]), SCENE)
    assert keep_matching((), {})


@pytest.mark.parametrize("text", ["", "cloudy", "<40", "CLOUD_COVER<", "CLOUD_COVER=40", "2x<1"])
def test_what_is_no_filter_is_refused(text):
    with pytest.raises(ValueError, match="filters: each must be a property compared with a value"):
        parse_filters([text])
