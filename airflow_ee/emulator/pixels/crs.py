"""Coordinate reference systems by the codes that Earth Engine uses, including some that PROJ does not know."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyproj
import pyproj.exceptions
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid

Coordinates = NDArray[np.float64]

METRES_PER_DEGREE = 6378137.0 * (np.pi / 180.0)
"""Earth Engine measures a degree on the WGS 84 equator: 111319.49 m."""

SINUSOIDAL_RADIUS = 6371007.181
_SINUSOIDAL_WKT = (
    # Names that GDAL does not know: under known ones it would put the known ellipsoid in place of the sphere.
    'PROJCS["MODIS Sinusoidal",GEOGCS["MODIS sphere",DATUM["MODIS_sphere",SPHEROID["MODIS sphere",6371007.181,0]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Sinusoidal"],'
    'PARAMETER["longitude_of_center",0],PARAMETER["false_easting",0],PARAMETER["false_northing",0],'
    'UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
)
_UNKNOWN_TO_PROJ = {"SR-ORG:6974": _SINUSOIDAL_WKT, "SR-ORG:6842": _SINUSOIDAL_WKT}
_OTHER_NAMES = {"SR-ORG:6627": "EPSG:3857"}
"""The official client asks for web Mercator by its old code in videos."""


@dataclass(frozen=True, slots=True)
class Crs:
    """A coordinate reference system: a code such as ``EPSG:4326``, or WKT where no code is known.

    >>> Crs("SR-ORG:6974").is_geographic, Crs("EPSG:4326").metres_per_unit
    (False, 111319.49079327357)
    """

    text: str

    @property
    def is_code(self) -> bool:
        """Whether ``text`` is an authority code rather than WKT."""
        return re.fullmatch(r"[A-Za-z-]+:\w+", self.text) is not None

    @property
    def is_geographic(self) -> bool:
        """Whether coordinates are degrees."""
        return bool(proj_crs(self.text).is_geographic)

    @property
    def metres_per_unit(self) -> float:
        """Length of one unit of the coordinates, in metres."""
        if self.is_geographic:
            return float(METRES_PER_DEGREE)
        return float(proj_crs(self.text).axis_info[0].unit_conversion_factor)

    @property
    def wkt(self) -> str:
        """WKT that any library understands."""
        return _UNKNOWN_TO_PROJ.get(self.text) or str(proj_crs(self.text).to_wkt("WKT1_GDAL"))

    def as_json(self) -> dict[str, str]:
        """The field of a REST pixel grid that names this system."""
        return {"crsCode" if self.is_code else "crsWkt": self.text}


WGS84 = Crs("EPSG:4326")
SINUSOIDAL = Crs("SR-ORG:6974")


@lru_cache(maxsize=256)
def proj_crs(text: str) -> Any:
    """The pyproj object for a code or WKT."""
    try:
        return pyproj.CRS.from_user_input(_UNKNOWN_TO_PROJ.get(text) or _OTHER_NAMES.get(text, text))
    except pyproj.exceptions.CRSError:
        raise invalid(f"The CRS of a map projection could not be parsed: '{text[:80]}'.") from None


def parse_crs(text: str) -> Crs:
    """A validated system from what a request names."""
    known = proj_crs(text)
    if Crs(text).is_code:
        return Crs(text.upper())
    # WKT that names its own code is that code.
    named = known.to_json_dict().get("id")
    return Crs(f"{named['authority']}:{named['code']}" if named and _is_known(named) else text)


def _is_known(named: dict[str, Any]) -> bool:
    return named["authority"] == "EPSG" and str(named["code"]).isdigit()


def identify(wkt: str) -> Crs:
    """The code of a file's system where one is certain, its WKT otherwise.

    The MODIS sinusoidal has no EPSG code: it is recognised by its sphere.
    """
    crs = proj_crs(wkt)
    if _is_modis_sinusoidal(crs):
        return SINUSOIDAL
    code = crs.to_epsg()
    return Crs(f"EPSG:{code}" if code else wkt)


def _is_modis_sinusoidal(crs: Any) -> bool:
    operation, ellipsoid = crs.coordinate_operation, crs.ellipsoid
    if operation is None or ellipsoid is None or "sinusoidal" not in operation.method_name.lower():
        return False
    spherical = abs(ellipsoid.semi_major_metre - SINUSOIDAL_RADIUS) < 1e-3 and ellipsoid.inverse_flattening == 0
    return spherical and not any(parameter.value for parameter in operation.params)


@lru_cache(maxsize=512)
def _transformer(source: str, target: str) -> Any:
    return pyproj.Transformer.from_crs(proj_crs(source), proj_crs(target), always_xy=True)


def convert(source: Crs, target: Crs, x: Coordinates, y: Coordinates) -> tuple[Coordinates, Coordinates]:
    """Coordinates in another system; what cannot be converted becomes infinite."""
    if source == target:
        return x, y
    if SINUSOIDAL in (source, target) and WGS84 in (source, target):
        # The closed form on the sphere: Earth Engine and MODIS take the latitude as it is, without a datum shift.
        return _from_sinusoidal(x, y) if source == SINUSOIDAL else _to_sinusoidal(x, y)
    new_x, new_y = _transformer(source.text, target.text).transform(x, y)
    return np.asarray(new_x, dtype=np.float64), np.asarray(new_y, dtype=np.float64)


def _from_sinusoidal(x: Coordinates, y: Coordinates) -> tuple[Coordinates, Coordinates]:
    latitude = y / SINUSOIDAL_RADIUS
    with np.errstate(divide="ignore", invalid="ignore"):
        longitude = np.degrees(x / (SINUSOIDAL_RADIUS * np.cos(latitude)))
    inside = (np.abs(longitude) <= 180.0 + 1e-9) & (np.abs(latitude) <= np.pi / 2)
    return np.where(inside, longitude, np.inf), np.where(inside, np.degrees(latitude), np.inf)


def _to_sinusoidal(x: Coordinates, y: Coordinates) -> tuple[Coordinates, Coordinates]:
    latitude = np.radians(y)
    return SINUSOIDAL_RADIUS * np.radians(x) * np.cos(latitude), SINUSOIDAL_RADIUS * latitude
