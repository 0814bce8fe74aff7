"""Kept frames: the pictures of a few clips beside the records, for pages and figures.

RESULTS/frames/shown.json           the clips that pages show, worst first
RESULTS/frames/<clip>/clip.json     what is kept of the clip (`KeptClip`)
RESULTS/frames/<clip>/gt.webp       ground truth; lr.webp: the network's input
RESULTS/frames/<clip>/<run>.webp    the frames of one run, exactly as they were measured

A picture holds all kept frames of a clip, 8 per row, without loss. They are derived files: a
command makes them again, and they do not belong in version control (they show people's faces).
"""

import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from fvsr_bench.errors import DataError
from fvsr_bench.files import write_atomic

COLUMNS = 8
FORMAT = 1
GT, LR = "gt", "lr"


@dataclass(frozen=True, kw_only=True)
class KeptClip:
    """What is known of a clip whose frames are kept."""

    clip: str
    dataset: str  # id of the dataset's content
    frames: tuple[int, ...]  # 0-based numbers of the kept frames
    total: int  # frames of the whole clip
    size: int  # px, side of an HR frame
    scale: int
    fps: float
    landmarks: tuple[tuple[tuple[float, float], ...], ...]  # per kept frame: 5 points in HR px
    source: str  # where the clip was cut from
    licence: str = ""  # of a public video that is quoted; "" = the user's own data
    private: bool = False  # shown although the licence does not allow it
    note: str = ""
    root: Path = field(default=Path(), compare=False)  # not stored

    def path(self, name: str) -> Path:
        """Return the picture of "gt", "lr" or a run's stem."""
        return self.root / f"{name}.webp"

    def runs(self) -> set[str]:
        """List the stems of the runs whose frames are kept."""
        return {path.stem for path in self.root.glob("*.webp")} - {GT, LR}

    def read(self, name: str) -> UInt8[np.ndarray, "t h w 3"]:
        """Read the kept frames. Raises DataError if the picture is missing or damaged."""
        side = self.size // self.scale if name == LR else self.size
        return split_strip(_decode(self.path(name)), side, len(self.frames))

    def box(self, which: str, at: int) -> tuple[int, int, int, int]:
        """Return a square (x0, y0, x1, y1) in HR px around the "eyes" or the "mouth".

        `at` indexes the kept frames. The square stays inside the frame.
        """
        left, right, _, mouth_left, mouth_right = np.asarray(self.landmarks[at])
        eyes = float(np.hypot(*(right - left)))
        centre, side = (left + right) / 2, 1.75 * eyes
        if which == "mouth":
            centre, side = (mouth_left + mouth_right) / 2, 1.25 * eyes
        half = int(np.clip(round(side / 2), 8, self.size // 2))
        x, y = (int(np.clip(round(float(v)), half, self.size - half)) for v in centre)
        return x - half, y - half, x + half, y + half


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which clips a user wants to look at."""

    words: str  # worst,median,best,N, names, all, none
    private: bool = False  # whatever their licence
    assets: bool = False  # pictures beside the pages instead of inside them


def make_strip(frames: UInt8[np.ndarray, "t h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Lay frames out in rows of 8, black where there is none."""
    count, height, width = frames.shape[:3]
    rows, columns = -(-count // COLUMNS), min(COLUMNS, count)
    strip = np.zeros((rows * height, columns * width, 3), np.uint8)
    for t, frame in enumerate(frames):
        y, x = t // COLUMNS * height, t % COLUMNS * width
        strip[y : y + height, x : x + width] = frame
    return strip


def split_strip(
    strip: UInt8[np.ndarray, "H W 3"], side: int, count: int
) -> UInt8[np.ndarray, "t h w 3"]:
    """Undo `make_strip` for square frames of `side` px."""
    places = [(t // COLUMNS * side, t % COLUMNS * side) for t in range(count)]
    return np.stack([strip[y : y + side, x : x + side] for y, x in places])


def write_strip(path: Path, frames: UInt8[np.ndarray, "t h w 3"]) -> None:
    """Write frames as one lossless picture, whole or not at all."""
    buffer = io.BytesIO()
    image = Image.fromarray(make_strip(frames))
    image.save(buffer, format="WEBP", lossless=True, quality=60, method=3)
    write_atomic(path, buffer.getvalue())


def _decode(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: no readable picture of kept frames ({error}); delete its folder and make it "
            "again: fvsr-bench report --clips worst,median,best"
        ) from error


def frames_folder(root: Path) -> Path:
    """Return where a results folder keeps frames."""
    return root / "frames"


def write_clip(kept: KeptClip) -> None:
    """Write clip.json."""
    value = dataclasses.asdict(kept)
    del value["root"]
    _write(kept.root / "clip.json", {"format": FORMAT, **value})


def read_clip(root: Path, clip: str) -> KeptClip | None:
    """Read what is kept of a clip in the results folder `root`; None if nothing is."""
    path = frames_folder(root) / clip / "clip.json"
    if not path.exists():
        return None
    value = _read(path)
    try:
        if value.pop("format") != FORMAT:
            raise DataError(f"{path}: kept by another version; delete {path.parent}")
        value["frames"] = tuple(value["frames"])
        value["landmarks"] = tuple(
            tuple((float(x), float(y)) for x, y in points) for points in value["landmarks"]
        )
        kept = KeptClip(**value, root=path.parent)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: damaged ({error}); delete {path.parent}") from error
    if kept.clip != clip or Path(clip).name != clip:  # it names files that are written
        raise DataError(f"{path}: kept of another clip; delete {path.parent}")
    return kept


def write_shown(root: Path, choice: Choice, clips: Sequence[str]) -> None:
    """Remember which clips the pages of a results folder show, and how they were chosen."""
    _write(frames_folder(root) / "shown.json", {**dataclasses.asdict(choice), "clips": list(clips)})


def remember_assets(root: Path) -> None:
    """Remember that the pages' pictures lie beside them; the clips stay those of the last time."""
    path = frames_folder(root) / "shown.json"
    if path.exists():
        _write(path, {**_read(path), "assets": True})


def read_choice(root: Path) -> Choice | None:
    """Read how the shown clips were chosen the last time; None if they never were."""
    path = frames_folder(root) / "shown.json"
    if not path.exists():
        return None
    value = _read(path)
    return Choice(
        words=str(value.get("words", "none")),
        private=bool(value.get("private")),
        assets=bool(value.get("assets")),  # older files have no such key
    )


def read_shown(root: Path) -> list[KeptClip]:
    """Read the clips that the pages of a results folder show, worst first."""
    path = frames_folder(root) / "shown.json"
    if not path.exists():
        return []
    names = _read(path).get("clips", [])
    found = [read_clip(root, str(name)) for name in names]
    return [kept for kept in found if kept is not None]


def _write(path: Path, value: Mapping[str, object]) -> None:
    write_atomic(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def _read(path: Path) -> dict:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: damaged JSON ({error}); delete it") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object; delete it")
    return value
