"""TFRecord files read by protobuf's own parser and by a framing reader of another make."""

import gzip
import struct

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


def example_class():
    """``tf.train.Example`` as tensorflow/core/example declares it, built without its generated code."""
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="tensorflow", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto

    def message(name, *fields):
        added = file.message_type.add(name=name)
        for number, (field, kind, label, type_name) in enumerate(fields, start=1):
            added.field.add(name=field, number=number, type=kind, label=label, type_name=type_name)
        return added

    many, one = kinds.LABEL_REPEATED, kinds.LABEL_OPTIONAL
    message("BytesList", ("value", kinds.TYPE_BYTES, many, None))
    message("FloatList", ("value", kinds.TYPE_FLOAT, many, None))
    message("Int64List", ("value", kinds.TYPE_INT64, many, None))
    feature = message(
        "Feature",
        *(
            (f"{name}_list", kinds.TYPE_MESSAGE, one, f".tensorflow.{name.capitalize()}List")
            for name in ("bytes", "float", "int64")
        ),
    )
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    features = message("Features", ("feature", kinds.TYPE_MESSAGE, many, ".tensorflow.Features.FeatureEntry"))
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=kinds.TYPE_STRING, label=one)
    entry.field.add(name="value", number=2, type=kinds.TYPE_MESSAGE, label=one, type_name=".tensorflow.Feature")
    message("Example", ("features", kinds.TYPE_MESSAGE, one, ".tensorflow.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


EXAMPLE = example_class()


def parse(data):
    """Name to kind and values."""
    found = {}
    for name, feature in EXAMPLE.FromString(data).features.feature.items():
        kind = feature.WhichOneof("kind")
        found[name] = (kind, list(getattr(feature, kind).value))
    return found


def crc32c(data):
    """Bit by bit, from the polynomial."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def read_records(file):
    """A reader after the format's description, with each checksum looked at."""

    def masked(data):
        crc = crc32c(data)
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

    while head := file.read(12):
        length, check = struct.unpack("<QI", head)
        assert masked(head[:8]) == check
        data = file.read(length)
        assert masked(data) == struct.unpack("<I", file.read(4))[0]
        yield data


def read_shard(path):
    """Every record of a shard, parsed, its checksums looked at."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        return [parse(data) for data in read_records(file)]
