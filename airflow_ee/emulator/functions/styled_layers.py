"""Pictures as an OGC Styled Layer Descriptor says: colour maps and channels of one RasterSymbolizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.of_numbers import of_numbers
from airflow_ee.emulator.pixels.raster import Node, Pointwise, Raster
from airflow_ee.emulator.pixels.types import type_of_dtype
from airflow_ee.emulator.values.colours import Colour, parse_colour
from airflow_ee.emulator.values.image import Band, Image

Array = NDArray[np.float64]
Element = ElementTree.Element

_FUNCTION = "Image.sldStyle"
_BYTE = type_of_dtype("uint8")
_NAMES = ("vis-red", "vis-green", "vis-blue")
_CHANNELS = ("RedChannel", "GreenChannel", "BlueChannel")
_IGNORED = {"Geometry", "OverlapBehavior", "Name", "Description", "Title", "Abstract"}
_READ = {"Opacity", "ChannelSelection", "ColorMap"}


@of_numbers("Image.sldStyle")
def sld_style(input: Image, sld_xml: str) -> Image:
    """Bands ``vis-red``, ``vis-green`` and ``vis-blue`` of a document, or of a part of one, with one RasterSymbolizer."""
    symbolizer = _symbolizer(sld_xml)
    strange = [_tag(each) for each in symbolizer if _tag(each) not in _IGNORED | _READ]
    if strange:
        raise invalid(f"{_FUNCTION} with the element '{strange[0]}' is not emulated")
    bands = _channels(input, _child(symbolizer, "ChannelSelection"))
    colours = _child(symbolizer, "ColorMap")
    hidden = _number(_text(symbolizer, "Opacity", "1"), "Opacity") == 0
    if colours is not None:
        if len(bands) != 1:
            raise invalid(f"{_FUNCTION}: a ColorMap needs one channel.")
        return _painted(input, bands[0], _ColourMap.of(colours), hidden=hidden)
    shown = bands if len(bands) == 3 else [bands[0]] * 3
    return input.with_bands(_as_byte(band, name, hidden) for band, name in zip(shown, _NAMES, strict=True))


def _symbolizer(text: str) -> Element:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise invalid(f"{_FUNCTION}: document types are not taken.")
    try:
        root = ElementTree.fromstring(text)  # without entities of its own a document cannot grow
    except ElementTree.ParseError as problem:
        raise invalid(f"{_FUNCTION}: Invalid SLD document: {problem}.") from None
    found = [each for each in root.iter() if _tag(each) == "RasterSymbolizer"]
    if len(found) != 1:
        raise invalid(f"{_FUNCTION}: Exactly one RasterSymbolizer is required, got {len(found)}.")
    return found[0]


def _tag(element: Element) -> str:
    """The name without its namespace."""
    return element.tag.rpartition("}")[2]


def _child(element: Element, name: str) -> Element | None:
    return next((each for each in element if _tag(each) == name), None)


def _text(element: Element, name: str, usual: str) -> str:
    found = _child(element, name)
    return usual if found is None else (found.text or "").strip()


def _number(text: str | None, name: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        raise invalid(f"{_FUNCTION}: '{name}' must be a number, got {text!r}.") from None
    if not np.isfinite(value):
        raise invalid(f"{_FUNCTION}: '{name}' must be finite.")
    return value


def _channels(image: Image, selection: Element | None) -> Sequence[Band]:
    """The grey band, or those for red, green and blue."""
    if not image.bands:
        raise invalid(f"{_FUNCTION}: Image has no bands.")
    if selection is None:
        return image.bands[:3] if len(image.bands) >= 3 else image.bands[:1]
    grey = _child(selection, "GrayChannel")
    chosen = [grey] if grey is not None else [_child(selection, name) for name in _CHANNELS]
    if None in chosen:
        raise invalid(f"{_FUNCTION}: ChannelSelection needs a GrayChannel, or all of {', '.join(_CHANNELS)}.")
    return [_source(image, each) for each in chosen if each is not None]


def _source(image: Image, channel: Element) -> Band:
    """A band by its name, or by its number from 1."""
    stretch = _child(channel, "ContrastEnhancement")
    if stretch is not None and len(stretch):
        raise invalid(f"{_FUNCTION} with the element 'ContrastEnhancement' is not emulated")
    name = _text(channel, "SourceChannelName", "")
    if name not in image.names and name.isdecimal() and 1 <= int(name) <= len(image.bands):
        return image.bands[int(name) - 1]
    return image.band(name, function=_FUNCTION)


def _as_byte(band: Band, name: str, hidden: bool) -> Band:
    def change(raster: Raster) -> Raster:
        values = np.clip(np.floor(raster.values.astype(np.float64) + 0.5), 0, 255)
        return Raster(np.nan_to_num(values).astype(np.uint8), raster.mask * np.float32(not hidden))

    return replace(band, name=name, type=_BYTE, node=Pointwise(change, band.node))


@dataclass(frozen=True, slots=True)
class _ColourMap:
    """Colours by value, and how those between are found."""

    kind: str
    quantities: Array
    colours: tuple[Colour, ...]

    @classmethod
    def of(cls, element: Element) -> _ColourMap:
        """From its entries, in ascending order."""
        kind = element.get("type", "ramp")
        if kind not in _KINDS:
            raise invalid(f"{_FUNCTION}: Unknown ColorMap type '{kind}'; use one of {', '.join(_KINDS)}.")
        strange = next((_tag(each) for each in element if _tag(each) != "ColorMapEntry"), None)
        if strange is not None:
            raise invalid(f"{_FUNCTION} with the element '{strange}' is not emulated")
        entries = sorted((_entry(each) for each in element), key=lambda each: each[0])
        if not entries:
            raise invalid(f"{_FUNCTION}: a ColorMap needs at least one ColorMapEntry.")
        return cls(kind, np.array([each[0] for each in entries]), tuple(each[1] for each in entries))

    def layers(self, values: Array) -> Array:
        """Red, green, blue and whether there is a colour, each from 0 to 255 or 1."""
        return _KINDS[self.kind](values, self.quantities, np.array(self.colours))


def _entry(element: Element) -> tuple[float, Colour]:
    opaque = _number(element.get("opacity", "1"), "opacity") != 0
    colour = parse_colour(element.get("color"))
    return _number(element.get("quantity"), "quantity"), colour._replace(opacity=float(opaque))


def _ramp(values: Array, quantities: Array, colours: Array) -> Array:
    """Straight lines between the entries; the ends go on. Each piece shows if the entry at its upper end does."""
    upper = np.clip(np.searchsorted(quantities, values, "left"), 0, len(quantities) - 1)
    channels = [np.interp(values, quantities, colours[:, place]) for place in range(3)]
    return np.stack([*channels, colours[upper, 3]])


def _intervals(values: Array, quantities: Array, colours: Array) -> Array:
    """The colour of the first entry that is not below the value; none above the last."""
    place = np.searchsorted(quantities, values, "left")
    found = colours[np.minimum(place, len(quantities) - 1)].transpose(2, 0, 1).copy()
    found[3] *= place < len(quantities)
    return found


def _values(values: Array, quantities: Array, colours: Array) -> Array:
    """The colours of exactly these values."""
    place = np.minimum(np.searchsorted(quantities, values, "left"), len(quantities) - 1)
    found = colours[place].transpose(2, 0, 1).copy()
    found[3] *= quantities[place] == values
    return found


_KINDS: dict[str, Callable[[Array, Array, Array], Array]] = {"ramp": _ramp, "intervals": _intervals, "values": _values}


def _painted(image: Image, band: Band, colours: _ColourMap, *, hidden: bool) -> Image:
    def paint(raster: Raster) -> Raster:
        layers = colours.layers(np.where(raster.mask > 0, raster.values, 0).astype(np.float64))
        mask = raster.mask * (layers[3] > 0) * np.float32(not hidden)
        return Raster(np.floor(layers[:3] + 0.5).astype(np.uint8), mask)

    whole: Node = Pointwise(paint, band.node)
    return image.with_bands(
        replace(band, name=name, type=_BYTE, node=Pointwise(_Channel(place), whole))
        for place, name in enumerate(_NAMES)
    )


class _Channel:
    def __init__(self, place: int) -> None:
        self._place = place

    def __call__(self, layers: Raster) -> Raster:
        return Raster(layers.values[self._place], layers.mask)
