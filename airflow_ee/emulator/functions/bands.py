"""Which bands an image has: loading, selecting, renaming, adding."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import as_image, as_text, cannot, registry
from airflow_ee.emulator.pixels.types import is_whole
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.image import Band, Image, check_bands, no_match
from airflow_ee.emulator.values.patterns import check_effort


@registry.implements("Image.load")
def load(id: str, session: Session, version: int = -1) -> Image:
    """An image of the catalogue, which keeps one version of each."""
    image = session.catalog.load_image(id, session)
    if version not in (-1, image.version):
        raise invalid(f"Image.load: Image asset '{id}' (version: {version}) not found.")
    return image


@registry.implements("Image.constant")
def constant(value: Any) -> Image:
    """A number, or a list of numbers with a band each: ``constant_0`` and so on."""
    if isinstance(value, Image):
        raise cannot(value, "a constant")
    if isinstance(value, list):
        check_bands(len(value))
    image: Image = as_image(value)
    if not isinstance(value, list):
        return image
    return image.with_bands(replace(band, name=f"constant_{index}") for index, band in enumerate(image.bands))


@registry.implements("Image.select")
def select(input: Image, band_selectors: list[Any], new_names: list[Any] | None = None) -> Image:
    """Bands by name, number or regular expression, each at most once unless asked for again by name."""
    chosen = [band for selector in band_selectors for band in matching(input, selector, "Image.select")]
    if new_names is not None:
        chosen = _renamed(chosen, new_names, "Image.select")
    return input.with_bands(_distinct(chosen))


def matching(image: Image, selector: Any, function: str) -> list[Band]:
    """The bands that one selector means; none is an error."""
    if is_whole(selector):
        index = int(selector)
        if not -len(image.bands) <= index < len(image.bands):
            raise no_match(image, index, function)
        return [image.bands[index]]
    pattern = as_text(selector)
    named = [band for band in image.bands if band.name == pattern]
    found = named or _by_pattern(image, pattern)
    if not found:
        raise no_match(image, pattern, function)
    return found


def _by_pattern(image: Image, pattern: str) -> list[Band]:
    try:
        expression = re.compile(pattern)
    except re.error:
        return []
    for name in {band.name for band in image.bands}:
        check_effort(expression, name)
    return [band for band in image.bands if expression.fullmatch(band.name)]


def _distinct(bands: Sequence[Band]) -> list[Band]:
    """A band selected twice gets ``_1`` and so on, as the service does."""
    seen: dict[str, int] = {}
    chosen = []
    for band in bands:
        count = seen.get(band.name, 0)
        seen[band.name] = count + 1
        chosen.append(replace(band, name=f"{band.name}_{count}") if count else band)
    return chosen


def _renamed(bands: Sequence[Band], names: Sequence[Any], function: str) -> list[Band]:
    if len(bands) != len(names):
        raise invalid(f"{function}: The number of names ({len(names)}) must match the number of bands ({len(bands)}).")
    return [replace(band, name=_valid(as_text(name), function)) for band, name in zip(bands, names, strict=True)]


def _valid(name: str, function: str) -> str:
    """A name that a band can have: it does not begin with an underscore, and has neither blanks nor colons."""
    if not re.fullmatch(r"[^_\s:][^\s:]*", name):
        raise invalid(f"{function}: Invalid band name: '{name}'")
    return name


@registry.implements("Image.rename")
def rename(input: Image, names: list[Any]) -> Image:
    """The same bands under new names."""
    return input.with_bands(_renamed(input.bands, names, "Image.rename"))


@registry.implements("Image.regexpRename")
def regexp_rename(input: Image, regex: str, replacement: str, all: bool = True) -> Image:
    """Parts of band names replaced; ``$1`` stands for the first group."""
    try:
        pattern = re.compile(regex)
    except re.error as problem:
        raise invalid(f"Image.regexpRename: Invalid regex '{regex}': {problem}.") from None
    for band in input.bands:
        check_effort(pattern, band.name)
    template = re.sub(r"\$(\d+)", r"\\g<\1>", replacement.replace("\\", "\\\\"))
    try:
        return input.with_bands(
            replace(band, name=pattern.sub(template, band.name, count=0 if all else 1)) for band in input.bands
        )
    except (re.error, IndexError):
        raise invalid(f"Image.regexpRename: Invalid replacement '{replacement}' for '{regex}'.") from None


@registry.implements("Image.slice")
def slice_bands(image: Image, start: int, end: int | None = None) -> Image:
    """Bands from one position to before another; negative ones count from the end."""
    return image.with_bands(image.bands[start:end])


@registry.implements("Image.cat")
def cat(images: list[Any]) -> Image:
    """All bands of all images, those whose name is taken with ``_1`` and so on; the rest is that of the first image."""
    if not images:
        return Image(())
    whole: Image = as_image(images[0])
    for other in images[1:]:
        whole = add_bands(whole, as_image(other))
    return whole


@registry.implements("Image.addBands")
def add_bands(dst_img: Image, src_img: Image, names: list[Any] | None = None, overwrite: bool = False) -> Image:
    """Bands of a second image behind those of the first; a name that is taken gets ``_1``, or replaces its namesake."""
    added = list(src_img.bands) if names is None else [band for name in names for band in matching(src_img, name, _ADD)]
    bands = {band.name: band for band in dst_img.bands}
    for band in added:
        name = band.name if overwrite else _free_name(band.name, bands)
        bands[name] = replace(band, name=name)
    return dst_img.with_bands(bands.values())


_ADD = "Image.addBands"


def _free_name(name: str, taken: dict[str, Band]) -> str:
    number, free = 0, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


@registry.implements("Image.bandNames")
def band_names(image: Image) -> list[str]:
    """Names in order."""
    return image.names


@registry.implements("Image.bandTypes")
def band_types(image: Image) -> dict[str, Any]:
    """Pixel types by band name."""
    return {band.name: band.type for band in image.bands}
