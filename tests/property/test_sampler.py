"""Law: a step's batch is a function of (seed, step): frames, cuts and mirrors of stored clips."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fvsr_bench.data.loader import TrainSampler
from fvsr_bench.data.store import ClipInfo, DatasetMeta, DatasetWriter, open_dataset
from fvsr_bench.degrade import degrade
from fvsr_bench.errors import DataError
from fvsr_bench.objective import whole_faces
from fvsr_bench.spec import DEGRADATIONS, TrainRecipe


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Clips whose red is x, green is y and blue is t: every pixel tells where it comes from."""
    root = tmp_path_factory.mktemp("ramps") / "set"
    writer = DatasetWriter(root, DatasetMeta(name="set", kind="faces", size=32, frames=8))
    y, x = np.mgrid[:32, :32]
    for i in range(5):
        frames = [np.stack([x * 8, y * 8, np.full_like(x, 30 * t + i)], axis=2) for t in range(8)]
        points = np.array([[20, 8], [8, 8], [14, 16], [19, 24], [9, 24]], float) + i
        info = ClipInfo(
            clip=f"c{i}",
            source="v",
            subject=f"s{i}",
            split="train",
            fps=25.0,
            first_frame=8 * i,
            frames=8,
            boxes=[[0, 0, 32, 32]] * 8,
            landmarks=[points.tolist()] * 8,
        )
        writer.add(info, np.stack(frames).astype(np.uint8))
    return writer.finish()


def test_a_step_can_be_made_again(dataset):
    recipe = TrainRecipe(batch=3, frames=4, patch=4)
    first, second = (TrainSampler(dataset, recipe, seed=7) for _ in range(2))
    for step in (5, 0, 11):
        a, b = first.batch(step), second.batch(step)
        assert a.clips == b.clips
        assert all(torch.equal(getattr(a, k), getattr(b, k)) for k in ("lr", "hr", "landmarks"))
    other = TrainSampler(dataset, recipe, seed=8)
    assert any(not torch.equal(first.batch(s).hr, other.batch(s).hr) for s in range(3))


def test_processes_share_one_batch(dataset):
    recipe = TrainRecipe(batch=4, frames=2)
    sampler = TrainSampler(dataset, recipe, seed=0)
    whole = sampler.batch(3)
    shares = [sampler.batch(3, rank=rank, world=2) for rank in range(2)]
    assert shares[0].clips == whole.clips[0::2]
    assert torch.equal(shares[1].hr, whole.hr[1::2])


@pytest.mark.parametrize("patch", [0, 4])
def test_pixels_and_landmarks_belong_together(dataset, patch):
    """Under a landmark lies the pixel that says so, whatever was cut and mirrored."""
    sampler = TrainSampler(dataset, TrainRecipe(batch=4, frames=3, patch=patch), seed=1)
    mirrored = set()
    for step in range(6):
        batch = sampler.batch(step)
        size = 4 * (patch or 8)
        assert batch.hr.shape == (4, 3, 3, size, size)
        assert batch.lr.shape == (4, 3, 3, size // 4, size // 4)
        for b, name in enumerate(batch.clips):
            i, hr = int(name[1]), (batch.hr[b] * 255).round()
            times = ((hr[:, 2, 0, 0] - i) / 30).tolist()
            assert times == [times[0], times[0] + 1, times[0] + 2]  # consecutive frames
            flipped = bool(hr[0, 0, 0, 1] < hr[0, 0, 0, 0])
            mirrored.add(flipped)
            left, right = batch.landmarks[b, 0, 0], batch.landmarks[b, 0, 1]
            assert left[0] > right[0]  # as stored: mirroring exchanges the two
            for point, home in zip(batch.landmarks[b, 0], _homes(i, flipped), strict=True):
                x, y = (int(v) for v in point)
                if 0 <= x < size and 0 <= y < size:
                    assert (hr[0, :2, y, x] / 8).tolist() == home
            if not patch:  # away from the border, LR is the mean of its HR block on a ramp
                means = batch.hr[b].unfold(2, 4, 4).unfold(3, 4, 4).mean(dim=(4, 5))
                far = (means - batch.lr[b])[:, :2, 2:-2, 2:-2].abs().max()
                assert far < 0.01
    assert mirrored == {True, False}


def _homes(i, flipped):
    points = [[20 + i, 8 + i], [8 + i, 8 + i], [14 + i, 16 + i], [19 + i, 24 + i], [9 + i, 24 + i]]
    return [points[k] for k in ([1, 0, 2, 4, 3] if flipped else range(5))]


@pytest.mark.parametrize("name", ["bi", "bd15"])
def test_mirrored_frames_are_degraded_like_all_others(tmp_path, name):
    """LR is the degraded HR, also when mirrored: a mirror must not change the decimation phase."""
    degradation = DEGRADATIONS[name]
    meta = DatasetMeta(name="set", kind="faces", size=32, frames=4, degradation=degradation)
    writer = DatasetWriter(tmp_path / "set", meta)
    rng = np.random.default_rng(0)
    info = ClipInfo(
        clip="c",
        source="v",
        subject="s",
        split="train",
        fps=25.0,
        first_frame=0,
        frames=4,
        boxes=[[0, 0, 32, 32]] * 4,
        landmarks=[[[1, 1]] * 5] * 4,
    )
    writer.add(info, rng.integers(0, 256, (4, 32, 32, 3)).astype(np.uint8))
    sampler = TrainSampler(writer.finish(), TrainRecipe(batch=8, frames=4), seed=0)
    batch = sampler.batch(0)
    first = batch.hr[0]
    assert any(torch.equal(hr, first.flip(-1)) for hr in batch.hr)  # both kinds are there
    for lr, hr in zip(batch.lr, batch.hr, strict=True):
        expected = degrade(hr, degradation).mul(255).round().clamp(0, 255)
        assert (lr * 255 - expected).abs().max() <= 1.001  # rounding of halves


def test_the_cache_is_made_once_and_may_be_deleted(dataset):
    recipe = TrainRecipe(batch=2, frames=2)
    before = TrainSampler(dataset, recipe, seed=0).batch(0)
    files = sorted((dataset.root / ".cache").glob("train-*.npy"))
    assert len(files) == 3
    times = [file.stat().st_mtime_ns for file in files]
    TrainSampler(dataset, recipe, seed=0)
    assert times == [file.stat().st_mtime_ns for file in files]
    for file in files:
        file.unlink()
    assert torch.equal(
        TrainSampler(open_dataset(dataset.root), recipe, seed=0).batch(0).hr, before.hr
    )


def test_what_cannot_be_drawn_is_explained(dataset):
    with pytest.raises(DataError, match="has no clips in split 'val'"):
        TrainSampler(dataset, TrainRecipe(), seed=0, split="val")
    with pytest.raises(DataError, match="clips of 8 frames"):
        TrainSampler(dataset, TrainRecipe(frames=10), seed=0)


def test_a_crop_for_the_face_loss_knows_the_frame_it_was_cut_from(dataset):
    recipe = TrainRecipe(batch=4, frames=3, patch=4, losses={"mse": 1.0, "face": 0.01})
    batch = TrainSampler(dataset, recipe, seed=1).batch(0)
    assert batch.whole.shape == (4, 3, 3, 32, 32)
    pasted, whole, points = whole_faces(batch.hr, batch)
    assert torch.equal(pasted, whole)  # the crops of the ground truth fit where they came from
    plain = TrainSampler(dataset, replace(recipe, patch=0), seed=1).batch(0)
    assert plain.whole is None
    assert torch.equal(whole, plain.hr)
    assert torch.equal(points, plain.landmarks)
    sr = torch.zeros_like(batch.hr, requires_grad=True)
    whole_faces(sr, batch)[0].sum().backward()
    assert (sr.grad == 1).all()


def test_a_loss_on_faces_is_refused_without_landmarks(dataset):
    sampler = TrainSampler(dataset, TrainRecipe(batch=1, frames=2), seed=0)
    for path in (dataset.root / ".cache").glob("train-*-landmarks.npy"):
        points = np.load(path)
        points[2, 1] = np.nan
        np.save(path, points)
    assert TrainSampler(dataset, TrainRecipe(batch=1, frames=2), seed=0).clips == sampler.clips
    recipe = TrainRecipe(batch=1, frames=2, losses={"mse": 1.0, "organ": 0.05})
    with pytest.raises(DataError, match=r"clip 'c2' .* no landmarks in some frames.*'organ'"):
        TrainSampler(dataset, recipe, seed=0)
    for path in (dataset.root / ".cache").glob("train-*.npy"):
        path.unlink()
