"""A chart of a time series that a person can read: units on the axes, gaps shown as gaps, simulated data called so."""

from __future__ import annotations

import io
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

__all__ = ["draw_series"]

# A missing composite must not be bridged by a line; composites are 16 days apart at most.
LONGEST_STEP = timedelta(days=24)


def draw_series(
    csv: bytes, *, title: str, band: str | None = None, region_id: str | None = None, attribution: str = ""
) -> bytes:
    """Draw the mean, its spread and the share of valid pixels of one band and region of a merged series table.

    Parameters
    ----------
    csv
        A merged table as :class:`airflow_ee.core.series.SeriesTable` writes it.
    band
        None: the table's first.
    region_id
        None: the table's first.
    attribution
        Where the data come from, told below the chart.

    Returns
    -------
    bytes
        A PNG.

    Raises
    ------
    ValueError
        When the table has no row of the band and region.
    """
    table = pyarrow.csv.read_csv(pa.BufferReader(csv)).to_pylist()
    rows = [row for row in table if band in (None, row["band"]) and region_id in (None, str(row["region_id"]))]
    if not rows:
        raise ValueError(f"the table has no rows to draw of band {band or 'any'} and region {region_id or 'any'}")
    key = (rows[0]["region_id"], rows[0]["band"])
    chosen = [row for row in rows if (row["region_id"], row["band"]) == key]
    return _render(chosen, title, attribution)


def _render(rows: list[dict[str, Any]], title: str, attribution: str) -> bytes:
    # Drawing is for worker processes; parsing a DAG must not load it.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5.6), dpi=150, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    moments = [row["image_start"] for row in rows]
    _draw_means(upper, rows, moments)
    simulated = any(row["simulated"] for row in rows)
    upper.set_title(f"{title} — SIMULATED DATA" if simulated else title, loc="left", fontweight="bold")
    unit = rows[0]["unit"]
    upper.set_ylabel(f"{rows[0]['band']} ({'ratio' if unit in (1, '1') else unit})")
    upper.grid(alpha=0.3)
    upper.legend(loc="lower left", ncols=2, frameon=False)
    width = timedelta(days=12)
    lower.bar(moments, [100 * (row["valid_fraction"] or 0) for row in rows], width=width, color="#7a9a7a", align="edge")
    lower.set_ylim(0, 100)
    lower.set_ylabel("valid area (%)")
    lower.set_xlabel("beginning of the composite (UTC)")
    lower.grid(alpha=0.3)
    if simulated:
        upper.text(
            0.5, 0.5, "SIMULATED", transform=upper.transAxes, ha="center", va="center", fontsize=54, color="black",
            alpha=0.06, rotation=18,
        )  # fmt: skip
    made_of = "Simulated by the local Earth Engine emulator, not observed" if simulated else attribution
    region = rows[0]["region_id"]
    where = "whole grid" if region == "grid" else f"region {str(region).removeprefix('region-')}"
    footnote = f"{rows[0]['source']}, {where}, {len(rows)} images. {made_of}".strip()
    figure.supxlabel(footnote, fontsize=8, color="#555555")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_means(axes: Any, rows: list[dict[str, Any]], moments: list[datetime]) -> None:
    x, mean, spread = _with_gaps(rows, moments)
    axes.fill_between(
        x, mean - spread, mean + spread, color="#2e7d32", alpha=0.18, lw=0, label="± 1 standard deviation"
    )
    axes.plot(x, mean, color="#1b5e20", lw=1.4, marker="o", ms=2.8, label="mean over the region")
    axes.set_ylim(min(0.0, np.nanmin(mean - spread, initial=0.0)), max(1.0, np.nanmax(mean + spread, initial=1.0)))


def _with_gaps(rows: list[dict[str, Any]], moments: list[datetime]) -> tuple[list[datetime], Any, Any]:
    """Points of the line; where images are missing, a NaN breaks it."""
    x: list[datetime] = []
    mean: list[float] = []
    spread: list[float] = []
    for row, moment in zip(rows, moments, strict=True):
        if x and moment - x[-1] > LONGEST_STEP:
            x.append(x[-1] + (moment - x[-1]) / 2)
            mean.append(np.nan)
            spread.append(np.nan)
        x.append(moment)
        mean.append(np.nan if row["mean"] is None else row["mean"])
        spread.append(np.nan if row["std"] is None else row["std"])
    return x, np.array(mean, float), np.array(spread, float)
