"""What the parity tests share: the authors' programs, written once more, and their file formats."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from torch import Tensor


@pytest.fixture(scope="session")
def authors() -> ModuleType:
    """Return the module `authors_code`, which lies beside the tests and is none."""
    path = Path(__file__).with_name("authors_code.py")
    spec = importlib.util.spec_from_file_location("authors_code", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _slow_crc32c(data: bytes) -> int:
    """CRC-32C bit by bit, from its polynomial."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _masked(data: bytes) -> int:
    crc = _slow_crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return _varint(number << 3 | 2) + _varint(len(value)) + value
    return _varint(number << 3) + _varint(value) if value else b""


def table(rows: dict[bytes, bytes], *, per_block: int = 5, kind: int = 0) -> bytes:
    """Write a LevelDB table: prefix-compressed blocks of a few rows, block index, footer."""
    out, handles = b"", {}

    def add(items: dict[bytes, bytes]) -> bytes:
        nonlocal out
        block, restarts, last = b"", [], b""
        for i, (key, value) in enumerate(items.items()):
            shared = 0
            if i % 3 == 0:
                restarts.append(len(block))
            else:
                while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                    shared += 1
            sizes = _varint(shared) + _varint(len(key) - shared) + _varint(len(value))
            block, last = block + sizes + key[shared:] + value, key
        block += b"".join(r.to_bytes(4, "little") for r in restarts)
        block += len(restarts).to_bytes(4, "little")
        handle = _varint(len(out)) + _varint(len(block))
        block += bytes([kind])
        out += block + _masked(block).to_bytes(4, "little")
        return handle

    keys = sorted(rows)
    for start in range(0, len(keys), per_block):
        chunk = keys[start : start + per_block]
        handles[chunk[-1]] = add({key: rows[key] for key in chunk})
    ends = add({}) + add(handles)
    return out + ends.ljust(40, b"\0") + (0xDB4775248B80FB57).to_bytes(8, "little")


def bundle_entry(shape: tuple[int, ...], offset: int, size: int, crc: int | None = None) -> bytes:
    """Write a BundleEntryProto of float32."""
    dims = b"".join(_field(2, _field(1, dim)) for dim in shape)
    message = _field(1, 1) + _field(2, dims) + _field(4, offset) + _field(5, size)
    if crc is not None:
        message += _varint(6 << 3 | 5) + crc.to_bytes(4, "little")
    return message


def _write_bundle(prefix: Path, tensors: dict[str, Tensor], *, checksums: bool = True) -> None:
    data, rows = b"", {b"": _field(1, 1) + _field(3, _field(1, 1))}
    for name in sorted(tensors):
        raw = tensors[name].numpy().astype("<f4").tobytes()
        crc = _masked(raw) if checksums else None
        shape = tuple(tensors[name].shape)
        rows[name.encode()] = bundle_entry(shape, len(data), len(raw), crc)
        data += raw
    prefix.with_name(prefix.name + ".index").write_bytes(table(rows))
    prefix.with_name(prefix.name + ".data-00000-of-00001").write_bytes(data)


@pytest.fixture(scope="session")
def write_bundle() -> Callable[..., None]:
    """Return a writer of TensorFlow V2 checkpoints of float32 tensors: (prefix, name -> tensor)."""
    return _write_bundle


@pytest.fixture(scope="session")
def write_table() -> Callable[..., bytes]:
    """Return a writer of LevelDB tables."""
    return table


@pytest.fixture(scope="session")
def write_entry() -> Callable[..., bytes]:
    """Return a writer of index entries."""
    return bundle_entry
