"""Simulated border tables: USDOS/LSIB_SIMPLE/2017, FAO/GAUL/2015/level0 to level2 and TIGER/2018/Counties.

Columns and their types are those of the catalogue's pages on
`LSIB <https://developers.google.com/earth-engine/datasets/catalog/USDOS_LSIB_SIMPLE_2017>`_,
`GAUL <https://developers.google.com/earth-engine/datasets/catalog/FAO_GAUL_2015_level2>`_ and
`counties <https://developers.google.com/earth-engine/datasets/catalog/TIGER_2018_Counties>`_. Outlines of countries are those of
Natural Earth 1:110m (public domain), simplified to a twentieth and rounded to a hundredth of a degree; codes and names are those
of github.com/datasets/country-codes (public domain). What is below a country or a state is made up: pieces of its outline.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from airflow_ee.emulator.catalog import states
from airflow_ee.emulator.catalog.simulated_tables import SimulatedTable
from airflow_ee.emulator.values.element import Feature
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.measures import area

COUNTRIES = "USDOS/LSIB_SIMPLE/2017"
LEVELS = ("FAO/GAUL/2015/level0", "FAO/GAUL/2015/level1", "FAO/GAUL/2015/level2")
COUNTIES = "TIGER/2018/Counties"
_OUTLINES = "Made by the emulator: outlines of Natural Earth 1:110m, not the borders of the real table."
_PIECES = "Made by the emulator: no real units, but pieces of the outlines above them."


@dataclass(frozen=True, slots=True)
class _Country:
    iso: str
    fips: str
    gaul: int
    name: str
    region: str
    un_name: str
    shape: BaseGeometry


@lru_cache(maxsize=1)
def _countries() -> tuple[_Country, ...]:
    text = Path(__file__).with_name("countries.json").read_text("utf-8")
    rows: list[tuple[str, str, int, str, str, str, Any]] = json.loads(text)
    return tuple(_Country(*row[:6], _shape(row[6])) for row in rows)


def _shape(polygons: Sequence[Sequence[Sequence[Sequence[int]]]]) -> BaseGeometry:
    """Polygons of rings of corners, in hundredths of degrees."""
    rings = ([[(x / 100, y / 100) for x, y in ring] for ring in polygon] for polygon in polygons)
    made = [shapely.Polygon(outer, holes) for outer, *holes in rings]
    return made[0] if len(made) == 1 else shapely.MultiPolygon(made)


def tables() -> list[SimulatedTable]:
    """The tables; features are made on first use."""
    return [
        SimulatedTable(COUNTRIES, _lsib, _OUTLINES),
        SimulatedTable(LEVELS[0], lambda: _gaul(0), _OUTLINES),
        SimulatedTable(LEVELS[1], lambda: _gaul(1), _PIECES),
        SimulatedTable(LEVELS[2], lambda: _gaul(2), _PIECES),
        SimulatedTable(COUNTIES, _counties, _PIECES),
    ]


def _features(rows: Iterator[tuple[BaseGeometry, Mapping[str, Any]]]) -> list[Feature]:
    return [
        Feature(Geometry(shape), dict(sorted(properties.items())), f"{number:020x}")
        for number, (shape, properties) in enumerate(rows)
    ]


def _lsib() -> list[Feature]:
    return _features(
        (
            country.shape,
            {
                "abbreviati": country.iso,
                "country_co": country.fips,
                "country_na": country.name,
                "wld_rgn": country.region,
            },
        )
        for country in _countries()
    )


def _gaul(level: int) -> list[Feature]:
    return _features(row for country in _countries() for row in _units(country, level))


def _units(country: _Country, level: int) -> Iterator[tuple[BaseGeometry, Mapping[str, Any]]]:
    """A country, its quarters, or the quarters of these."""
    shared = {"ADM0_CODE": country.gaul, "ADM0_NAME": country.un_name, "DISP_AREA": "NO", "STATUS": "Member State"}
    if level == 0:
        yield country.shape, shared | _measured(country.shape, 0)
        return
    for first, upper in enumerate(quarters(country.shape), start=1):
        code = country.gaul * 100 + first
        named = {**shared, "ADM1_CODE": code, "ADM1_NAME": f"Simulated {first} of {country.un_name}"}
        if level == 1:
            yield upper, named | _measured(upper, 1)
            continue
        for second, lower in enumerate(quarters(upper), start=1):
            name = f"Simulated {first}.{second} of {country.un_name}"
            yield lower, {**named, "ADM2_CODE": code * 100 + second, "ADM2_NAME": name, **_measured(lower, 2)}


def _measured(shape: BaseGeometry, level: int) -> dict[str, Any]:
    """Area and length in degrees, and the years between which a unit is: GAUL writes 1000 and 3000 for always."""
    return {
        "Shape_Area": shape.area,
        "Shape_Leng": shape.length,
        f"STR{level}_YEAR": 1000,
        f"EXP{level}_YEAR": 3000,
    }


def quarters(shape: BaseGeometry) -> list[BaseGeometry]:
    """The pieces of a shape in the four quarters of its box that have any of it, from the south-west on."""
    west, south, east, north = shape.bounds
    x, y = (west + east) / 2, (south + north) / 2
    boxes = ((west, south, x, y), (x, south, east, y), (west, y, x, north), (x, y, east, north))
    found = (_polygons(shape.intersection(shapely.box(*bounds))) for bounds in boxes)
    return [piece for piece in found if not piece.is_empty]


def _polygons(shape: BaseGeometry) -> BaseGeometry:
    """What has an area: where a shape touches a box, lines and points are left as well."""
    kept = [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon" and part.area > 0]
    return kept[0] if len(kept) == 1 else shapely.MultiPolygon(kept)


def _counties() -> list[Feature]:
    return _features(row for state in states.table().features() for row in _counties_of(state))


def _counties_of(state: Feature) -> Iterator[tuple[BaseGeometry, Mapping[str, Any]]]:
    """Sixteenths of a state's box; counties have odd numbers."""
    assert state.geometry is not None  # every state has an outline
    code = state.properties["STATEFP"]
    pieces = (piece for quarter in quarters(state.geometry.shape) for piece in quarters(quarter))
    for number, piece in enumerate(pieces):
        county = f"{2 * number + 1:03d}"
        inside = piece.representative_point()
        yield (
            piece,
            {
                "ALAND": round(area(Geometry(piece))),
                "AWATER": 0,
                "CBSAFP": "",
                "CLASSFP": "H1",
                "COUNTYFP": county,
                "COUNTYNS": f"{int(code) * 1000 + number:08d}",
                "CSAFP": "",
                "FUNCSTAT": "A",
                "GEOID": code + county,
                "INTPTLAT": f"{inside.y:+.7f}",
                "INTPTLON": f"{inside.x:+012.7f}",
                "LSAD": "06",
                "METDIVFP": "",
                "MTFCC": "G4020",
                "NAME": f"Simulated {county}",
                "NAMELSAD": f"Simulated {county} County",
                "STATEFP": code,
            },
        )
