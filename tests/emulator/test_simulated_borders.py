"""Border tables: columns of the real ones, codes that people filter by, outlines where the countries are."""

import pytest
import shapely

from airflow_ee.emulator.catalog import borders

from .test_official_client import initialised

COLUMNS = {
    borders.COUNTRIES: "abbreviati country_co country_na wld_rgn",
    borders.LEVELS[0]: "ADM0_CODE ADM0_NAME DISP_AREA EXP0_YEAR STATUS STR0_YEAR Shape_Area Shape_Leng",
    borders.LEVELS[
        1
    ]: "ADM0_CODE ADM0_NAME ADM1_CODE ADM1_NAME DISP_AREA EXP1_YEAR STATUS STR1_YEAR Shape_Area Shape_Leng",
    borders.LEVELS[
        2
    ]: "ADM0_CODE ADM0_NAME ADM1_CODE ADM1_NAME ADM2_CODE ADM2_NAME DISP_AREA EXP2_YEAR STATUS STR2_YEAR "
    "Shape_Area Shape_Leng",
    borders.COUNTIES: "ALAND AWATER CBSAFP CLASSFP COUNTYFP COUNTYNS CSAFP FUNCSTAT GEOID INTPTLAT INTPTLON LSAD METDIVFP "
    "MTFCC NAME NAMELSAD STATEFP",
}
TABLES = {table.id: table for table in borders.tables()}
KEYS = {
    borders.COUNTRIES: "country_na",
    **dict(zip(borders.LEVELS, ("ADM0_CODE", "ADM1_CODE", "ADM2_CODE"), strict=True)),
}
KEYS[borders.COUNTIES] = "GEOID"


@pytest.mark.parametrize("identity", COLUMNS)
def test_columns_are_those_of_the_catalogue_and_rows_are_whole(identity):
    features = TABLES[identity].features()
    assert {" ".join(sorted(set(each.properties) - {"system:index"})) for each in features} == {COLUMNS[identity]}
    assert len({each.properties[KEYS[identity]] for each in features}) == len(features)
    assert len({each.id for each in features}) == len(features)
    for each in features:
        assert each.geometry.shape.is_valid
        assert each.geometry.shape.area > 0
    assert "Made by the emulator" in TABLES[identity].properties["description"]


@pytest.mark.parametrize(
    ("code", "name", "region", "place"),
    [
        ("BR", "Brazil", "South America", (-55.5, -12.0)),
        ("GM", "Germany", "Europe", (11.5, 48.1)),
        ("US", "United States", "North America", (-100.0, 40.0)),
        ("GH", "Ghana", "Africa", (-1.6, 6.7)),
        ("VM", "Vietnam", "SE Asia", (106.0, 20.8)),
        ("NO", "Norway", "Europe", (9.0, 61.0)),
        ("AS", "Australia", "Australia", (134.0, -24.0)),
    ],
)
def test_a_country_is_where_it_is(code, name, region, place):
    (found,) = [each for each in TABLES[borders.COUNTRIES].features() if each.properties["country_co"] == code]
    assert (found.properties["country_na"], found.properties["wld_rgn"]) == (name, region)
    assert found.geometry.shape.contains(shapely.Point(place))


def test_lower_levels_fill_the_upper_ones():
    whole, upper, lower = (TABLES[level].features() for level in borders.LEVELS)
    assert len(whole) < len(upper) < len(lower)
    for country in whole:
        code = country.properties["ADM0_CODE"]
        for level in (upper, lower):
            parts = [each.geometry.shape for each in level if each.properties["ADM0_CODE"] == code]
            assert sum(part.area for part in parts) == pytest.approx(country.geometry.shape.area, rel=1e-9)
    assert all(each.properties["ADM1_NAME"].startswith("Simulated ") for each in upper)


def test_googles_client_filters_a_country_and_clips_by_it(simulated):
    ee = initialised(simulated.url)
    brazil = ee.FeatureCollection("USDOS/LSIB_SIMPLE/2017").filter(ee.Filter.eq("country_na", "Brazil"))
    assert brazil.size().getInfo() == 1
    assert brazil.geometry().area().getInfo() == pytest.approx(8.5e12, rel=0.02)
    image = ee.Image("MODIS/061/MOD13A1/2020_06_09").select("NDVI").clipToCollection(brazil)
    box = ee.Geometry.Rectangle([-55.6, -12.1, -55.5, -12.0])
    assert image.reduceRegion(ee.Reducer.mean(), box, 500).getInfo()["NDVI"] > 1000
    at_sea = ee.Geometry.Rectangle([-30.0, -12.1, -29.9, -12.0])
    assert image.reduceRegion(ee.Reducer.mean(), at_sea, 500).getInfo()["NDVI"] is None
    state = ee.FeatureCollection("TIGER/2018/States").filter(ee.Filter.eq("NAME", "Colorado")).first()
    counties = ee.FeatureCollection("TIGER/2018/Counties").filter(ee.Filter.eq("STATEFP", state.get("STATEFP")))
    assert counties.size().getInfo() == 16
    assert counties.first().get("GEOID").getInfo() == "08001"
