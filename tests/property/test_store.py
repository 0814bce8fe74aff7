"""Law: a reader gets what a writer was given, and a folder is a dataset only when it is whole."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from fvsr_bench.data.store import ClipInfo, DatasetMeta, DatasetWriter, open_dataset
from fvsr_bench.degrade import degrade_uint8
from fvsr_bench.errors import DataError, UsageError
from fvsr_bench.spec import DEGRADATIONS


def clip(name, split="train", subject="001", frames=3, size=16):
    rng = np.random.default_rng(sum(map(ord, name)))
    info = ClipInfo(
        clip=name,
        source=f"{name}.avi",
        subject=subject,
        split=split,
        fps=25.0,
        first_frame=7,
        frames=frames,
        boxes=[[1.234, 2, 3, 4]] * frames,
        landmarks=rng.uniform(0, size, (frames, 5, 2)).tolist(),
    )
    return info, rng.integers(0, 256, (frames, size, size, 3), np.uint8)


@pytest.fixture
def meta():
    degradation = DEGRADATIONS["bd15"]
    return DatasetMeta(name="Zoë's", kind="faces", size=16, frames=3, degradation=degradation)


def test_frames_and_rows_come_back_exactly(tmp_path, meta):
    writer = DatasetWriter(tmp_path, meta)
    written = {name: clip(name, split) for name, split in [("b ü", "test"), ("a", "train")]}
    for info, hr in written.values():
        writer.add(info, hr)
    made = writer.finish()
    dataset = open_dataset(tmp_path)
    assert dataset.id == made.id
    assert dataset.meta == meta
    assert dataset.clip_ids() == ["a", "b ü"]
    assert dataset.clip_ids("test") == ["b ü"]
    for name, (info, hr) in written.items():
        read = dataset.load(name)
        np.testing.assert_array_equal(read.hr, hr)
        np.testing.assert_array_equal(read.lr, degrade_uint8(hr, DEGRADATIONS["bd15"]))
        np.testing.assert_allclose(read.landmarks, info.landmarks, atol=0.0051)
        assert (read.subject, read.split, read.fps) == ("001", info.split, 25.0)
    assert dataset.row("a")["last_frame"] == 9
    assert json.loads(dataset.row("a")["boxes"])[0] == [1.23, 2, 3, 4]


def test_a_resumed_writer_makes_the_same_bytes(tmp_path, meta):
    for name in ("once", "twice"):
        writer = DatasetWriter(tmp_path / name, meta)
        writer.add(*clip("a"))
        if name == "twice":
            (tmp_path / name / ".cache" / "writer" / "tmp-b" / "hr").mkdir(parents=True)
            writer = DatasetWriter(tmp_path / name, meta)
            assert writer.has("a")
            assert not writer.has("b")
        writer.add(*clip("b"))
        writer.finish()
    once, twice = (
        {p.relative_to(root): p.read_bytes() for p in root.rglob("*.*") if p.is_file()}
        for root in (tmp_path / "once", tmp_path / "twice")
    )
    assert once == twice


def test_clips_without_a_split_are_removed(tmp_path, meta):
    writer = DatasetWriter(tmp_path, meta)
    writer.add(*clip("a", split=""))
    writer.add(*clip("b", split=""))
    row = {"source": "c.avi", "first_frame": 0, "last_frame": 9, "reason": "no face"}
    dataset = writer.finish({"b": "val"}, [row])
    assert dataset.clip_ids() == ["b"]
    assert not (tmp_path / "hr" / "a").exists()
    assert "c.avi,0,9,no face" in (tmp_path / "skipped.csv").read_text()


def test_the_id_follows_the_pixels(tmp_path, meta):
    ids = set()
    for name in ("a", "b"):
        writer = DatasetWriter(tmp_path / name, meta)
        info, hr = clip("x")
        hr[0, 0, 0, 0] = 0 if name == "a" else 255
        writer.add(info, hr)
        ids.add(writer.finish().id)
    assert len(ids) == 2


def test_incomplete_folders_are_refused(tmp_path, meta):
    with pytest.raises(DataError, match="is not a folder"):
        open_dataset(tmp_path / "none")
    with pytest.raises(DataError, match="is not a dataset"):
        open_dataset(tmp_path)
    writer = DatasetWriter(tmp_path, meta)
    writer.add(*clip("a"))
    with pytest.raises(DataError, match="half-prepared"):
        open_dataset(tmp_path)
    dataset = writer.finish()
    with pytest.raises(UsageError, match="unknown split 'tset'"):
        dataset.clip_ids("tset")
    with pytest.raises(DataError, match="has 0 clips named 'zz'"):
        dataset.load("zz")
    frame = tmp_path / "hr" / "a" / "0002.png"
    frame.write_bytes((tmp_path / "lr" / "a" / "0002.png").read_bytes())
    with pytest.raises(DataError, match=r"0002\.png is 4x4 px; expected 16x16"):
        dataset.load("a")
    frame.write_bytes(b"")
    with pytest.raises(DataError, match="not a readable PNG"):
        dataset.load("a")
    frame.unlink()
    with pytest.raises(DataError, match="cannot read frame"):
        dataset.load("a")
    (tmp_path / "dataset.json").write_text('{"format": 9}')
    with pytest.raises(DataError, match="has format 9"):
        open_dataset(tmp_path)
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        open_dataset(tmp_path)


def test_a_writer_refuses_wrong_shapes_and_folders(tmp_path, meta):
    writer = DatasetWriter(tmp_path, meta)
    info, hr = clip("a")
    with pytest.raises(DataError, match="expected uint8"):
        writer.add(info, hr[:, :8])
    with pytest.raises(DataError, match="no clip was made"):
        writer.finish()
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write to"):
        DatasetWriter(tmp_path / "file", meta)


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "permission denied")],
)
def test_a_full_or_closed_disk_is_explained_and_leaves_no_half_clip(
    tmp_path, meta, monkeypatch, number, advice
):
    writer = DatasetWriter(tmp_path, meta)
    writer.add(*clip("a"))
    full, written = OSError(number, "no"), []

    def fail(path, content):
        written.append(path)
        if len(written) == 4:
            raise full
        return len(content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fail)
        with pytest.raises(DataError, match=advice):
            writer.add(*clip("b"))
    assert not writer.has("b")
    assert not (tmp_path / "hr" / "b").exists()
    writer = DatasetWriter(tmp_path, meta)
    writer.add(*clip("b"))
    assert writer.finish().clip_ids() == ["a", "b"]
