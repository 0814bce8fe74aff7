"""Law: bytes that are no TensorFlow checkpoint end in one error, never in another or in memory."""

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fvsr_bench.convert import tf_bundle


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_any_message_is_read_or_refused(message: bytes) -> None:
    for read in (tf_bundle._entry, tf_bundle._header, tf_bundle._shape):
        with contextlib.suppress(tf_bundle._Broken):
            read(message)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 2**32 - 1))
def test_any_block_is_read_or_refused(content: bytes, restarts: int) -> None:
    for end in (restarts, 0, 1):
        try:
            items = list(tf_bundle._items(content + struct.pack("<I", end)))
        except tf_bundle._Broken:
            continue
        assert all(len(key) <= len(content) for key, _ in items)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40), st.binary(max_size=200))
def test_any_footer_is_read_or_refused(handles: bytes, body: bytes) -> None:
    magic = struct.pack("<Q", tf_bundle.MAGIC)
    with pytest.raises(tf_bundle._Broken):  # their checksums cannot be right
        tf_bundle._read_index(body + handles.ljust(40, b"\0") + magic)
