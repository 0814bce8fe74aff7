"""The built-in demo set: 45 clips animated from photographs that lie inside installed packages.

It makes every command work a minute after installation, without a download. It is real skin and
hair under made-up motion: good for trying, testing and comparing methods roughly, not a stand-in
for 300-VW; `NOTE` goes with every table and figure made from it.
"""

import hashlib
import importlib.util
import io
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from fvsr_bench.data.animate import HR, Frames, animate, crop_boxes
from fvsr_bench.data.motion import FRAMES, STYLES, Style, make_motion
from fvsr_bench.data.portraits import PHOTOS, PORTRAITS, Photo, Portrait
from fvsr_bench.data.store import ClipInfo, DatasetMeta, DatasetWriter
from fvsr_bench.errors import DataError
from fvsr_bench.files import writing
from fvsr_bench.manifest import package_version
from fvsr_bench.spec import DEGRADATIONS

NOTE = "demo: animated photographs, not 300-VW"
RECIPE = 1  # raised whenever the pixels change: an older cached set is then not used
SEED = 20
FPS = 25.0
CLIPS = 45

OnClip = Callable[[int, int], None]  # (clips done, clips in all)


def read_photo(name: str) -> Frames:
    """Read a photograph (RGB) out of its installed package; it must be the expected one."""
    photo = PHOTOS[name]
    path = _photo_path(photo)
    fix = f"Try `pip install --force-reinstall {photo.distribution}`."
    if path is None or not path.is_file():
        raise DataError(
            f"the demo set needs {photo.path} of {photo.distribution}; not found. {fix}"
        )
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != photo.sha256:
        raise DataError(
            f"{path} is not the photograph that the demo set is made from: sha256 {found[:12]}..., "
            f"expected {photo.sha256[:12]}.... {fix}"
        )
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _photo_path(photo: Photo) -> Path | None:
    spec = importlib.util.find_spec(photo.package)  # does not import the package
    places = (spec.submodule_search_locations or []) if spec else []
    return Path(next(iter(places))) / photo.path if places else None


def clip_plan() -> Iterator[tuple[str, Style, Portrait, np.random.Generator]]:
    """Yield (clip, style, person, its random generator) for the 45 clips, slow styles first."""
    for number in range(CLIPS):
        style = STYLES[number // len(PORTRAITS)]
        portrait = PORTRAITS[number % len(PORTRAITS)]
        rng = np.random.default_rng([SEED, number])
        yield f"{portrait.subject}_{style.name}", style, portrait, rng


def make_clip(
    clip: str, style: Style, portrait: Portrait, rng: np.random.Generator, photo: Frames
) -> tuple[ClipInfo, Frames]:
    """Animate one clip: its row of the index and uint8 RGB [32, 160, 160, 3]."""
    motion = make_motion(style, rng)
    frames, points = animate(photo, portrait, motion, rng)
    source = PHOTOS[portrait.photo]
    info = ClipInfo(
        clip=clip,
        source=f"{source.distribution}/{source.path}",
        subject=portrait.subject,
        split="test",
        fps=FPS,
        first_frame=0,
        frames=FRAMES,
        boxes=crop_boxes(portrait, motion).tolist(),
        landmarks=points.tolist(),
        note=style.name,
    )
    return info, frames


def demo_meta() -> DatasetMeta:
    """Describe the demo set, with the note that every table made from it carries."""
    packages = ["numpy", "pillow", *(photo.distribution for photo in PHOTOS.values())]
    return DatasetMeta(
        name="demo",
        kind="demo",
        degradation=DEGRADATIONS["bi"],
        size=HR,
        frames=FRAMES,
        crop="animated camera",
        margin=0.0,  # no face was detected
        seed=SEED,
        tools={**{name: package_version(name) for name in packages}, "opencv": cv2.__version__},
        settings={
            "recipe": RECIPE,
            "styles": [style.name for style in STYLES],
            "photos": {name: photo.credit for name, photo in PHOTOS.items()},
        },
        notes=NOTE,
    )


def build_demo(root: Path, on_clip: OnClip | None = None) -> None:
    """Write the demo set into a folder; clips that are there already are kept."""
    photos = {name: read_photo(name) for name in PHOTOS}
    writer = DatasetWriter(root, demo_meta())
    plan = [row for row in clip_plan() if not writer.has(row[0])]
    with ThreadPoolExecutor(2) as pool:  # one clip is drawn while another is written
        pending = [pool.submit(make_clip, *row, photos[row[2].photo]) for row in plan[:2]]
        try:
            for number in range(len(plan)):
                info, frames = pending.pop(0).result()
                if number + 2 < len(plan):
                    row = plan[number + 2]
                    pending.append(pool.submit(make_clip, *row, photos[row[2].photo]))
                writer.add(info, frames)
                if on_clip is not None:
                    on_clip(CLIPS - len(plan) + number + 1, CLIPS)
        finally:
            for job in pending:
                job.cancel()
    writer.finish()


def cache_dir() -> Path:
    """Return the folder for derived files: $FVSR_BENCH_CACHE or the platform's cache folder."""
    if chosen := os.environ.get("FVSR_BENCH_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "fvsr-bench"


def demo_dir() -> Path:
    """Return where the demo set of this version lies, or will lie."""
    return cache_dir() / f"demo-v{RECIPE}"


def demo_ready() -> bool:
    """Say whether the demo set of this version is there, whole."""
    return (demo_dir() / "dataset.json").exists()


def ensure_demo(on_clip: OnClip | None = None, *, again: bool = False) -> Path:
    """Return the demo set's folder; make it first if it is not there (or `again` is asked for).

    It is built beside its place and moved there when whole, so an interrupted or a second
    simultaneous run does no harm.
    """
    target = demo_dir()
    if demo_ready() and not again:
        return target
    with writing(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        workshop = Path(tempfile.mkdtemp(prefix=f"{target.name}.tmp-", dir=target.parent))
    try:
        build_demo(workshop / "demo", on_clip)
        with writing(target):
            if again or not demo_ready():
                shutil.rmtree(target, ignore_errors=True)
            if not target.exists():
                os.replace(workshop / "demo", target)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    return target


def _remove_leftovers(target: Path) -> None:
    """Delete what a killed run left behind more than an hour ago."""
    for folder in target.parent.glob(f"{target.name}.tmp-*"):
        if time.time() - folder.stat().st_mtime > 3600:
            shutil.rmtree(folder, ignore_errors=True)
