"""From stored images, or a computed one, to what patches are made of: bands that all of them have, and a lattice that all of them share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.expression import Expression, constant, invoke
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.patch_fetch import PatchSource
from airflow_ee.core.patch_grids import UTM, PatchRule
from airflow_ee.core.resources import Asset, Band

__all__ = ["computed_source", "native_lattice", "patch_rule", "stored_source", "table_features"]

FEATURES_PAGE_SIZE = 1000


def stored_source(
    assets: Sequence[Asset],
    bands: Sequence[str] | None,
    *,
    masked: bool = True,
    min_mask: float | None = None,
    workload_tag: str | None = None,
) -> PatchSource:
    """Patches of stored images, each band in the narrowest type that holds it in all of them.

    Parameters
    ----------
    bands
        None: those of the first image.

    Raises
    ------
    ValueError
        When an image comes twice, or lacks a band.
    """
    ids = tuple(asset.id for asset in assets)
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise ValueError(f"images: each image at most once, got {', '.join(twice)} twice")
    chosen = bands or [band.id for band in assets[0].bands]
    types = {name: np.result_type(*(asset.band(name).dtype for asset in assets)) for name in chosen}
    return PatchSource(
        images=ids,
        bands=tuple(Band(id=name, dtype=types[name]) for name in chosen),
        masked=masked,
        min_mask=min_mask,
        workload_tag=workload_tag,
    )


def computed_source(
    client: EarthEngineClient,
    expression: Expression,
    bands: Sequence[str] | None,
    *,
    masked: bool = True,
    min_mask: float | None = None,
    workload_tag: str | None = None,
) -> PatchSource:
    """Patches of a computed image.

    Raises
    ------
    ValueError
        When it lacks a band.
    """
    there = {band.id: band for band in client.compute_bands(expression, workload_tag=workload_tag)}
    chosen = bands or list(there)
    missing = [name for name in chosen if name not in there]
    if missing:
        raise ValueError(f"bands: the expression has no band {', '.join(missing)}; it has {', '.join(there) or 'none'}")
    return PatchSource(
        expression=expression,
        bands=tuple(there[name] for name in chosen),
        masked=masked,
        min_mask=min_mask,
        workload_tag=workload_tag,
    )


def native_lattice(assets: Sequence[Asset], band: str | None) -> PixelGrid:
    """The grid whose lattice all images share.

    Raises
    ------
    ValueError
        When there is none.
    """
    grids = [(asset.band(band) if band else asset.bands[0]).grid if asset.bands else None for asset in assets]
    for asset, grid in zip(assets, grids, strict=True):
        if grid is None:
            raise ValueError(f"{asset.id} is of type {asset.type} and has no grid; give scale and crs")
        first = grids[0]
        if first is not None and (grid.crs, grid.transform) != (first.crs, first.transform):
            raise ValueError(
                f"scale: {asset.id} and {assets[0].id} have different native grids; give grid_from_asset, or scale and crs"
            )
    return grids[0]  # type: ignore[return-value] # refused above


def patch_rule(
    size: tuple[int, int], *, scale: float | None, crs: str | None, native: PixelGrid | None, snap: bool = True
) -> PatchRule:
    """How patches lie: on the lattice of ``scale`` and ``crs``, or on a native one.

    Parameters
    ----------
    size
        ``(width, height)`` in pixels.
    crs
        With ``scale``; None: each point's own UTM zone.

    Raises
    ------
    ValueError
        When the arguments contradict each other or do not suffice.
    """
    width, height = size
    if scale is not None:
        return PatchRule(width=width, height=height, crs=crs or UTM, scale=scale, snap=snap)
    if crs is not None:
        raise ValueError("crs needs a scale: they make a lattice together")
    if native is None:
        raise ValueError(
            "no lattice: a computed image has none of its own (EPSG:4326 at 1 degree). Give scale, with a crs or for each point's "
            "own UTM zone, or grid_from_asset"
        )
    return PatchRule(width=width, height=height, crs=native.crs, transform=native.transform, snap=snap)


def table_features(
    client: EarthEngineClient, asset_id: str, *, workload_tag: str | None = None
) -> Iterator[Mapping[str, Any]]:
    """The features of a table asset as GeoJSON, page by page, in their order."""
    loaded = invoke("Collection.loadTable", tableId=constant(asset_id))
    expression = Expression.parse({"result": "0", "values": {"0": loaded}})
    return client.compute_features(expression, page_size=FEATURES_PAGE_SIZE, workload_tag=workload_tag)
