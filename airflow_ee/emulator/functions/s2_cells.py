"""Cells of the S2 grid: the faces of a cube, quartered along a Hilbert curve, seen on the sphere.

The numbering and the quadratic projection are those of Google's S2 Geometry library (http://s2geometry.io/devguide/s2cell_hierarchy).
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import shapely

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.sphere import coordinates_of

_LEVELS = 30
_PLACES = ((0, 1, 3, 2), (0, 2, 3, 1), (3, 2, 0, 1), (3, 1, 0, 2))
"""Of each orientation of the curve, the quarters in the order in which it runs through them: twice the column plus the row."""
_TURNS = (1, 0, 0, 3)
"""How each quarter's own curve is turned."""

_Face = Callable[[float, float], tuple[float, float, float]]
_FACES: tuple[_Face, ...] = (
    lambda u, v: (1, u, v),
    lambda u, v: (-u, 1, v),
    lambda u, v: (-u, -v, 1),
    lambda u, v: (-1, -v, -u),
    lambda u, v: (v, -1, -u),
    lambda u, v: (v, u, -1),
)


@registry.implements("Geometry.s2Cell", "Geometry.fromS2CellId")
def from_cell_id(cell_id: int) -> Geometry:
    """The outline of a cell."""
    return _cell(cell_id & (2**64 - 1))


@registry.implements("Geometry.fromS2CellToken")
def from_cell_token(cell_token: str) -> Geometry:
    """The outline of a cell by its sixteen hexadecimal digits."""
    digits = cell_token.lower().removeprefix("0x")
    if not re.fullmatch("[0-9a-f]{16}", digits):
        raise invalid(f"Geometry.fromS2CellToken: '{cell_token}' is not a token of 16 hexadecimal digits.")
    return _cell(int(digits, 16))


def _cell(number: int) -> Geometry:
    """The face is the first three bits, each quarter two more, and a single 1 ends them."""
    zeros = (number & -number).bit_length() - 1
    face = number >> 61
    if not number or zeros % 2 or zeros > 2 * _LEVELS or face >= len(_FACES):
        raise invalid(f"Geometry: Invalid S2 cell id {number}.")
    level = _LEVELS - zeros // 2
    col, row, orientation = 0, 0, face & 1
    for step in range(level):
        quarter = number >> (59 - 2 * step) & 3
        place = _PLACES[orientation][quarter]
        col, row = 2 * col + (place >> 1), 2 * row + (place & 1)
        orientation ^= _TURNS[quarter]
    west, east, south, north = (_projected(each / 2**level) for each in (col, col + 1, row, row + 1))
    corners = [(west, south), (east, south), (east, north), (west, north)]
    vectors = np.array([_FACES[face](*corner) for corner in corners], dtype=np.float64)
    return Geometry(shapely.Polygon(coordinates_of(vectors)), geodesic=True)


def _projected(share: float) -> float:
    """From the share of a face's side to its cube's coordinate: cells become about equally large."""
    return (4 * share * share - 1) / 3 if share >= 0.5 else (1 - 4 * (1 - share) ** 2) / 3
