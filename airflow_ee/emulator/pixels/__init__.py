"""Pixels: coordinate systems, grids, pixel types, and the pull evaluation of lazy rasters. Knows no algorithm by name."""
