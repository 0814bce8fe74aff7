"""Makes docs/pictures/your-video.jpg: a face in a video before and after `fvsr-bench enhance`.

    python docs/pictures/your_video.py

The photograph is Eileen Collins' (NASA, public domain), as scikit-image ships it, reduced by 2.5
and moved by a fraction of a pixel from frame to frame.
"""

import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from skimage import data

from fvsr_bench import registry
from fvsr_bench.enhance import Options, enhance

SIDE, FRAMES = 100, 8  # px, of the small video
HERE = Path(__file__).resolve().parent


def main() -> None:
    """Film, enhance, and keep the last frame."""
    photo = cv2.resize(data.astronaut(), None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in"
        source.mkdir()
        for t in range(FRAMES):
            move = np.array([[1, 0, -36 - 0.6 * t], [0, 1, -2 - 0.3 * t]], np.float32)
            frame = cv2.warpAffine(photo, move, (SIDE, SIDE), flags=cv2.INTER_CUBIC)
            Image.fromarray(frame).save(source / f"{t:03d}.png")
        model = registry.load_model("fapn")
        for name, network in (("after", model), ("before", registry.load_model("bicubic"))):
            lookahead = 1 if name == "after" else 0
            out = Path(folder) / name
            enhance(source, out, network, "FAPN", lookahead=lookahead, options=Options())
        last = f"{FRAMES - 1:03d}.png"
        pair = [np.asarray(Image.open(Path(folder) / name / last)) for name in ("before", "after")]
    gap = np.full((pair[0].shape[0], 8, 3), 255, np.uint8)
    Image.fromarray(np.concatenate([pair[0], gap, pair[1]], axis=1)).save(
        HERE / "your-video.jpg", quality=92
    )


if __name__ == "__main__":
    main()
