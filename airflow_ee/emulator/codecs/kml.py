"""KML: placemarks with named data, in longitude and latitude."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from shapely.geometry.base import BaseGeometry

_NAMESPACE = "http://www.opengis.net/kml/2.2"
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def document(name: str, placemarks: Iterable[tuple[str, Mapping[str, str], BaseGeometry | None]]) -> Iterator[str]:
    """The lines of a document; a placemark is its id, its data and its shape."""
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f'<kml xmlns="{_NAMESPACE}"><Document id={quoteattr(name)}><name>{escape(name)}</name>'
    for identity, data, shape in placemarks:
        named = "".join(
            f"<Data name={quoteattr(key)}><value>{escape(value)}</value></Data>" for key, value in data.items()
        )
        extended = f"<ExtendedData>{named}</ExtendedData>" if named else ""
        drawn = _shape(shape) if shape is not None and not shape.is_empty else ""
        yield f"<Placemark id={quoteattr(identity)}><name>{escape(identity)}</name>{extended}{drawn}</Placemark>"
    yield "</Document></kml>"


def _shape(shape: Any) -> str:
    kind = shape.geom_type
    if kind == "Point":
        return f"<Point>{_coordinates(shape.coords)}</Point>"
    if kind in ("LineString", "LinearRing"):
        return f"<{kind}>{_coordinates(shape.coords)}</{kind}>"
    if kind == "Polygon":
        inner = "".join(f"<innerBoundaryIs>{_ring(ring)}</innerBoundaryIs>" for ring in shape.interiors)
        return f"<Polygon><outerBoundaryIs>{_ring(shape.exterior)}</outerBoundaryIs>{inner}</Polygon>"
    return f"<MultiGeometry>{''.join(_shape(part) for part in shape.geoms)}</MultiGeometry>"


def _ring(ring: Any) -> str:
    return f"<LinearRing>{_coordinates(ring.coords)}</LinearRing>"


def _coordinates(points: Sequence[Sequence[float]]) -> str:
    return f"<coordinates>{' '.join(f'{point[0]!r},{point[1]!r}' for point in points)}</coordinates>"


def zipped(document_path: Path, target: Path) -> None:
    """A KMZ file: the document in a ZIP archive, under the name that readers look for."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo("doc.kml", _ZIP_DATE)
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, document_path.read_bytes())
