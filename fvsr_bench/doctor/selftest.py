"""Tries each part of the installation for real, in at most a minute."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fvsr_bench.doctor import REINSTALL, Check, State, said

if TYPE_CHECKING:
    import numpy as np

# Each test imports what it needs: a package that is missing fails the tests that need it, no other.


def _expect(condition: bool, text: str) -> str:
    if not condition:
        raise AssertionError(text)
    return text


def _test_psnr() -> str:
    import torch

    from fvsr_bench.metrics.fidelity import psnr
    from fvsr_bench.spec import FAPN_PROTOCOL

    hr = torch.full((1, 3, 32, 32), 100, dtype=torch.uint8)
    value = float(psnr(hr + 10, hr, FAPN_PROTOCOL)[0])
    return _expect(abs(value - 28.1308) < 1e-3, f"{value:.4f} dB, expected 28.1308")


def _face() -> "np.ndarray":
    from fvsr_bench.data.demo import read_photo

    return read_photo("astronaut")[0:256, 96:352]


def _test_method() -> str:
    import torch

    from fvsr_bench import registry
    from fvsr_bench.degrade import degrade_uint8
    from fvsr_bench.infer import super_resolve
    from fvsr_bench.spec import DEGRADATIONS

    hr = _face()[None].repeat(3, 0)
    lr = degrade_uint8(hr, DEGRADATIONS["bi"])
    sr = super_resolve(registry.load_model("bicubic"), lr)
    error = float((sr.movedim(1, -1) * 255 - torch.from_numpy(hr)).abs().mean())
    return _expect(error < 12, f"bicubic is {error:.1f} grey levels from the truth")


def _test_streaming() -> str:
    import torch

    from fvsr_bench import registry
    from fvsr_bench.infer import stream

    names = [n for n in registry.methods() if registry.weights_tags(n)] or ["bicubic"]
    name = "fapn" if "fapn" in names else names[0]
    model, spec = registry.load_model(name), registry.load_spec(name)
    clip = torch.rand(1, 4, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = model(clip)[0]
    frames = list(stream(model, clip[0][:, None], lookahead=spec.lookahead or 0))
    error = float((torch.cat(frames) - whole).abs().max())
    return _expect(error < 1e-4, f"{name}: largest difference {error:.1e}")


def _test_detector() -> str:
    from fvsr_bench.faces.detector import FaceDetector

    faces = FaceDetector(min_size=40).detect([_face()])[0]
    return _expect(len(faces) == 1, f"{len(faces)} face(s), expected 1")


def _test_encoder() -> str:
    import numpy as np

    from fvsr_bench.faces.judge import DlibEncoder

    encoder, frames = DlibEncoder(), _face()[None]
    boxes, found = encoder.find(frames, None)
    encoded = encoder.encode(frames, boxes)
    fine = bool(found.all()) and bool(np.isfinite(encoded).all())
    return _expect(fine, f"{encoded.shape[1]} numbers, face {'found' if found.all() else 'missed'}")


def _test_video() -> str:
    import av
    import numpy as np

    from fvsr_bench.data.export import write_lossless_video

    frames = np.stack([_face()[:64, t : t + 64] for t in range(3)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mp4"
        write_lossless_video(path, frames, 25.0)
        with av.open(str(path)) as container:
            back = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    return _expect(bool((back == frames).all()), "H.264 written and read, the same pixels")


TESTS = {
    "PSNR of a known error": _test_psnr,
    "a method on one clip": _test_method,
    "streaming = whole clip": _test_streaming,
    "MTCNN finds a face": _test_detector,
    "dlib encodes a face": _test_encoder,
    "video: lossless round trip": _test_video,
}


def self_test() -> Iterator[Check]:
    """Run each test; a failure is a line of the report, never an exception."""
    for name, test in TESTS.items():
        start = time.perf_counter()
        state: State = "ok"
        try:
            value = test()
        except Exception as error:  # the doctor reports whatever is wrong
            value, state = said(error), "failed"
        seconds = time.perf_counter() - start
        yield Check(
            group="self-test",
            name=name,
            state=state,
            value=f"{value} ({seconds:.1f} s)",
            advice="" if state == "ok" else REINSTALL,
        )
