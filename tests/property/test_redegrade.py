"""A dataset under another degradation differs in its LR frames and in nothing else."""

import numpy as np
import pytest

from fvsr_bench.data.check import check_dataset
from fvsr_bench.data.redegrade import redegrade
from fvsr_bench.data.store import ClipInfo, DatasetMeta, DatasetWriter, open_dataset
from fvsr_bench.degrade import degrade_uint8
from fvsr_bench.errors import DataError, UsageError
from fvsr_bench.spec import DEGRADATIONS


@pytest.fixture
def source(tmp_path):
    """Return a dataset of two clips of three frames."""
    writer = DatasetWriter(tmp_path / "a", DatasetMeta(name="a", kind="faces", frames=3))
    rng = np.random.default_rng(0)
    for k, split in enumerate(("train", "test")):
        hr = rng.integers(0, 256, (3, 160, 160, 3), dtype=np.uint8)
        info = ClipInfo(
            clip=f"c{k}",
            source=f"v{k}.mp4",
            subject=f"s{k}",
            split=split,
            fps=25.0,
            first_frame=7 * k,
            frames=3,
            boxes=[[0.0, 0.0, 160.0, 160.0]] * 3,
            landmarks=[[[60.0, 70.0]] * 5] * 3,
        )
        writer.add(info, hr)
    return writer.finish()


def test_only_lr_frames_differ(source, tmp_path):
    made = redegrade(source, "bd15", tmp_path / "b")
    assert made.clip_ids() == source.clip_ids()
    assert made.index.drop(columns="note").equals(source.index.drop(columns="note"))
    assert made.id != source.id
    assert made.name == "a-bd15"
    assert check_dataset(made) == []
    for clip_id in source.clip_ids():
        old, new = source.load(clip_id), made.load(clip_id)
        np.testing.assert_array_equal(old.hr, new.hr)
        np.testing.assert_array_equal(new.lr, degrade_uint8(old.hr, DEGRADATIONS["bd15"]))
        assert not np.array_equal(old.lr, new.lr)
    frame = tmp_path / "b" / "hr" / "c0" / "0001.png"
    assert frame.stat().st_ino == (tmp_path / "a" / "hr" / "c0" / "0001.png").stat().st_ino


def test_there_and_back_is_the_same_data(source, tmp_path):
    back = redegrade(redegrade(source, "bd15", tmp_path / "b"), "bi", tmp_path / "c")
    assert back.id == source.id
    assert back.checksums() == source.checksums()


def test_it_resumes_and_is_not_made_twice(source, tmp_path):
    seen = []

    def stop(clip: str, done: int, total: int) -> None:
        seen.append((clip, done, total))
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        redegrade(source, "bd16", tmp_path / "b", stop)
    first = (tmp_path / "b" / "lr" / "c0" / "0001.png").stat().st_mtime_ns
    made = redegrade(source, "bd16", tmp_path / "b")
    assert (tmp_path / "b" / "lr" / "c0" / "0001.png").stat().st_mtime_ns == first
    assert redegrade(source, "bd16", tmp_path / "b").id == made.id == open_dataset(made.root).id
    assert seen[-1] == ("c1", 1, 2)


def test_what_was_begun_with_another_degradation_or_source_is_not_continued(source, tmp_path):
    def stop(clip: str, done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    other = redegrade(source, "bd15", tmp_path / "other")
    with pytest.raises(KeyboardInterrupt):
        redegrade(source, "bd16", tmp_path / "b", stop)
    for dataset, degradation in ((source, "bd15"), (other, "bd16")):
        with pytest.raises(DataError, match=r"half-made dataset.*Choose another --out"):
            redegrade(dataset, degradation, tmp_path / "b")
    made = redegrade(source, "bd16", tmp_path / "b")
    assert check_dataset(made) == []
    for clip_id in source.clip_ids():
        wanted = degrade_uint8(source.load(clip_id).hr, DEGRADATIONS["bd16"])
        np.testing.assert_array_equal(made.load(clip_id).lr, wanted)
    assert not list((tmp_path / "b" / ".cache").rglob("settings"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "holiday.txt").write_text("in the way")
    with pytest.raises(DataError, match="not empty"):
        redegrade(source, "bd16", tmp_path / "mine")


def test_bad_requests_say_what_to_do(source, tmp_path):
    with pytest.raises(UsageError, match="itself"):
        redegrade(source, "bd15", source.root)
    with pytest.raises(UsageError, match="Did you mean 'bd15'"):
        redegrade(source, "bd-15", tmp_path / "b")
    redegrade(source, "bd15", tmp_path / "b")
    with pytest.raises(UsageError, match="already holds"):
        redegrade(source, "bd16", tmp_path / "b")
