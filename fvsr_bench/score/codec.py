"""Reads a lossless video exactly, and recognises what is lossy: codec, chroma, bit depth."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from jaxtyping import UInt8

from fvsr_bench.errors import DataError

LOSSLESS = frozenset({"ffv1", "huffyuv", "ffvhuff", "utvideo", "rawvideo", "png", "qtrle", "zlib"})
ADVICE = "score it nevertheless with --allow-lossy (marked in tables)"


@dataclass(frozen=True, kw_only=True)
class Codec:
    """What a video stream is, e.g. `h264 (yuv420p)`, and whether it can hold RGB exactly."""

    name: str
    lossy: bool
    reason: str = ""  # why it is lossy


def read_frames_of_video(
    path: Path, shape: tuple[int, ...], allow_lossy: bool
) -> tuple[UInt8[np.ndarray, "t h w 3"], Codec]:
    """Decode exactly shape[0] frames of shape[1:]; raises DataError for anything else."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(f"{path} has no video stream")
            stream = container.streams.video[0]
            codec = inspect(stream)
            if codec.lossy and not allow_lossy:
                raise DataError(f"{path} is {codec.name}: {codec.reason}; {ADVICE}")
            _check_format(path, stream, shape)
            frames = _decode(container, shape)
    except (FFmpegError, OSError) as error:
        raise DataError(f"{path} cannot be decoded ({error}); write it again") from error
    if len(frames) != shape[0]:
        count = f"more than {shape[0]}" if len(frames) > shape[0] else f"only {len(frames)}"
        raise DataError(f"{path} has {count} frames; expected {shape[0]}")
    return np.stack(frames), codec


def _check_format(path: Path, stream: av.VideoStream, shape: tuple[int, ...]) -> None:
    height, width = shape[1:3]
    if (stream.width, stream.height) != (width, height):
        raise DataError(
            f"{path} is {stream.width}x{stream.height} px; expected {width}x{height} (ground truth)"
        )
    pixels = stream.format
    depth = max(c.bits for c in pixels.components)
    if depth > 8:
        raise DataError(f"{path} has {depth} bit per channel ({pixels.name}); expected 8")
    if any(c.is_alpha for c in pixels.components) and pixels.name not in ("rgb32", "bgra"):
        raise DataError(f"{path} has an alpha channel ({pixels.name}); expected RGB without")
    if len(pixels.components) == 1 and not pixels.has_palette:
        raise DataError(f"{path} is grey ({pixels.name}); expected RGB")


def _decode(container: av.container.InputContainer, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Decode one frame more than wanted, at most, so that a longer video is noticed."""
    frames = itertools.islice(container.decode(video=0), shape[0] + 1)
    return [frame.to_ndarray(format="rgb24") for frame in frames]


def inspect(stream: av.VideoStream) -> Codec:
    """Say whether a stream holds 8-bit RGB exactly."""
    codec, pixels = stream.codec_context.name, stream.format
    name = f"{codec} ({pixels.name})"
    exact = codec in LOSSLESS
    if codec in ("h264", "libopenh264"):
        exact = h264_is_lossless(bytes(stream.codec_context.extradata or b""))
    if not exact:
        reason = (
            "lossy: quantisation blurs texture and adds blocks, so PSNR and SSIM would judge the "
            "codec as well as the method; write FFV1 or PNG"
        )
        if codec == "hevc":
            reason = f"lossy, or lossless in a way that cannot be told; {reason[7:]}"
        return Codec(name=name, lossy=True, reason=reason)
    if not pixels.is_rgb and len(pixels.components) > 1:
        part = "halves the colour's resolution" if pixels.chroma_width(2) < 2 else "rounds RGB"
        reason = f"lossy for RGB: YUV {part}; write RGB (gbrp, rgb24)"
        return Codec(name=name, lossy=True, reason=reason)
    return Codec(name=name, lossy=False)


def h264_is_lossless(extradata: bytes) -> bool:
    """Read from an H.264 header whether the transform is bypassed (x264: `-qp 0`).

    The flag is qpprime_y_zero_transform_bypass_flag of the sequence parameter set (ITU-T H.264,
    7.3.2.1.1), which only profile 244 can carry.
    """
    at = _sps_start(extradata)
    if at is None or len(extradata) < at + 5 or extradata[at + 1] != 244:
        return False
    payload = extradata[at + 4 : at + 64].replace(b"\x00\x00\x03", b"\x00\x00")
    bits = _Bits(payload)
    bits.golomb()  # seq_parameter_set_id
    if bits.golomb() == 3:  # chroma_format_idc
        bits.take(1)  # separate_colour_plane_flag
    bits.golomb()  # bit_depth_luma_minus8
    bits.golomb()  # bit_depth_chroma_minus8
    return bits.take(1) == 1


def _sps_start(extradata: bytes) -> int | None:
    """Return the offset of the NAL unit of type 7, in avcC (MP4, MKV) or Annex B form."""
    if extradata[:1] == b"\x01" and len(extradata) > 9:
        return 8
    for i in range(len(extradata) - 4):
        if extradata[i : i + 3] == b"\x00\x00\x01" and extradata[i + 3] & 31 == 7:
            return i + 3
    return None


class _Bits:
    """Reads bits and Exp-Golomb numbers."""

    def __init__(self, data: bytes) -> None:
        self._bits = "".join(f"{byte:08b}" for byte in data)
        self._at = 0

    def take(self, count: int) -> int:
        piece = self._bits[self._at : self._at + count]
        self._at += count
        return int(piece or "0", 2)

    def golomb(self) -> int:
        zeros = 0
        while zeros < 32 and self._at < len(self._bits) and self.take(1) == 0:
            zeros += 1
        return (1 << zeros) - 1 + (self.take(zeros) if zeros else 0)
