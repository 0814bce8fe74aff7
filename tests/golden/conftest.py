"""A small results folder made of formulas: seven methods, four clips, twelve frames, one broken."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fvsr_bench.manifest import About, DatasetFacts, RunManifest, write_json
from fvsr_bench.protocols import grid
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


def save(root: Path, name: str, run_id: str, about: About, level: float, seed: int = 0) -> None:
    """Write the records and the manifest of one method."""
    manifest = RunManifest(
        run_id=run_id,
        model=name,
        variant=f"seed{seed}" if seed else "full",
        weights="none" if name == "bicubic" else "bi" + (f"-seed{seed}" if seed else ""),
        status="complete",
        identity={},
        about=about,
    )
    key = RunKey(
        run_id=run_id,
        model=name,
        variant=manifest.variant,
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
def add_seed() -> Callable[[Path, str, float], None]:
    """Return a function that adds a second seed of a method, so many dB above the first."""

    def add(root: Path, name: str, above: float) -> None:
        title, _, level = METHODS[name]
        about = About(title=title, reference="-", licence="MIT", lookahead=0)
        save(root, name, "5eed5eed5eed", about, level + above, seed=1)

    return add


@pytest.fixture(scope="session")
def synthetic_psnr() -> Callable[[str, int], np.ndarray]:
    """Return the formula behind the records: (method, number of the clip) -> dB per frame."""
    return lambda method, clip: psnr(METHODS[method][2], clip)


PAPER = {  # name: (title, the paper's PSNR / SSIM / Face distance or None, level in dB, ramp)
    "bicubic": ("Bicubic", None, 29.0, 0.0),
    "fapn": ("FAPN", (31.06, 0.924, 0.197), 31.2, 0.4),
    "sofvsr": ("SOF-VSR", (30.75, 0.917, 0.201), 30.9, 0.0),
    "vespcn": ("VESPCN", (30.00, 0.907, 0.228), 30.1, 0.0),
    "frvsr": ("FRVSR", (25.25, 0.823, 0.276), 30.98, 0.3),
    "tecogan": ("TecoGAN", (24.85, 0.811, 0.252), 28.8, 0.3),
}
BRIGHT = {"rgb": 0.0, "y-studio": 1.4, "y-full": 0.1, "y-studio-8bit": 1.39}  # dB above RGB


def make_grid_results(root: Path, *, name: str = "tiny", clips: int = 14) -> Path:
    """Write 14 clips of 7 people under every stored convention: Table 2's methods, two ablations.

    tecogan's output is displaced by 1.5 px. FAPN leads SOF-VSR by 0.2 dB, but not in a
    clip's first frame; SOF-VSR leads FRVSR by 0.01 dB, but not without the first two frames.
    """
    people = {f"c{k:03d}": f"s{k % 7}" for k in range(clips)}
    facts = DatasetFacts(
        name=name,
        id="0123456789ab",
        kind="faces",
        degradation="bi",
        phase="centre",
        scale=4,
        split="test",
        clips=people,
        splits={"train": (340, 10880), "val": (15, 480), "test": (clips, clips * FRAMES)},
    )
    write_json(facts, root / "manifests" / "dataset.json")
    for number, (model, row) in enumerate(PAPER.items()):
        write_grid_run(root, number, model, "none" if model == "bicubic" else "bi", *row)
    write_grid_run(root, 10, "fapn", "bi-no-nic", "FAPN −nic", None, 30.6, 0.2)
    write_grid_run(root, 11, "fapn", "bi-no-fsrc-no-nic", "FAPN −fsrc −nic", None, 30.3, 0.2)
    return root


def write_grid_run(
    root: Path,
    number: int,
    model: str,
    weights: str,
    title: str,
    paper: tuple[float, float, float] | None,
    level: float,
    ramp: float,
) -> None:
    """Write one run of `make_grid_results`: level dB at clip 0, rising by `ramp` over the clip."""
    variant = weights.removeprefix("bi-") if weights.startswith("bi-") else "full"
    where = f"Table 2, column '{title}'"
    names = ("psnr", "ssim", "face")
    published = {n: {"value": v, "where": where} for n, v in zip(names, paper or (), strict=False)}
    manifest = RunManifest(
        run_id=f"{number:012x}",
        model=model,
        variant=variant,
        weights=weights,
        status="complete",
        identity={},
        about=About(
            title=title,
            reference="-",
            licence="MIT",
            lookahead=0,
            published=published,
            trained_for="" if weights == "none" else "bi/centre",
            losses="" if weights == "none" else "mse+tgan" if model == "tecogan" else "mse",
        ),
    )
    key = RunKey(
        run_id=manifest.run_id,
        model=model,
        variant=variant,
        weights=weights,
        dataset="tiny",
        degradation="bi",
    )
    people = json.loads((root / "manifests" / "dataset.json").read_text())["clips"]
    noise = np.random.default_rng(number).normal(0, 0.1, len(people))
    noise -= noise.mean()
    frame = np.arange(FRAMES)
    tables = []
    for k, clip in enumerate(people):
        curve = level + 2 * np.sin(k) + noise[k] - ramp * np.exp(-frame / 3)
        shift = 1.5 if model == "tecogan" else 0.02
        measured: dict[tuple[str, str], np.ndarray] = {
            ("face", "dlib-gt-box"): 0.6 - curve / 80,
            ("shift-x", "luma"): np.asarray(shift),
            ("shift-y", "luma"): np.asarray(shift),
            ("shift-psnr-gain", "rgb-c8"): np.asarray(3 * shift),
            ("shift-ssim-gain", "rgb-c8-gaussian11"): np.asarray(shift / 30),
        }
        for cell in grid():
            value = curve + BRIGHT[cell.colour] + cell.crop * 0.02 * ramp
            window = 0.005 if cell.ssim_window == "uniform" else 0.0
            measured["psnr", cell.measure_key()] = value
            measured["ssim", cell.ssim_key()] = 1 - 10 ** (-value / 30) + window
        tables.append(clip_table(key, clip, measured))
    table = pa.concat_tables(tables).unify_dictionaries()
    write_table(table, root / "records" / f"{manifest.stem}.parquet")
    write_json(manifest, root / "manifests" / f"{manifest.stem}.json")


@pytest.fixture
def grid_results() -> Callable[..., Path]:
    """Return the function that writes Table 2's methods under every stored convention."""
    return make_grid_results


@pytest.fixture(scope="session")
def grid_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a results folder with every convention, written once; for reading only."""
    return make_grid_results(tmp_path_factory.mktemp("grid") / "results")
