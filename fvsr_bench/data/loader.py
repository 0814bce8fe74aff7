"""Training batches from a memory-mapped cache; a step's batch can be made from its number."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Float, Int
from torch import Tensor

from fvsr_bench.data.store import Dataset
from fvsr_bench.degrade import degrade_uint8
from fvsr_bench.errors import DataError, UsageError
from fvsr_bench.files import replacing, writing
from fvsr_bench.spec import Clip, TrainRecipe

_MIRRORED = [1, 0, 2, 4, 3]  # left and right eye, and mouth corner, change places


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Clips in [0, 1] and where their faces are."""

    lr: Float[Tensor, "b t 3 h w"]
    hr: Float[Tensor, "b t 3 H W"]
    landmarks: Float[Tensor, "b t 5 2"]  # in HR px of the (cut, mirrored) frame
    clips: tuple[str, ...]
    # Of crops whose loss looks at whole faces: the ground-truth frames they were cut from, and
    # where (top, left in HR px).
    whole: Float[Tensor, "b t 3 whole_h whole_w"] | None = None
    corner: Int[Tensor, "b 2"] | None = None

    def split(self, clips: int) -> list["Batch"]:
        """Cut into batches of at most `clips` clips; 0 = leave it whole."""
        step = clips or len(self.clips)
        return [
            Batch(
                lr=self.lr[at : at + step],
                hr=self.hr[at : at + step],
                landmarks=self.landmarks[at : at + step],
                clips=self.clips[at : at + step],
                whole=None if self.whole is None else self.whole[at : at + step],
                corner=None if self.corner is None else self.corner[at : at + step],
            )
            for at in range(0, len(self.clips), step)
        ]

    def to(self, device: torch.device | str) -> "Batch":
        """Move the tensors to a device."""
        return Batch(
            lr=self.lr.to(device, non_blocking=True),
            hr=self.hr.to(device, non_blocking=True),
            landmarks=self.landmarks.to(device, non_blocking=True),
            clips=self.clips,
            whole=None if self.whole is None else self.whole.to(device, non_blocking=True),
            corner=self.corner,
        )


class TrainSampler:
    """Draws `recipe.batch` clips x `recipe.frames` consecutive frames of one split.

    `batch(step)` is a function of (seed, step): resuming needs no state, and several processes
    each take their share of the same global batch. Builds its cache of decoded frames once.
    Raises DataError if there are no clips, too short ones, or no landmarks where a loss needs them.
    """

    def __init__(
        self, dataset: Dataset, recipe: TrainRecipe, *, seed: int, split: str = "train"
    ) -> None:
        self.clips = dataset.clip_ids(split)
        if not self.clips:
            raise DataError(
                f"dataset '{dataset.name}' has no clips in split '{split}'; prepare one with "
                "`fvsr-bench data prepare SRC --out DIR`."
            )
        lengths = dataset.index.set_index("clip").loc[self.clips, "frames"]
        if int(lengths.min()) < recipe.frames:
            raise DataError(
                f"dataset '{dataset.name}' has clips of {int(lengths.min())} frames; the recipe "
                f"'{recipe.name}' draws {recipe.frames}."
            )
        self.recipe, self.seed, self.scale = recipe, seed, dataset.degradation.scale
        self.degradation = dataset.degradation
        self.lengths = lengths.to_numpy()
        self.hr, self.lr, self.landmarks = _cache(dataset, split, self.clips, int(lengths.max()))
        needed = sorted({"organ", "face"}.intersection(recipe.losses))
        for clip, points, length in zip(self.clips, self.landmarks, lengths, strict=True):
            if needed and not np.isfinite(points[:length]).all():
                raise DataError(
                    f"clip '{clip}' of dataset '{dataset.name}' has no landmarks in some frames; "
                    f"the loss '{needed[0]}' needs them: prepare it again, or leave the loss out."
                )

    def batch(self, step: int, *, rank: int = 0, world: int = 1) -> Batch:
        """Return this process's share (every `world`-th clip from `rank`) of a step's batch.

        Raises UsageError if the batch cannot be divided evenly: gradients are averaged over
        processes, whatever each one's share.
        """
        if self.recipe.batch % world:
            raise UsageError(
                f"a batch of {self.recipe.batch} clips cannot be divided evenly among {world} "
                "processes; choose --devices x --nodes to divide it."
            )
        rng = np.random.default_rng([self.seed, step])
        recipe = self.recipe
        draws = []
        for _ in range(recipe.batch):
            clip = int(rng.integers(len(self.clips)))
            first = int(rng.integers(self.lengths[clip] - recipe.frames + 1))
            top, left = rng.random(2)
            draws.append((clip, first, top, left, bool(rng.random() < 0.5) and recipe.hflip))
        parts = [self._cut(*draw) for draw in draws[rank::world]]
        tensors = {name: torch.stack([part[name] for part in parts]) for name in parts[0]}
        names = tuple(self.clips[draw[0]] for draw in draws[rank::world])
        return Batch(**tensors, clips=names)

    def _cut(
        self, clip: int, first: int, top: float, left: float, mirrored: bool
    ) -> dict[str, Tensor]:
        frames = slice(first, first + self.recipe.frames)
        h, w = self.lr.shape[2:4]
        size_h, size_w = min(self.recipe.patch or h, h), min(self.recipe.patch or w, w)
        y, x, s = int(top * (h - size_h + 1)), int(left * (w - size_w + 1)), self.scale
        lr, hr, points = self.lr[clip, frames], self.hr[clip, frames], self.landmarks[clip, frames]
        if mirrored:
            hr = hr[:, :, ::-1]
            # Mirrored LR frames that kept pixel 0 of each block would keep its last pixel: another
            # phase. Where LR pixels sit in the middle of their blocks, mirroring them is exact.
            centred = self.degradation.phase == "centre"
            lr = lr[:, :, ::-1] if centred else degrade_uint8(hr, self.degradation)
            points = points[:, _MIRRORED]
            points[..., 0] = hr.shape[2] - 1 - points[..., 0]
            x = w - size_w - x  # the same part of the face as without the mirror
        cut = {
            "lr": _tensor(lr[:, y : y + size_h, x : x + size_w]),
            "hr": _tensor(hr[:, y * s : (y + size_h) * s, x * s : (x + size_w) * s]),
            "landmarks": torch.from_numpy(points - np.array([x * s, y * s], np.float32)),
        }
        if self.recipe.patch and "face" in self.recipe.losses:
            cut |= {"whole": _tensor(hr), "corner": torch.tensor([y * s, x * s])}
        return cut


def _tensor(frames: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(frames.transpose(0, 3, 1, 2))).float().div_(255)


def _cache(
    dataset: Dataset, split: str, clips: list[str], frames: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Open (after making, if missing) the decoded frames of a split as memory-mapped arrays."""
    folder = dataset.root / ".cache"
    size = dataset.meta.size
    small = size // dataset.degradation.scale
    shapes = {
        "hr": (len(clips), frames, size, size, 3),
        "lr": (len(clips), frames, small, small, 3),
        "landmarks": (len(clips), frames, 5, 2),
    }
    paths = {kind: folder / f"{split}-{dataset.id}-{kind}.npy" for kind in shapes}
    if not all(path.exists() for path in paths.values()):
        with writing(folder):
            folder.mkdir(exist_ok=True)
        with FileLock(folder / f"{split}-{dataset.id}.lock"):  # several processes train together
            if not all(path.exists() for path in paths.values()):
                _fill(dataset, clips, shapes, paths)
    hr, lr, points = (np.load(paths[kind], mmap_mode="r") for kind in ("hr", "lr", "landmarks"))
    return hr, lr, points


def _fill(
    dataset: Dataset,
    clips: list[str],
    shapes: dict[str, tuple[int, ...]],
    paths: dict[str, Path],
) -> None:
    fields: dict[str, Callable[[Clip], np.ndarray]] = {
        "hr": lambda clip: clip.hr,
        "lr": lambda clip: clip.lr,
        "landmarks": lambda clip: clip.landmarks,
    }
    with (
        replacing(paths["hr"]) as hr,
        replacing(paths["lr"]) as lr,
        replacing(paths["landmarks"]) as points,
    ):
        arrays = {
            kind: np.lib.format.open_memmap(
                path, "w+", np.float32 if kind == "landmarks" else np.uint8, shapes[kind]
            )
            for kind, path in (("hr", hr), ("lr", lr), ("landmarks", points))
        }
        for path in (hr, lr, points):
            _allocate(path)
        for i, name in enumerate(clips):
            clip = dataset.load(name)
            for kind, take in fields.items():
                values = take(clip)
                arrays[kind][i, : len(values)] = values
        for array in arrays.values():
            array.flush()


def _allocate(path: Path) -> None:
    """Take a file's room on the disk now; a full one would end the process at a write into a map.

    Raises OSError where there is too little.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # this file system cannot
                raise
