"""CRC-32C (Castagnoli) in numpy: the checksum inside TensorFlow's files.

A CRC is linear, so a long message is cut into lanes that are advanced side by side, one byte of
each per step, and joined by the operator "as many zero bytes as a lane is long".
"""

import numpy as np

_POLYNOMIAL = 0x82F63B78  # reflected
_LANES = 2048
_SHORT = 4096  # bytes; below, one byte after the other is quicker


def _table() -> np.ndarray:
    value = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        value = np.where(value & 1, (value >> 1) ^ np.uint32(_POLYNOMIAL), value >> 1)
    return value.astype(np.uint32)


_TABLE = _table()
_LIST = [int(value) for value in _TABLE]


def crc32c(data: bytes | memoryview) -> int:
    """Return the CRC-32C of a message (RFC 3720, appendix B.4)."""
    state = 0xFFFFFFFF
    view = memoryview(data)
    if len(view) >= _SHORT:
        whole = len(view) // _LANES * _LANES
        state = _advance_lanes(np.frombuffer(view[:whole], dtype=np.uint8), state)
        view = view[whole:]
    for byte in bytes(view):
        state = _LIST[(state ^ byte) & 0xFF] ^ (state >> 8)
    return state ^ 0xFFFFFFFF


def _advance_lanes(data: np.ndarray, state: int) -> int:
    """Advance a state over bytes whose number is a multiple of the number of lanes."""
    columns = np.ascontiguousarray(data.reshape(_LANES, -1).T)
    crc = np.zeros(_LANES, dtype=np.uint32)
    unit = np.uint32(1) << np.arange(32, dtype=np.uint32)  # what becomes of each bit of a state
    for column in columns:
        crc = _TABLE[(crc ^ column) & 0xFF] ^ (crc >> 8)
        unit = _TABLE[unit & 0xFF] ^ (unit >> 8)
    bits = [int(value) for value in unit]
    for lane in crc.tolist():
        moved = 0
        for k in range(32):
            if state >> k & 1:
                moved ^= bits[k]
        state = moved ^ lane
    return state


def unmask(stored: int) -> int:
    """Undo the masking that LevelDB's format applies to stored checksums."""
    rotated = (stored - 0xA282EAD8) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF
