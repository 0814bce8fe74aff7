"""dlib's face recognition network in torch: the 128-d encoding behind "Face distance".

Paper: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, cut down to 29
convolutions by Davis King. Original code: dlib's `dnn_face_recognition_ex.cpp`. Weights:
`dlib_face_recognition_resnet_model_v1.dat` as the package face-recognition-models ships it (CC0).
The file is read directly: every field of every layer must be what this architecture writes.

Differs from dlib: affine layers are folded into the convolutions before them (largest difference of
an encoding about 1e-6); it is batched, differentiable and runs on any torch device.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fvsr_bench.errors import WeightsError

CHIP = 150  # px, side of the aligned face that the network takes
MEAN = (122.782, 117.001, 104.298)  # of RGB in 0..255, subtracted before dividing by 256
WIDTHS = (32, 32, 32, 64, 64, 64, 64, 128, 128, 128, 256, 256, 256, 256)  # of the residual blocks
DOWN = (3, 7, 10, 13)  # blocks that halve the resolution
MODEL_FILE = "dlib_face_recognition_resnet_model_v1.dat"


class FaceNet(nn.Module):
    """Map aligned RGB face chips in [0, 1] to 128-d encodings (not normalised; < 0.6 = same)."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 7, stride=2)
        inputs = (32, *WIDTHS[:-1])
        self.blocks = nn.ModuleList(
            _Block(before, width, down=i in DOWN)
            for i, (before, width) in enumerate(zip(inputs, WIDTHS, strict=True))
        )
        self.head = nn.Linear(256, 128, bias=False)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)

    def forward(self, chips: Float[Tensor, "n 3 150 150"]) -> Float[Tensor, "n 128"]:
        """Encode chips made as `dlib.get_face_chip(size=150, padding=0.25)` makes them."""
        x = (chips * 255 - self.mean) / 256
        x = F.max_pool2d(F.relu(self.stem(x)), 3, stride=2)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(dim=(2, 3)))


class _Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut; `down` halves the size and may add channels."""

    def __init__(self, before: int, width: int, *, down: bool) -> None:
        super().__init__()
        self.down = down
        # dlib pads only where the stride is 1
        self.first = nn.Conv2d(before, width, 3, stride=1 + down, padding=0 if down else 1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.second(F.relu(self.first(x)))
        if not self.down:
            return F.relu(branch + x)
        # dlib's add_prev: the sum has the larger size of the two in every dimension, zeros outside
        short = F.avg_pool2d(x, 2)
        c, h, w = (max(a, b) for a, b in zip(branch.shape[1:], short.shape[1:], strict=True))
        return F.relu(_extend(branch, c, h, w) + _extend(short, c, h, w))


def _extend(x: Tensor, c: int, h: int, w: int) -> Tensor:
    return F.pad(x, (0, w - x.shape[3], 0, h - x.shape[2], 0, c - x.shape[1]))


def load_face_net(path: Path | None = None, *, device: str | torch.device = "cpu") -> FaceNet:
    """Return the network with dlib's weights, frozen, in eval mode, float32.

    Without `path` the file is taken from the installed package face-recognition-models. Raises
    WeightsError if it is missing or differs from what is expected in any field.
    """
    net = FaceNet()
    read_dlib_weights(path or model_path(MODEL_FILE), net)
    return net.requires_grad_(False).eval().to(memory_format=torch.channels_last).to(device)


def model_path(name: str) -> Path:
    """Find a file of the package face-recognition-models, without importing it.

    Its `__init__` needs pkg_resources, which setuptools >= 82 no longer brings.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "models" / name
        if path.is_file():
            return path
    raise WeightsError(
        f"{name} was not found: it comes with the package face-recognition-models; "
        "type 'pip install face-recognition-models'"
    )


def read_dlib_weights(path: Path, net: FaceNet) -> None:
    """Fill the network from dlib's file; raises WeightsError at the first unexpected byte."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    file = _DlibFile(data, path)
    file.head()
    file.conv(net.stem, stride=2, padding=0)
    file.tag("relu_", *_flags("110"))
    file.tag("max_pool_2", 3, 3, 2, 2, 0, 0, *_flags("110"))
    for block in net.blocks:
        assert isinstance(block, _Block)
        file.block(block)
    file.tag("avg_pool_2", 0, 0, 1, 1, 0, 0, *_flags("110"))
    file.fully_connected(net.head)
    file.end()


def _flags(digits: str) -> tuple[bool, ...]:
    """Turn a layer's three set-up flags as dlib stores them ("110") into booleans."""
    return tuple(digit == "1" for digit in digits)


_ONE, _ZERO = (16, -4), (0, 11)  # 1.0 and 0.0 as dlib writes floats: mantissa, exponent


class _DlibFile:
    """Reads dlib's serialised numbers in order and compares each with what it has to be.

    An integer is a size byte (bit 7 = negative) and that many little-endian bytes; a boolean is the
    character 0 or 1; a float is two integers; a tensor is version 2, four sizes and float32 values.
    """

    def __init__(self, data: bytes, path: Path) -> None:
        self.data, self.path, self.at = data, path, 0

    def head(self) -> None:
        """Read the loss layer, the version of every layer from the last to the first, the input."""
        self._expect(1)
        self._text("loss_metric_2")
        self._expect(10737418, -28, 10066330, -24)  # margin 0.04, threshold 0.6
        branch = [2, 2, 2, 2, 2, 1]  # affine, con, relu, affine, con, tag
        self._expect(2, 2)  # fc, avg_pool
        for i in reversed(range(len(WIDTHS))):
            self._expect(2, 2, *([2, 1, 1] if i in DOWN else []), *branch)
        self._expect(2, 2, 2, 3)  # max_pool, relu, affine, con on the input layer
        self._text("input_rgb_image_sized")
        self._expect(*(n for mean in MEAN for n in (round(mean * 2**17), -17)), CHIP, CHIP)

    def block(self, block: _Block) -> None:
        stride, padding = (2, 0) if block.down else (1, 1)
        self.conv(block.first, stride=stride, padding=padding)
        self.tag("relu_", *_flags("110"))
        self.conv(block.second, stride=1, padding=1, last=True)
        if block.down:
            self.tag("avg_pool_2", 2, 2, 2, 2, 0, 0, *_flags("110"))
        self.tag("add_prev_", *_flags("111"))
        self.tag("relu_", *_flags("110"))

    def conv(self, conv: nn.Conv2d, *, stride: int, padding: int, last: bool = False) -> None:
        """Read a convolution and the affine layer after it, and store their product."""
        n, c, size = conv.out_channels, conv.in_channels, conv.kernel_size[0]
        self._text("con_4")
        values = self._tensor(n * c * size**2 + n, 1, 1, 1)
        weight, bias = values[:-n].view(n, c, size, size), values[-n:]
        self._expect(n, size, size, stride, stride, padding, padding)
        self._expect(1, n, c, size, size, 1, 1, n, 1, 1, *_ONE, *_ONE, *_ONE, *_ZERO)
        self._layer_end(_flags("110"))
        if c == 3:
            self._expect(1)  # the layer on the input also stores how many samples an image makes
        self._text("affine_")
        gamma, beta = self._tensor(2 * n, 1, 1, 1).split(n)
        self._expect(1, 1, n, 1, 1, 1, 1, n, 1, 1, 0)
        self._layer_end(_flags("110" if last else "111"))
        assert conv.bias is not None
        conv.weight.data.copy_(weight * gamma[:, None, None, None])
        conv.bias.data.copy_(bias * gamma + beta)

    def fully_connected(self, linear: nn.Linear) -> None:
        n, c = linear.out_features, linear.in_features
        self._text("fc_2")
        self._expect(n, c)
        linear.weight.data.copy_(self._tensor(c, n, 1, 1).view(c, n).T)
        self._expect(1, c, n, 1, 1, 1, 0, 0, 0, 0, 1, *_ONE, *_ONE, *_ONE, *_ZERO)
        self._layer_end(_flags("110"))

    def tag(self, name: str, *fields: int | bool) -> None:
        """Read a layer without parameters: its name, its integers, its flags."""
        self._text(name)
        self._expect(*(f for f in fields if not isinstance(f, bool)))
        self._layer_end([f for f in fields if isinstance(f, bool)])

    def end(self) -> None:
        if self.at != len(self.data):
            raise self._error(f"{len(self.data) - self.at} more bytes", "the end of the file")

    def _layer_end(self, flags: Sequence[bool]) -> None:
        expected = "".join("01"[flag] for flag in flags)
        found = self._take(len(flags)).decode("latin-1")
        if found != expected:
            raise self._error(repr(found), f"the layer flags {expected}")
        self._expect(*[2, 0, 0, 0, 0] * 3)  # three empty tensors: nothing is cached

    def _tensor(self, *shape: int) -> Tensor:
        self._expect(2, *shape)
        count = shape[0] * shape[1] * shape[2] * shape[3]
        values = torch.frombuffer(bytearray(self._take(4 * count)), dtype=torch.float32)
        if not torch.isfinite(values).all():
            raise self._error("NaN or infinity", f"{count} finite weights")
        return values

    def _text(self, expected: str) -> None:
        self._expect(len(expected))
        found = self._take(len(expected))
        if found != expected.encode():
            raise self._error(repr(found.decode("latin-1")), f"the layer {expected!r}")

    def _expect(self, *values: int) -> None:
        for expected in values:
            found = self._integer()
            if found != expected:
                raise self._error(str(found), str(expected))

    def _integer(self) -> int:
        control = self._take(1)[0]
        size, negative = control & 0x0F, bool(control & 0x80)
        if control & 0x70 or not 1 <= size <= 8:
            raise self._error(f"the byte 0x{control:02x}", "the size of an integer")
        value = int.from_bytes(self._take(size), "little")
        return -value if negative else value

    def _take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise self._error("the end of the file", f"{count} more bytes")
        self.at += count
        return self.data[self.at - count : self.at]

    def _error(self, found: str, expected: str) -> WeightsError:
        return WeightsError(
            f"{self.path} is not the face network that was expected: near byte {self.at} it has "
            f"{found} instead of {expected}; reinstall face-recognition-models"
        )
