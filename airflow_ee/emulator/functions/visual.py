"""Pictures from pixels: value ranges to 0..255, palettes, gamma, opacity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.pixels.raster import Pointwise, Raster
from airflow_ee.emulator.pixels.types import PixelType
from airflow_ee.emulator.values.colours import parse_colour
from airflow_ee.emulator.values.image import Band, Image, check_plain, not_named

_BYTE = PixelType("int", 0, 255)
_RGB = ("vis-red", "vis-green", "vis-blue")


def visualized(
    image: Image,
    *,
    low: Sequence[float],
    high: Sequence[float],
    gamma: Sequence[float],
    palette: Sequence[str] | None = None,
    opacity: float = 1.0,
) -> Image:
    """Three bands of bytes (one for a single band without a palette)."""
    bands = image.bands[:3]
    check_plain(Image(bands), "Image.visualize")
    if palette:
        if len(bands) != 1:
            raise invalid("Image.visualize: Cannot provide a palette when visualizing more than one band.")
        return image.with_bands(_through_palette(bands[0], _at(low, 0), _at(high, 0), palette, opacity))
    if len(bands) == 2:
        raise invalid("Image.visualize: Must have 1 or 3 bands.")
    scaled = [_scaled(band, _at(low, i), _at(high, i), _at(gamma, i), opacity) for i, band in enumerate(bands)]
    if len(scaled) == 1:
        return image.with_bands([replace(scaled[0], name="vis-gray")])
    return image.with_bands(replace(band, name=name) for band, name in zip(scaled, _RGB, strict=True))


def _at(values: Sequence[float], index: int) -> float:
    return values[index] if index < len(values) else values[-1]


def _unit(values: NDArray[Any], low: float, high: float) -> NDArray[np.float64]:
    span = high - low
    scaled = (values.astype(np.float64) - low) / span if span else (values > low).astype(np.float64)
    return np.asarray(np.clip(scaled, 0.0, 1.0))


def _scaled(band: Band, low: float, high: float, gamma: float, opacity: float) -> Band:
    def change(raster: Raster) -> Raster:
        unit = _unit(raster.values, low, high) ** (1.0 / gamma)
        return Raster(np.floor(unit * 255 + 0.5).astype(np.uint8), raster.mask * np.float32(opacity))

    return replace(band, type=_BYTE, node=Pointwise(change, band.node))


def _through_palette(band: Band, low: float, high: float, palette: Sequence[str], opacity: float) -> list[Band]:
    stops = np.array([parse_colour(text)[:3] for text in palette], dtype=np.float64)
    if len(stops) == 1:
        stops = np.repeat(stops, 2, axis=0)
    places = np.linspace(0.0, 1.0, len(stops))

    def layer(channel: int) -> Band:
        def change(raster: Raster) -> Raster:
            shade = np.interp(_unit(raster.values, low, high), places, stops[:, channel])
            return Raster(np.floor(shade + 0.5).astype(np.uint8), raster.mask * np.float32(opacity))

        return replace(band, name=_RGB[channel], type=_BYTE, node=Pointwise(change, band.node))

    return [layer(channel) for channel in range(3)]


@registry.implements("Image.visualize")
def visualize(
    image: Image,
    bands: Any = None,
    gain: Any = None,
    bias: Any = None,
    min: Any = None,
    max: Any = None,
    gamma: Any = None,
    opacity: float | None = None,
    palette: Any = None,
    force_rgb_output: bool = False,
) -> Image:
    """An image as a picture; ``gain`` and ``bias`` are another way to say ``min`` and ``max``."""
    if not all(isinstance(each, str) for each in (bands if isinstance(bands, list) else [bands or ""])):
        raise invalid("Image.visualize: Expected a string or list of strings for field 'bands'.")
    names = [] if bands is None else _texts(bands)
    wanted = [_named(image, name) for name in names] if names else image.bands[:3]
    # One band may be shown in several colours, an image has each name once.
    chosen = image.with_bands(replace(band, name=str(place)) for place, band in enumerate(wanted))
    if opacity is not None and not 0 < opacity <= 1:
        raise invalid(
            f"Image.visualize: Scale must be greater than zero and less than or equal to one, but was {float(opacity)}."
        )
    if not chosen.bands:
        raise invalid("Image.visualize: The image has no bands.")
    low, high = _limits(chosen, min, max, gain, bias)
    shown = visualized(
        chosen,
        low=low,
        high=high,
        gamma=_numbers(gamma, [1.0]),
        palette=None if palette is None else _texts(palette),
        opacity=1.0 if opacity is None else opacity,
    )
    if force_rgb_output and len(shown.bands) == 1:
        return shown.with_bands(replace(shown.bands[0], name=name) for name in _RGB)
    return shown


def _named(image: Image, name: str) -> Band:
    found = next((band for band in image.bands if band.name == name), None)
    if found is None:
        raise not_named(image, name, "Image.visualize")
    return found


def _limits(image: Image, low: Any, high: Any, gain: Any, bias: Any) -> tuple[list[float], list[float]]:
    """What is shown as 0 and as 255, band by band."""
    if gain is None and bias is None:
        usual = [_usual(band) for band in image.bands]
        return _numbers(low, [each[0] for each in usual]), _numbers(high, [each[1] for each in usual])
    if low is not None or high is not None:
        raise invalid("Image.visualize: gain and bias exclude min and max.")
    return _stretched(_numbers(gain, [1.0]), _numbers(bias, [0.0]))


def _stretched(gains: Sequence[float], biases: Sequence[float]) -> tuple[list[float], list[float]]:
    """What ``gain`` and ``bias`` map to 0 and to 255."""
    if 0 in gains:
        raise invalid("Image.visualize: gain must not be 0.")
    pairs = [(_at(gains, index), _at(biases, index)) for index in range(len(gains) if len(gains) > 1 else len(biases))]
    return [-bias / gain for gain, bias in pairs], [(255 - bias) / gain for gain, bias in pairs]


def _usual(band: Band) -> tuple[float, float]:
    """The range that is stretched if nothing is said: of real numbers 0 to 1, of whole ones all that the type holds."""
    low, high = band.type.range
    return (min(0.0, low), max(0.0, high)) if band.type.precision == "int" else (0.0, 1.0)


def _numbers(value: Any, default: list[float]) -> list[float]:
    if value is None:
        return default
    values = value if isinstance(value, list) else str(value).split(",")
    try:
        return [float(each) for each in values] or default
    except (TypeError, ValueError):
        raise invalid(f"Image.visualize: '{value}' is not a number or a list of numbers.") from None


def _texts(value: Any) -> list[str]:
    """A list, or one text with commas."""
    return [str(each).strip() for each in (value if isinstance(value, list) else str(value).split(","))]
