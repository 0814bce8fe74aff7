"""Reads TensorFlow V2 checkpoints ("tensor bundles") without TensorFlow.

A checkpoint PREFIX is PREFIX.index, a LevelDB table that maps variable names to BundleEntryProto
messages, and PREFIX.data-00000-of-0000N, the raw tensors. Formats: tensorflow/core/util/
tensor_bundle, tensorflow/core/protobuf/tensor_bundle.proto, LevelDB's doc/table_format.md.

Nothing in the files is believed: every offset and size is held against the bytes that are there,
and every checksum is verified, before memory is taken.
"""

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fvsr_bench.convert.crc32c import crc32c, unmask
from fvsr_bench.errors import WeightsError

MAGIC = 0xDB4775248B80FB57
_FOOTER = 48  # bytes
_TRAILER = 5  # bytes after each block: compression type, masked CRC
_LONGEST_KEY = 4096  # bytes; prefix compression must not inflate a small file
_DTYPES: dict[int, np.dtype] = {
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    3: np.dtype("<i4"),
    9: np.dtype("<i8"),
    19: np.dtype("<f2"),
}
_SHARD = re.compile(r"\.data-\d{5}-of-\d{5}$")


class _Broken(Exception):
    """The bytes are not what the format says; the message names the place."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Where one tensor lies."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int  # bytes
    crc: int | None
    slices: bool


def bundle_prefix(path: Path) -> Path | None:
    """Return the checkpoint's prefix if `path` is one of its files or the prefix, else None."""
    name = _SHARD.sub("", path.name)
    for suffix in (".index", ".meta"):
        name = name.removesuffix(suffix)
    prefix = path.with_name(name)
    return prefix if _index(prefix).is_file() else None


def read_bundle(prefix: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Read all numeric tensors of a checkpoint; returns (name -> array, names of the others).

    Raises WeightsError that says what is wrong with which file.
    """
    path = _index(prefix)
    try:
        shards, entries = _read_index(path.read_bytes())
        return _read_tensors(prefix, shards, entries)
    except _Broken as error:
        raise WeightsError(
            f"{path} is no readable TensorFlow V2 checkpoint: {error}; fetch PREFIX.index and "
            "PREFIX.data-* again, both of the same checkpoint."
        ) from error
    except OSError as error:
        raise WeightsError(f"cannot read the checkpoint {prefix}: {error}.") from error


def _index(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".index")


# --- protocol buffers: varints and length-delimited fields ---


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return (value, next position)."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise _Broken("a number runs past the end")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                break
            return value, at
    raise _Broken("a number has more than 64 bits")


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field number, value) of a protocol buffer message."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            number, at = _varint(message, at)
            yield tag >> 3, number
            continue
        size = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            size, at = _varint(message, at)
        if size is None or at + size > len(message):
            raise _Broken("a message of the index is cut off or of an unknown kind")
        chunk = message[at : at + size]
        at += size
        yield tag >> 3, chunk if kind == 2 else int.from_bytes(chunk, "little")


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise _Broken("a message of the index has text where a number belongs")
    return value - (1 << 64) if value >> 63 else value


def _message(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise _Broken("a message of the index has a number where a message belongs")
    return value


def _shape(message: bytes) -> tuple[int, ...]:
    dims = []
    for field, value in _fields(message):
        if field == 2:  # dim; a size that is 0 is not written
            sizes = [_number(v) for f, v in _fields(_message(value)) if f == 1]
            dims.append(sizes[-1] if sizes else 0)
    if any(dim < 0 for dim in dims):
        raise _Broken("a tensor has a negative or unknown size")
    return tuple(dims)


def _entry(message: bytes) -> Entry:
    numbers: dict[int, int] = {}
    shape: tuple[int, ...] = ()
    slices = False
    for field, value in _fields(message):
        if field == 2:
            shape = _shape(_message(value))
        elif field == 7:
            slices = True
        elif isinstance(value, int):
            numbers[field] = _number(value)
    return Entry(
        dtype=numbers.get(1, 0),
        shape=shape,
        shard=numbers.get(3, 0),
        offset=numbers.get(4, 0),
        size=numbers.get(5, 0),
        crc=numbers.get(6),
        slices=slices,
    )


# --- the index: a LevelDB table ---


def _block(data: bytes, offset: int, size: int) -> bytes:
    """Return the contents of a block, verified."""
    end = offset + size + _TRAILER
    if end > len(data) - _FOOTER:
        raise _Broken(f"a block of {size} bytes at {offset} lies outside the file: it is cut off")
    contents, kind = data[offset : offset + size], data[offset + size]
    (stored,) = struct.unpack_from("<I", data, offset + size + 1)
    if unmask(stored) != crc32c(data[offset : offset + size + 1]):
        raise _Broken(f"the checksum of the block at {offset} is wrong")
    if kind == 1:
        raise _Broken("its blocks are compressed with snappy, which is not supported")
    if kind != 0:
        raise _Broken(f"its blocks are compressed in an unknown way ({kind})")
    return contents


def _items(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the (key, value) pairs of a block; keys are stored as what differs from the last."""
    if len(block) < 4:
        raise _Broken("a block is too short")
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise _Broken("a block has more restart points than bytes")
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        fresh, at = _varint(block, at)
        size, at = _varint(block, at)
        if shared > len(key) or at + fresh + size > end:
            raise _Broken("an entry of a block runs past its end")
        if shared + fresh > _LONGEST_KEY:
            raise _Broken(f"a name has more than {_LONGEST_KEY} bytes")
        key = key[:shared] + block[at : at + fresh]
        at += fresh
        yield key, block[at : at + size]
        at += size


def _read_index(data: bytes) -> tuple[int, dict[str, Entry]]:
    """Return (number of shards, name -> entry)."""
    if len(data) < _FOOTER:
        raise _Broken(f"it has {len(data)} bytes, less than its own footer")
    footer = data[-_FOOTER:]
    if struct.unpack_from("<Q", footer, 40)[0] != MAGIC:
        raise _Broken("it does not end with the mark of a table: cut off, or another format")
    at = 0
    handle = []
    for _ in range(4):  # offset and size of the block of metadata, then of the block index
        value, at = _varint(footer, at)
        handle.append(value)
    entries: dict[str, Entry] = {}
    shards = 0
    for _, where in _items(_block(data, handle[2], handle[3])):
        offset, at = _varint(where, 0)
        size, _ = _varint(where, at)
        for key, message in _items(_block(data, offset, size)):
            if key:
                entries[key.decode("utf-8", "replace")] = _entry(message)
            else:
                shards = _header(message)
    if not shards:
        raise _Broken("its header is missing: a TensorFlow V1 checkpoint, or another table")
    return shards, entries


def _header(message: bytes) -> int:
    """Return the number of shards of a BundleHeaderProto."""
    values = {f: _number(v) for f, v in _fields(message) if f in (1, 2)}
    if values.get(2, 0):
        raise _Broken("it was written on a big-endian machine, which is not supported")
    return values.get(1, 0)


# --- the tensors ---


def _read_tensors(
    prefix: Path, shards: int, entries: dict[str, Entry]
) -> tuple[dict[str, np.ndarray], list[str]]:
    used = {entry.shard for entry in entries.values()}
    if any(not 0 <= shard < shards for shard in used):
        raise _Broken(f"a tensor lies in a shard outside 0..{shards - 1}")
    paths = {s: prefix.with_name(f"{prefix.name}.data-{s:05d}-of-{shards:05d}") for s in used}
    missing = sorted(path.name for path in paths.values() if not path.is_file())
    if missing:
        raise _Broken(f"{missing[0]} is missing beside it")
    left = {shard: path.stat().st_size for shard, path in paths.items()}
    tensors, others = {}, []
    for name, entry in sorted(entries.items()):
        if entry.dtype not in _DTYPES or entry.slices or 0 in entry.shape:
            others.append(name)
            continue
        left[entry.shard] -= entry.size
        if left[entry.shard] < 0:
            raise _Broken(f"{name} asks for more bytes than {paths[entry.shard].name} has")
        tensors[name] = _tensor(name, entry, paths[entry.shard])
    return tensors, others


def _tensor(name: str, entry: Entry, path: Path) -> np.ndarray:
    dtype = _DTYPES[entry.dtype]
    if math.prod(entry.shape) * dtype.itemsize != entry.size:
        raise _Broken(f"{name} has shape {entry.shape} but {entry.size} bytes")
    if entry.offset < 0 or entry.offset + entry.size > path.stat().st_size:
        raise _Broken(f"{name} lies outside {path.name}: that file is cut off")
    with path.open("rb") as file:
        file.seek(entry.offset)
        raw = file.read(entry.size)
    if entry.crc is not None and unmask(entry.crc) != crc32c(raw):
        raise _Broken(f"the checksum of {name} is wrong")
    return np.frombuffer(raw, dtype=dtype).reshape(entry.shape).copy()
