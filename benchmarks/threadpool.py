"""Training patches as a competent user makes them: ``python -m benchmarks.threadpool floats|bytes URL COUNT FOLDER``.

A thread pool of 40, a session of requests with as many connections, computePixels, ``numpy.load``, and one ``tf.train.Example`` for
each patch with a float list for each band, as Earth Engine's own exports and TensorFlow's guides have it. The message is protobuf's
own, written in C, as TensorFlow's is; lists come from ``tolist``, which is several times as fast as handing over the array; the
checksum of records is Google's in C. GZIP as ours has it, or none. ``bytes`` writes each band's bytes instead, which is cheaper, and
which readers have to decode themselves.
"""

import gzip
import io
import json
import struct
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import google_crc32c
import numpy as np
import requests
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from requests.adapters import HTTPAdapter

from benchmarks import scene
from benchmarks.measure import cost
from benchmarks.ours import PATCH_COMPRESSION_LEVEL

Fill = Callable[[Any, np.ndarray], None]
THREADS = 40
MASK_DELTA = 0xA282EAD8


def main() -> None:
    """Measure, and print JSON."""
    kind, url, count, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    fill = {"floats": fill_floats, "bytes": fill_bytes}[kind]
    example = example_type()
    figures = cost(
        lambda: make_patches(url, count, folder / "patches.tfrecord", example, fill),
        memory_bytes=2 * count * scene.PATCH_SIDE**2 * 20,
    )
    figures["bytes"] = (folder / "patches.tfrecord").stat().st_size
    sys.stdout.write(json.dumps(figures) + "\n")


def make_patches(url: str, count: int, path: Path, example: Any, fill: Fill) -> None:
    """Fetch in threads, write in order."""
    with requests.Session() as session, ThreadPoolExecutor(THREADS) as pool, opened(path) as file:
        session.mount("http://", HTTPAdapter(pool_maxsize=THREADS))
        for patch in pool.map(lambda corner: fetch(session, url, *corner), scene.patch_corners(count)):
            file.write(record(as_example(patch, example, fill).SerializeToString()))


def opened(path: Path) -> IO[bytes]:
    """The file, compressed as ours is."""
    level = PATCH_COMPRESSION_LEVEL
    return path.open("wb") if level is None else gzip.open(path, "wb", compresslevel=level)


def fetch(session: requests.Session, url: str, row: int, col: int) -> np.ndarray:
    """One patch."""
    body = {
        "expression": {"result": "0", "values": {"0": load(scene.image_id(5, scene.PATCH_IMAGE_SIDE))}},
        "fileFormat": "NPY",
        "bandIds": list(scene.BANDS),
        "grid": scene.rest_grid(0, row=row, col=col, rows=scene.PATCH_SIDE, cols=scene.PATCH_SIDE),
    }
    answer = session.post(f"{url}/v1/projects/{scene.PROJECT}/image:computePixels", json=body, timeout=60)
    answer.raise_for_status()
    return np.load(io.BytesIO(answer.content))


def load(asset_id: str) -> dict[str, Any]:
    """The image as an expression."""
    return {"functionInvocationValue": {"functionName": "Image.load", "arguments": {"id": {"constantValue": asset_id}}}}


def as_example(patch: np.ndarray, example: Any, fill: Fill) -> Any:
    """A feature for each band."""
    made = example()
    for name in patch.dtype.names or ():
        fill(made.features.feature[name], patch[name])
    return made


def fill_floats(feature: Any, band: np.ndarray) -> None:
    """A list of numbers."""
    feature.float_list.value.extend(band.ravel().tolist())


def fill_bytes(feature: Any, band: np.ndarray) -> None:
    """Raw bytes."""
    feature.bytes_list.value.append(band.tobytes())


def record(content: bytes) -> bytes:
    """A TFRecord: length, its checksum, content, its checksum."""
    length = struct.pack("<Q", len(content))
    return b"".join((length, masked_crc(length), content, masked_crc(content)))


def masked_crc(content: bytes) -> bytes:
    """CRC-32C, rotated and shifted as the format says."""
    crc = google_crc32c.value(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + MASK_DELTA) & 0xFFFFFFFF)


def example_type() -> Any:
    """``tf.train.Example`` with the kinds of lists that are used here, field numbers as TensorFlow's."""
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="tensorflow", syntax="proto3")
    floats = file.message_type.add(name="FloatList")
    floats.field.add(name="value", number=1, type=2, label=3).options.packed = True
    file.message_type.add(name="BytesList").field.add(name="value", number=1, type=12, label=3)
    feature = file.message_type.add(name="Feature")
    feature.field.add(name="bytes_list", number=1, type=11, label=1, type_name=".tensorflow.BytesList")
    feature.field.add(name="float_list", number=2, type=11, label=1, type_name=".tensorflow.FloatList")
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=9, label=1)
    entry.field.add(name="value", number=2, type=11, label=1, type_name=".tensorflow.Feature")
    kind = ".tensorflow.Features.FeatureEntry"
    features.field.add(name="feature", number=1, type=11, label=3, type_name=kind)
    example = file.message_type.add(name="Example")
    example.field.add(name="features", number=1, type=11, label=1, type_name=".tensorflow.Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


if __name__ == "__main__":
    main()
