"""Face-clip datasets on disk: what lies where, reading it (`open_dataset`) and adding clips to it.

DIR/hr/<clip>/0001.png ...   ground truth, 8-bit RGB
DIR/lr/<clip>/0001.png ...   the same frames degraded
DIR/index.csv                one row per clip (`ClipInfo`)
DIR/checksums.csv            SHA-256 of each clip's decoded pixels
DIR/skipped.csv              what was left out, and why
DIR/dataset.json             written last: a folder without it is half-prepared
DIR/.cache/                  may be deleted at any time once dataset.json exists
"""

import dataclasses
import io
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fvsr_bench.data.files import link_frames, pixel_hash, read_frames, write_frames
from fvsr_bench.degrade import degrade_uint8
from fvsr_bench.errors import DataError, UsageError
from fvsr_bench.files import write_atomic, writing
from fvsr_bench.spec import DEGRADATIONS, Clip, Degradation, digest

FORMAT = 1
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class DatasetMeta:
    """What is true of a whole dataset; stored as dataset.json."""

    name: str
    kind: str  # "faces": cut from videos; "demo": animated photographs
    degradation: Degradation = DEGRADATIONS["bi"]
    size: int = 160  # px, side of an HR frame
    frames: int = 32  # per clip
    crop: str = "per-frame"  # or "steady": one box per clip
    margin: float = 1.0  # side of the crop / longer side of the detected face box
    seed: int = 0
    split_by: str = "subject"  # or "sequence"
    tools: Mapping[str, str] = field(default_factory=dict)  # versions that decide the pixels
    settings: Mapping[str, Any] = field(default_factory=dict)  # every option of the making command
    notes: str = ""


@dataclass(frozen=True, kw_only=True)
class ClipInfo:
    """One row of index.csv."""

    clip: str
    source: str  # path of the video relative to the source folder
    subject: str
    split: str  # "train" | "val" | "test"; "" until the splits are assigned
    fps: float
    first_frame: int  # of the source, 0-based
    frames: int
    boxes: list[list[float]]  # per frame [x0, y0, x1, y1] that was cut out, in source px
    landmarks: list[list[list[float]]]  # [T][5][2] in HR px of the cut frame
    note: str = ""  # e.g. the motion style of a demo clip

    def row(self) -> dict[str, Any]:
        """Return the row as index.csv stores it: lists as compact JSON with 2 decimals."""
        row = dataclasses.asdict(self)
        row["last_frame"] = self.first_frame + self.frames - 1
        for name in ("boxes", "landmarks"):
            rounded = np.round(np.asarray(row[name], dtype=np.float64), 2).tolist()
            row[name] = json.dumps(rounded, separators=(",", ":"))
        return row

    @classmethod
    def of_row(cls, row: Mapping[Any, Any]) -> "ClipInfo":
        """Return what `row` wrote; raises ValueError, KeyError or TypeError if it is no such row."""
        values = {f.name: row[f.name] for f in dataclasses.fields(cls)}
        for name in ("boxes", "landmarks"):
            values[name] = json.loads(values[name])
        for name in ("first_frame", "frames"):
            values[name] = int(values[name])
        return cls(**{**values, "fps": float(values["fps"])})


class Dataset:
    """A finished dataset, read-only. Frames are read from disk at every `load`."""

    def __init__(self, root: Path, meta: DatasetMeta, content: str, index: pd.DataFrame) -> None:
        self.root, self.meta, self.id, self.index = root, meta, content, index

    @property
    def name(self) -> str:
        return self.meta.name

    @property
    def title(self) -> str:
        """Name it as cards do: name and id."""
        return f"{self.name} {self.id}"

    @property
    def degradation(self) -> Degradation:
        return self.meta.degradation

    def clip_ids(self, split: str | None = None) -> list[str]:
        """Return the clips of a split (None = all) in the order of index.csv."""
        if split is None:
            return list(self.index["clip"])
        if split not in SPLITS:
            raise UsageError(f"unknown split '{split}'. Known: {', '.join(SPLITS)}.")
        return list(self.index.loc[self.index["split"] == split, "clip"])

    def row(self, clip_id: str) -> Mapping[str, Any]:
        """Return the row of index.csv of one clip."""
        rows = self.index[self.index["clip"] == clip_id]
        if len(rows) != 1:
            raise DataError(f"{self.root} has {len(rows)} clips named '{clip_id}', not one.")
        return {str(key): value for key, value in rows.iloc[0].to_dict().items()}

    def load(self, clip_id: str) -> Clip:
        """Read one clip; raises DataError if a frame is missing, unreadable or of another size."""
        row = self.row(clip_id)
        size, count = self.meta.size, int(row["frames"])
        small = size // self.degradation.scale
        try:
            points = np.asarray(json.loads(row["landmarks"]), np.float32).reshape(count, 5, 2)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{self.root / 'index.csv'} lacks the landmarks of clip '{clip_id}': expected "
                f"{count} x 5 points; prepare the dataset again, or run `fvsr-bench data check`."
            ) from error
        return Clip(
            id=clip_id,
            hr=read_frames(self.root / "hr" / clip_id, count, (size, size)),
            lr=read_frames(self.root / "lr" / clip_id, count, (small, small)),
            landmarks=points,
            fps=float(row["fps"]),
            subject=str(row["subject"]),
            source=str(row["source"]),
            split=str(row["split"]),
        )

    def checksums(self) -> dict[str, tuple[str, str]]:
        """Return clip -> (SHA-256 of the HR pixels, of the LR pixels) as stored."""
        table = _read_csv(self.root / "checksums.csv", ("clip", "hr_sha256", "lr_sha256"))
        sums = zip(table["hr_sha256"], table["lr_sha256"], strict=True)
        return dict(zip(table["clip"], sums, strict=True))


def open_dataset(where: str | Path) -> Dataset:
    """Open a dataset folder, or the built-in one for "demo" (made at first use, then cached).

    Raises DataError if the folder does not exist, is half-prepared or has no clips.
    """
    if str(where) == "demo":
        from fvsr_bench.data.demo import ensure_demo  # makes clips: only when asked for

        where = ensure_demo()
    root = Path(where)
    if not root.is_dir():
        raise DataError(
            f"dataset '{where}' is not a folder. Expected 'demo' or a folder made by "
            "`fvsr-bench data prepare SRC --out DIR`."
        )
    path = root / "dataset.json"
    if not path.exists():
        half = (root / ".cache").is_dir() or (root / "hr").is_dir()
        raise DataError(
            f"{root} is a half-prepared dataset (no dataset.json). Run the command that made it "
            "again: it continues where it stopped."
            if half
            else f"{root} is not a dataset (no dataset.json). Expected a folder made by "
            "`fvsr-bench data prepare SRC --out DIR`."
        )
    content, meta = _read_meta(path)
    columns = [*(f.name for f in dataclasses.fields(ClipInfo)), "last_frame"]
    index = _read_csv(root / "index.csv", columns)
    for name in ("first_frame", "last_frame", "frames"):
        index[name] = index[name].astype(int)
    index["fps"] = index["fps"].astype(float)
    if index.empty:
        raise DataError(f"dataset {root} has no clips; prepare it again.")
    return Dataset(root, meta, content, index)


def dataset_id(
    index: pd.DataFrame, sums: Mapping[str, tuple[str, str]], degradation: Degradation
) -> str:
    """Return the hash of what a dataset consists of: pixels, splits and degradation."""
    rows = sorted(zip(index["clip"], index["split"], strict=True))
    content = {
        "clip": [clip for clip, _ in rows],
        "hr_sha256": [sums[clip][0] for clip, _ in rows],
        "lr_sha256": [sums[clip][1] for clip, _ in rows],
        "split": [split for _, split in rows],
    }
    return digest({"clips": content, "degradation": dataclasses.asdict(degradation)})


def _read_meta(path: Path) -> tuple[str, DatasetMeta]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        version = stored.get("format")
        if version != FORMAT:
            raise DataError(
                f"{path} has format {version}; this fvsr-bench reads format {FORMAT}. "
                "Prepare the dataset again or update fvsr-bench."
            )
        values = {f.name: stored[f.name] for f in dataclasses.fields(DatasetMeta)}
        values["degradation"] = Degradation(**values["degradation"])
        return str(stored["id"]), DatasetMeta(**values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is damaged ({error}); prepare the dataset again.") from error


def _read_csv(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path} ({error}); prepare the dataset again.") from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(f"{path} lacks the column(s) {', '.join(missing)}; prepare it again.")
    return table


def claim(root: Path, maker: str, settings: Mapping[str, Any]) -> Path:
    """Note from what `maker` makes a dataset; refuse a folder begun from something else.

    Returns the folder of the maker's own notes, to be removed when the dataset is finished.
    """
    state = root / ".cache" / maker
    note, mark = state / "settings", digest(dict(settings))
    if not note.exists() and root.is_dir() and any(root.iterdir()):
        raise DataError(
            f"{root} is not empty and holds no dataset. Choose a new or an empty folder for --out."
        )
    if note.exists() and note.read_text(encoding="utf-8") != mark:
        raise DataError(
            f"{root} holds a half-made dataset of another source or other options. "
            "Choose another --out, or delete that folder."
        )
    write_atomic(note, mark)
    return state


class DatasetWriter:
    """Adds clips one at a time, each whole or not at all; a new writer on a folder resumes."""

    def __init__(self, root: str | Path, meta: DatasetMeta) -> None:
        self.root, self.meta = Path(root), meta
        self._rows = self.root / ".cache" / "writer"
        with writing(self.root):
            self._rows.mkdir(parents=True, exist_ok=True)

    def has(self, clip_id: str) -> bool:
        """Say whether the clip is already there, whole."""
        return (self._rows / f"{clip_id}.json").exists()

    def add(self, info: ClipInfo, hr: np.ndarray, *, linked: Path | None = None) -> None:
        """Write one clip (uint8 RGB [T, size, size, 3]) and its LR frames.

        `linked` is a folder that holds exactly these HR frames already: they are hard-linked from
        there (copied where that is impossible) instead of written again.
        """
        expected = (info.frames, self.meta.size, self.meta.size, 3)
        if hr.shape != expected or hr.dtype != np.uint8:
            raise DataError(
                f"clip '{info.clip}' is {hr.dtype} {hr.shape}; expected uint8 {expected}."
            )
        lr = degrade_uint8(hr, self.meta.degradation)
        temporary = self._rows / f"tmp-{info.clip}"
        shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed
        if linked is None:
            write_frames(temporary / "hr", hr)
        else:
            link_frames(linked, temporary / "hr", info.frames)
        write_frames(temporary / "lr", lr)
        with writing(self.root):
            for kind in ("hr", "lr"):
                target = self.root / kind / info.clip
                shutil.rmtree(target, ignore_errors=True)
                target.parent.mkdir(exist_ok=True)
                os.replace(temporary / kind, target)
            temporary.rmdir()
        row = {**info.row(), "hr_sha256": pixel_hash(hr), "lr_sha256": pixel_hash(lr)}
        write_atomic(self._rows / f"{info.clip}.json", json.dumps(row))

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of all clips written so far, ordered by source and first frame."""
        rows = [json.loads(path.read_text(encoding="utf-8")) for path in self._rows.glob("*.json")]
        return sorted(rows, key=lambda row: (row["source"], row["first_frame"], row["clip"]))

    def finish(
        self,
        splits: Mapping[str, str] | None = None,
        skipped: Iterable[Mapping[str, Any]] = (),
    ) -> Dataset:
        """Write the tables and, last, dataset.json; clips that `splits` does not name are removed.

        `splits` maps clip -> split (None: each clip keeps its own). `skipped` are rows with source,
        first_frame, last_frame and reason.
        """
        rows = self.rows()
        if splits is not None:
            rows = [{**row, "split": splits[row["clip"]]} for row in rows if row["clip"] in splits]
        if not rows:
            raise DataError(f"no clip was made, so {self.root} is not a dataset.")
        keep = {row["clip"] for row in rows}
        with writing(self.root):
            for kind in ("hr", "lr"):
                for folder in (self.root / kind).iterdir():
                    if folder.name not in keep:
                        shutil.rmtree(folder)
        table = pd.DataFrame(rows)
        sums = ["clip", "hr_sha256", "lr_sha256"]
        names = [f.name for f in dataclasses.fields(ClipInfo)]
        columns = [*names[:6], "last_frame", "frames", "note", "boxes", "landmarks"]
        left_out = pd.DataFrame(
            list(skipped), columns=["source", "first_frame", "last_frame", "reason"]
        )
        write_atomic(self.root / "index.csv", _to_csv(table[columns]))
        write_atomic(self.root / "checksums.csv", _to_csv(table[sums]))
        write_atomic(self.root / "skipped.csv", _to_csv(left_out))
        meta = dataclasses.asdict(self.meta)
        pairs = zip(table["hr_sha256"], table["lr_sha256"], strict=True)
        made = dataset_id(
            table, dict(zip(table["clip"], pairs, strict=True)), self.meta.degradation
        )
        counts = {split: int((table["split"] == split).sum()) for split in SPLITS}
        stored = {"format": FORMAT, "id": made, "clips": counts, **meta}
        write_atomic(
            self.root / "dataset.json", json.dumps(stored, indent=2, ensure_ascii=False) + "\n"
        )
        shutil.rmtree(self._rows, ignore_errors=True)
        return open_dataset(self.root)


def _to_csv(table: pd.DataFrame) -> str:
    text = io.StringIO()
    table.to_csv(text, index=False, lineterminator="\n")
    return text.getvalue()
