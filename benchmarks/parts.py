"""What a sink cannot do without: ``python -m benchmarks.parts zarr|geotiff URL JOURNAL`` encodes and digests the image's own tiles.

The tiles, cut into chunks, are in memory before the clock starts; masks end in the values as nodata. The codec is called as the sink sets it, once for each chunk or block, and the digest
is taken of what was encoded, as the manifest has it. Nothing is read and nothing is written to a disk.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numcodecs import blosc, zstd

from benchmarks.floor import Asked, asked, first_tile
from benchmarks.measure import cost
from benchmarks.ours import GEOTIFF_BLOCK, GEOTIFF_PREDICTOR, ZARR_CHUNK

blosc.use_threads = False
SHUFFLED = blosc.Blosc("zstd", 3, blosc.SHUFFLE)
ZSTD = zstd.Zstd(1)


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sink", choices=("zarr", "geotiff"))
    parser.add_argument("url")
    parser.add_argument("journal", type=Path)
    options = parser.parse_args()
    requests = [asked(each) for each in json.loads(options.journal.read_text(encoding="utf-8"))]
    tiles = tiles_by_shape(options.url, requests)
    side, encode = {"zarr": (ZARR_CHUNK, SHUFFLED.encode), "geotiff": (GEOTIFF_BLOCK, tiff_block)}[options.sink]
    chunks = {shape: list(cut(tile, side)) for shape, tile in tiles.items()}
    sizes: list[int] = []
    figures = cost(lambda: sizes.extend(encode_tile(chunks[each.rows, each.cols], encode) for each in requests))
    sys.stdout.write(json.dumps({**figures, "encoded_bytes": sum(sizes)}) + "\n")


def tiles_by_shape(url: str, requests: list[Asked]) -> dict[tuple[int, int], np.ndarray]:
    """The answer to requests of each shape."""
    first = {(request.rows, request.cols): request for request in requests}
    return {shape: first_tile(url, request) for shape, request in first.items()}


def cut(tile: np.ndarray, side: int) -> Iterator[np.ndarray]:
    """The chunks of each band, contiguous; not of the masks."""
    for name in tile.dtype.names or ():
        if tile.dtype[name] == np.float32:
            for row in range(0, tile.shape[0], side):
                for col in range(0, tile.shape[1], side):
                    yield np.ascontiguousarray(tile[name][row : row + side, col : col + side])


def encode_tile(chunks: list[np.ndarray], encode: Callable[[np.ndarray], bytes]) -> int:
    """Encode and digest one tile; bytes that were digested."""
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        encoded = encode(chunk)
        digest.update(encoded)
        size += len(encoded)
    digest.hexdigest()
    return size


def tiff_block(block: np.ndarray) -> bytes:
    """A block as a TIFF holds it: predicted, then compressed."""
    return ZSTD.encode(differences(block) if GEOTIFF_PREDICTOR == 2 else byte_differences(block))


def differences(block: np.ndarray) -> np.ndarray:
    """Predictor 2: from each pixel to the next, of floats as whole numbers."""
    whole = block.view(np.uint32)
    made = np.empty_like(whole)
    made[:, 0] = whole[:, 0]
    np.subtract(whole[:, 1:], whole[:, :-1], out=made[:, 1:])
    return made


def byte_differences(block: np.ndarray) -> np.ndarray:
    """Predictor 3: all highest bytes of a row, then all second ones and so on, from each to the next."""
    rows, cols = block.shape
    planes = block.view(np.uint8).reshape(rows, cols, 4)[:, :, ::-1].transpose(0, 2, 1).reshape(rows, 4 * cols)
    made = np.empty_like(planes)
    made[:, 0] = planes[:, 0]
    np.subtract(planes[:, 1:], planes[:, :-1], out=made[:, 1:])
    return made


if __name__ == "__main__":
    main()
