"""What the end-to-end tests share: a tiny dataset, method files, the command line in-process."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

CLIPS, FRAMES = 3, 5  # in the test split, per clip; one more clip in train

GOOD = '''
"""{title}: nearest-neighbour upsampling, brightened by {gain}."""
import torch
from torch import nn
from fvsr_bench.spec import ModelSpec

class Net(nn.Module):
    scale = 4
    def forward(self, lr):
        sr = lr.repeat_interleave(4, -1).repeat_interleave(4, -2)
        {body}
        return sr

SPEC = ModelSpec(build=Net, title="{title}", reference="-", licence="MIT", lookahead=0,
                 trainable={trainable})
'''


def method_source(title: str, body: str = "pass", trainable: bool = False) -> str:
    """Return a method's file whose `forward` runs `body` on `sr` and `lr`."""
    return GOOD.format(title=title, body=body, gain=0, trainable=trainable)


def write_tiny_dataset(root: Path, **meta: object) -> Path:
    """Write smooth moving texture as a dataset; `meta` overrides fields of dataset.json."""
    from fvsr_bench.data.store import ClipInfo, DatasetMeta, DatasetWriter

    fields = {"name": root.name, "kind": "demo", "frames": FRAMES, **meta}
    writer = DatasetWriter(root, DatasetMeta(**fields))
    rng = np.random.default_rng(0)
    for number in range(CLIPS + 1):
        coarse = rng.uniform(0, 255, (24, 24, 3))
        steps = np.linspace(0, 22, 220)
        low, part = steps.astype(int), (steps % 1)[:, None, None]
        texture = coarse[low] * (1 - part) + coarse[low + 1] * part
        across = part.transpose(1, 0, 2)
        texture = texture[:, low] * (1 - across) + texture[:, low + 1] * across
        hr = np.stack([texture[2 * t : 2 * t + 160, t : t + 160] for t in range(FRAMES)])
        info = ClipInfo(
            clip=f"clip{number}",
            source="a.mp4",
            subject=f"s{number // 2}",
            split="test" if number < CLIPS else "train",
            fps=25.0,
            first_frame=number * FRAMES,
            frames=FRAMES,
            boxes=[[0, 0, 160, 160]] * FRAMES,
            landmarks=[[[50, 60], [110, 60], [80, 90], [60, 120], [100, 120]]] * FRAMES,
        )
        writer.add(info, hr.round().astype(np.uint8))
    return writer.finish().root


@pytest.fixture(scope="session")
def _tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture
def make_tiny() -> Callable[..., Path]:
    """Return the function that writes the tiny dataset with other settings."""
    return write_tiny_dataset


@pytest.fixture
def tiny(_tiny: Path, tmp_path: Path) -> Path:
    """Return a fresh copy of the tiny dataset: 3 test clips and 1 train clip of 6 frames."""
    return Path(shutil.copytree(_tiny, tmp_path / "tiny"))


@dataclasses.dataclass
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Return a function that runs `fvsr-bench ARGS` in this process."""
    from fvsr_bench.cli import run

    def call(*args: object) -> Answer:
        capsys.readouterr()
        code = run([str(arg) for arg in args])
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    return call


@pytest.fixture
def method_file(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a method's file: (name, body of forward) -> path."""

    def write(name: str, body: str = "pass", *, title: str = "", trainable: bool = False) -> Path:
        path = tmp_path / f"{name}.py"
        path.write_text(method_source(title or name.title(), body, trainable))
        return path

    return write


@pytest.fixture
def weights_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder where weights are looked for first."""
    folder = tmp_path / "own-weights"
    folder.mkdir()
    monkeypatch.setenv("FVSR_BENCH_WEIGHTS", str(folder))
    return folder


@pytest.fixture
def save_dummy(weights_dir: Path) -> Callable[..., Path]:
    """Return a function that saves weights of the method `dummy`; its keywords go to the card."""
    from fvsr_bench import registry
    from fvsr_bench.spec import ModelCard

    def save(tag: str = "bi", **changes: object) -> Path:
        card = ModelCard(
            method="dummy",
            tag=tag,
            sha256="",
            options={},
            degradation="bi",
            phase="centre",
            origin="made by a test",
            licence="MIT",
            data="none",
            recipe={},
            steps=0,
            seed=0,
            minutes=0.0,
            validation={},
        )
        path = weights_dir / "dummy" / f"{tag}.safetensors"
        state = registry.build("dummy").state_dict()
        registry.save_weights(path, state, dataclasses.replace(card, **changes))
        return path

    return save


def pattern(seed: int, frames: int, size: int) -> np.ndarray:
    """Return uint8 frames [T, size, size, 3]: a few drifting waves, different for every seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    total = np.zeros((frames, size, size, 3))
    for _ in range(6):
        frequency, phase = rng.uniform(1, 6, 2), rng.uniform(0, 6.28, 3)
        speed, weight = rng.uniform(-0.4, 0.4), rng.uniform(0.3, 1.0, 3)
        for t in range(frames):
            wave = frequency[0] * x + frequency[1] * y + speed * t
            total[t] += weight * np.sin(6.28 * wave[..., None] + phase)
    return np.round(255 * (0.5 + total / 10).clip(0, 1)).astype(np.uint8)


def write_patterns(root: Path, *, frames: int = 12, size: int = 64) -> Path:
    """Write four training clips, one validation and one test clip."""
    from fvsr_bench.data.store import ClipInfo, DatasetMeta, DatasetWriter

    meta = DatasetMeta(name="patterns", kind="faces", size=size, frames=frames)
    writer = DatasetWriter(root, meta)
    face = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.55], [0.35, 0.75], [0.65, 0.75]]) * size
    for i, split in enumerate(("train", "train", "train", "train", "val", "test")):
        info = ClipInfo(
            clip=f"c{i}",
            source=f"c{i}.avi",
            subject=f"s{i}",
            split=split,
            fps=25.0,
            first_frame=0,
            frames=frames,
            boxes=[[0.0, 0.0, float(size), float(size)]] * frames,
            landmarks=[face.tolist()] * frames,
        )
        writer.add(info, pattern(i, frames, size))
    return writer.finish().root


@pytest.fixture(scope="session")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset small enough to train on: 4 + 1 + 1 clips of 12 frames, 64 px."""
    return write_patterns(tmp_path_factory.mktemp("data") / "patterns")
