"""A small results folder made of formulas: seven methods, four clips, twelve frames, one broken."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fvsr_bench.manifest import About, DatasetFacts, RunManifest, write_json
from fvsr_bench.records import RunKey, clip_table, write_table

METHODS = {  # name: (title, PSNR of the paper or None, our level in dB)
    "bicubic": ("Bicubic", None, 29.0),
    "fapn": ("FAPN", 31.06, 31.2),
    "frvsr": ("FRVSR", 25.25, 30.9),
    "sofvsr": ("SOF-VSR", 30.75, 31.0),
    "tecogan": ("TecoGAN", 24.85, 28.7),
    "vespcn": ("VESPCN", 30.00, 30.1),
}
CLIPS = {"c000": "anna", "c001": "anna", "c002": "ben", "c003": "cleo"}
FRAMES = 12


def psnr(level: float, clip: int) -> np.ndarray:
    """A rising curve of 12 frames: level + clip offset + ramp, in dB."""
    frame = np.arange(FRAMES)
    return level + (clip - 1.5) + 0.8 * (1 - np.exp(-frame / 3)) + 0.1 * np.sin(frame + level)


def make_results(root: Path, *, kind: str = "demo") -> Path:
    """Write the folder; returns `root`."""
    facts = DatasetFacts(
        name="tiny",
        id="0123456789ab",
        kind=kind,
        degradation="bi",
        phase="centre",
        scale=4,
        split="test",
        clips=CLIPS,
        splits={"train": (9, 108), "val": (2, 24), "test": (4, 48)},
    )
    write_json(facts, root / "manifests" / "dataset.json")
    for number, (name, (title, paper, level)) in enumerate(METHODS.items()):
        where = f"Table 2, column '{title}'"
        published = {"psnr": {"value": paper, "where": where}} if paper else {}
        about = About(title=title, reference="-", licence="MIT", lookahead=0, published=published)
        save(root, name, f"{number:012x}", about, level)
    broken = About(title="Broken", reference="-", licence="unknown", lookahead=None)
    manifest = RunManifest(
        run_id="f" * 12,
        model="broken",
        variant="full",
        weights="none",
        status="failed",
        reason="the model returned 3 values that are NaN or infinite. (clip c000)",
        identity={},
        about=broken,
    )
    write_json(manifest, root / "manifests" / f"{manifest.stem}.json")
    return root


def save(root: Path, name: str, run_id: str, about: About, level: float) -> None:
    """Write the records and the manifest of one method."""
    manifest = RunManifest(
        run_id=run_id,
        model=name,
        variant="full",
        weights="none" if name == "bicubic" else "bi",
        status="complete",
        identity={},
        about=about,
    )
    key = RunKey(
        run_id=run_id,
        model=name,
        variant="full",
        weights=manifest.weights,
        dataset="tiny",
        degradation="bi",
    )
    tables = []
    for index, clip in enumerate(CLIPS):
        curve = psnr(level, index)
        face = 0.6 - curve / 80
        face[3 if clip == "c001" else FRAMES - 1] = np.nan  # no face found in the ground truth
        measured = {
            ("psnr", "rgb-c0"): curve,
            ("psnr", "y-studio-8bit-c0"): curve + 1.4,
            ("ssim", "rgb-c0-gaussian11"): curve / 34,
            ("ssim", "y-studio-8bit-c0-gaussian11"): curve / 33,
            ("face", "dlib-gt-box"): face,
            ("face-found", "dlib-gt-box"): np.isfinite(face).astype(float),
        }
        tables.append(clip_table(key, clip, measured))
    table = pa.concat_tables(tables).unify_dictionaries()
    write_table(table, root / "records" / f"{manifest.stem}.parquet")
    write_json(manifest, root / "manifests" / f"{manifest.stem}.json")


@pytest.fixture(scope="session")
def synthetic() -> Callable[..., Path]:
    """Return the function that writes the synthetic results folder."""
    return make_results


@pytest.fixture(scope="session")
def synthetic_psnr() -> Callable[[str, int], np.ndarray]:
    """Return the formula behind the records: (method, number of the clip) -> dB per frame."""
    return lambda method, clip: psnr(METHODS[method][2], clip)
