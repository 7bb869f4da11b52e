"""The table of sensors: complete, consistent, and with indices whose numbers are right."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_ee.core.indices import FORMULAS, Index
from airflow_ee.core.presets import PRESETS, composite_end, find_preset, modis_composite_end
from airflow_ee.core.quality import QualityRule
from airflow_ee.core.quality_names import COMPANIONS

SENSORS = ["MOD13Q1", "MYD13Q1", "MOD13A1", "VNP13A1", "S2_SR_HARMONIZED", "LC08", "LC09"]


def test_the_table_has_the_sensors_that_users_ask_for():
    assert list(PRESETS) == SENSORS
    assert all("NDVI" in preset.indices and "EVI" in preset.indices for preset in PRESETS.values())


@pytest.mark.parametrize("name", SENSORS)
def test_a_preset_is_found_by_name_and_by_collection(name):
    preset = PRESETS[name]
    assert find_preset(name) is find_preset(name.lower()) is find_preset(preset.collection) is preset


@pytest.mark.parametrize("name", SENSORS)
def test_a_preset_knows_all_bands_that_it_names(name):
    preset = PRESETS[name]
    for index in preset.indices.values():
        assert set(index.bands) <= set(preset.bands)
    needed = QualityRule.parse(preset.quality).bands
    assert set(needed) <= {*preset.bands, *COMPANIONS, "QA_PIXEL", "QA_RADSAT"}
    assert preset.day_of_year_band is None or preset.day_of_year_band in preset.bands
    assert preset.reference.count("https://")
    assert preset.cadence_days > 0
    assert preset.latency_days > 0
    assert preset.native.pixel_metres > 0


def test_what_is_not_in_the_table_has_no_preset():
    assert find_preset("local/x") is None
    with pytest.raises(ValueError, match="index must be one of NDVI, EVI for MODIS/061/MOD13Q1, got 'LAI'"):
        PRESETS["MOD13Q1"].index("LAI")


def test_the_modis_calendar_starts_anew_on_new_years_day():
    start, days = datetime(2007, 1, 1, tzinfo=UTC), []
    while start.year == 2007:
        days.append(start.timetuple().tm_yday)
        start = modis_composite_end(start)
    assert days == list(range(1, 354, 16))
    assert start == datetime(2008, 1, 1, tzinfo=UTC)
    assert modis_composite_end(datetime(2008, 12, 18, tzinfo=UTC)) == datetime(2009, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("year", [2007, 2008])
def test_aquas_calendar_is_eight_days_behind_terras_and_starts_anew_as_well(year):
    start, days = datetime(year, 1, 9, tzinfo=UTC), []
    for _ in range(23):
        days.append(start.timetuple().tm_yday)
        start = PRESETS["MYD13Q1"].image_end(start)
    assert days == list(range(9, 362, 16))
    assert start == datetime(year + 1, 1, 9, tzinfo=UTC)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)), st.sampled_from([1, 9]))
def test_a_composite_is_never_longer_than_16_days(moment, first_day):
    start = moment.replace(tzinfo=UTC)
    assert timedelta(0) < composite_end(start, first_day) - start <= timedelta(days=16)


def test_the_offset_does_not_cancel_in_an_index():
    preset = PRESETS["LC08"]
    index = preset.index("NDVI")
    nir, red = (preset.band(name) for name in index.inputs)
    numbers = np.array([20000], np.uint16), np.array([10000], np.uint16)
    reflectances = tuple(
        values.astype(float) * band.scale + band.offset for values, band in zip(numbers, (nir, red), strict=True)
    )
    values, valid = index.formula.compute(reflectances, np.array([True]))
    assert reflectances[0] == pytest.approx(0.35)
    assert reflectances[1] == pytest.approx(0.075)
    assert values == pytest.approx(0.275 / 0.425)
    assert valid.all()
    assert values[0] != pytest.approx(1 / 3, abs=0.1), "what digital numbers alone would give"


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_formulas_are_those_of_the_literature(first, second, third):
    def compute(name, *reflectances):
        values, valid = FORMULAS[name].compute(tuple(np.array([value]) for value in reflectances), np.array([True]))
        return values[0] if valid[0] else None

    ratio = (first - second) / (first + second) if first + second else None
    for name in ("NDVI", "NDWI", "NDMI", "NBR"):
        assert compute(name, first, second) == (None if ratio is None else pytest.approx(ratio))
    below = first + 6 * second - 7.5 * third + 1
    if below:
        assert compute("EVI", first, second, third) == pytest.approx(2.5 * (first - second) / below)
    assert compute("EVI2", first, second) == pytest.approx(2.5 * (first - second) / (first + 2.4 * second + 1))


def test_negative_reflectance_and_nothing_over_nothing_give_no_index():
    values, valid = FORMULAS["NDVI"].compute((np.array([0.3, -0.01, 0.0]), np.array([0.1, 0.2, 0.0])), np.ones(3, bool))
    assert valid.tolist() == [True, False, False]
    assert np.isfinite(values).all()


def test_an_index_is_either_a_band_or_a_formula():
    with pytest.raises(ValueError, match="either a band or a formula"):
        Index()
    with pytest.raises(ValueError, match="needs as many bands"):
        Index(formula=FORMULAS["NDVI"], inputs=("B8",))


def test_the_page_on_series_names_every_sensor_rule_and_index():
    from pathlib import Path

    from airflow_ee.core.quality_names import NAMED_RULES

    page = (Path(__file__).resolve().parents[2] / "docs" / "series.md").read_text()
    for name in (*PRESETS, *NAMED_RULES, *FORMULAS):
        assert name in page, f"docs/series.md does not name {name}"
    for preset in PRESETS.values():
        assert f"`{preset.quality}`" in page
        assert f"{preset.cadence_days} d" in page
        assert f"{preset.latency_days} d" in page
