"""What a dataset looks like: a contact sheet, and its sizes beside the paper's Table 1."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fvsr_bench.data.store import Dataset
from fvsr_bench.errors import DataError
from fvsr_bench.files import replacing
from fvsr_bench.spec import Clip

_PAPER = {"train": 340, "val": 15, "test": 45}  # sequences of 32 frames, Table 1
_COLUMNS = 6  # HR frames per clip, evenly spread; the LR frame of the first stands before them
_TEXT = 40  # px, height of the caption above each clip


def table_1(dataset: Dataset) -> list[tuple[str, int, int, int, int, int]]:
    """Return rows of (split, paper's clips, its frames, our clips, our frames, our subjects)."""
    rows = []
    for split, clips in _PAPER.items():
        own = dataset.index[dataset.index["split"] == split]
        ours = (len(own), int(own["frames"].sum()), int(own["subject"].nunique()))
        rows.append((split, clips, clips * 32, *ours))
    total = dataset.index
    ours = (len(total), int(total["frames"].sum()), int(total["subject"].nunique()))
    paper = sum(_PAPER.values())
    return [*rows, ("total", paper, paper * 32, *ours)]


def contact_sheet(
    dataset: Dataset,
    path: Path,
    *,
    clips: int = 16,
    split: str | None = None,
    landmarks: bool = False,
) -> None:
    """Write a PNG of at most `clips` clips, evenly spread: two per row, LR and some HR frames."""
    ids = dataset.clip_ids(split)
    if not ids:
        raise DataError(f"{dataset.root} has no clips in split '{split}'.")
    chosen = [
        ids[i] for i in np.linspace(0, len(ids) - 1, min(clips, len(ids))).round().astype(int)
    ]
    tiles = [_tile(dataset.load(clip), landmarks) for clip in chosen]
    across = 2 if len(tiles) > 1 else 1
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // across)
    sheet = np.full((rows * height, across * (width + 8) - 8, 3), 255, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = (i // across) * height, (i % across) * (width + 8)
        sheet[y : y + height, x : x + width] = tile
    with replacing(path) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")


def _tile(clip: Clip, landmarks: bool) -> np.ndarray:
    count, size = clip.hr.shape[:2]
    picks = np.linspace(0, count - 1, min(_COLUMNS, count)).round().astype(int)
    tile = Image.new("RGB", ((len(picks) + 1) * size, size + _TEXT), "white")
    draw = ImageDraw.Draw(tile)
    small = Image.fromarray(clip.lr[0]).resize((size, size), Image.Resampling.NEAREST)
    tile.paste(small, (0, _TEXT))
    for column, t in enumerate(picks, start=1):
        tile.paste(Image.fromarray(clip.hr[t]), (column * size, _TEXT))
        for x, y in clip.landmarks[t] if landmarks else ():
            corner = (column * size + x, _TEXT + y)
            draw.ellipse(
                (corner[0] - 2, corner[1] - 2, corner[0] + 2, corner[1] + 2), fill=(0, 220, 0)
            )
    font = ImageFont.load_default(size=15)
    shown = ", ".join(str(t) for t in picks)
    draw.text((2, 2), f"{clip.id}   {clip.split}   subject {clip.subject}", "black", font)
    draw.text((2, 20), f"LR x4, then frames {shown} of {count}, {clip.fps:g} fps", "gray", font)
    return np.asarray(tile)
