"""Laws of kept frames: strips are exact, choices stay inside what is allowed, rights are kept."""

import json
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fvsr_bench.data.rights import FREE, QUOTED, Rights, rights, training_licence
from fvsr_bench.data.sources import load_manifest
from fvsr_bench.data.store import Dataset
from fvsr_bench.errors import UsageError
from fvsr_bench.report.choose import choose, describe_rank
from fvsr_bench.report.svg import padded, ticks
from fvsr_bench.strips import (
    Choice,
    KeptClip,
    make_strip,
    read_choice,
    read_clip,
    split_strip,
    write_clip,
    write_shown,
    write_strip,
)

CLIPS = [f"c{i}" for i in range(9)]


@given(count=st.integers(1, 33), side=st.integers(1, 12), seed=st.integers(0, 99))
def test_a_strip_gives_its_frames_back(count, side, seed):
    frames = np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    assert (split_strip(make_strip(frames), side, count) == frames).all()


def test_a_kept_clip_comes_back_from_disk(tmp_path):
    frames = np.random.default_rng(1).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    kept = KeptClip(
        clip="a",
        dataset="d",
        frames=(3, 4, 5, 6, 7),
        total=9,
        size=16,
        scale=4,
        fps=12.5,
        landmarks=(((1.0, 2.0),) * 5,) * 5,
        source="x.mp4",
        root=tmp_path / "frames" / "a",
    )
    write_clip(kept)
    write_strip(kept.path("run"), frames)
    again = read_clip(tmp_path, "a")
    assert again == kept
    assert again.runs() == {"run"}
    assert (again.read("run") == frames).all()


def test_a_choice_comes_back_from_disk_also_one_that_is_older_than_assets(tmp_path):
    for choice in (Choice(words="all", assets=True), Choice(words="worst", private=True)):
        write_shown(tmp_path, choice, ["c0"])
        assert read_choice(tmp_path) == choice
    path = tmp_path / "frames" / "shown.json"
    value = json.loads(path.read_text())
    del value["assets"]
    path.write_text(json.dumps(value))
    assert read_choice(tmp_path) == Choice(words="worst", private=True)


@given(
    words=st.lists(
        st.sampled_from(["worst", "median", "best", "3", "20", "all", "c4"]), min_size=1
    ),
    allowed=st.sets(st.sampled_from(CLIPS), min_size=1).map(lambda s: s | {"c4"}),
)
def test_a_choice_is_ordered_allowed_and_without_repeats(words, allowed):
    chosen = choose(CLIPS, ",".join(words), allowed)
    assert chosen == [clip for clip in CLIPS if clip in set(chosen)]
    assert set(chosen) <= allowed
    assert chosen


def test_words_mean_what_they_say():
    assert choose(CLIPS, "worst,median,best") == ["c0", "c4", "c8"]
    assert choose(CLIPS, "5") == ["c0", "c2", "c4", "c6", "c8"]
    assert choose(CLIPS, "1") == ["c0"]
    assert choose(CLIPS, "c7,c1") == ["c1", "c7"]
    assert choose(CLIPS, "none") == []
    assert choose(CLIPS, "all") == CLIPS
    assert choose(CLIPS, "worst,best", {"c2", "c3"}) == ["c2", "c3"]
    assert [describe_rank(c, CLIPS) for c in ("c0", "c1", "c4", "c8")] == [
        "hardest of 9",
        "2nd hardest of 9",
        "median of 9",
        "easiest of 9",
    ]


def test_a_wrong_or_forbidden_clip_is_named():
    with pytest.raises(UsageError, match=r"unknown clip 'wrost'.*Did you mean 'worst'"):
        choose(CLIPS, "wrost")
    with pytest.raises(UsageError, match=r"licence of clip 'c1'.*--private"):
        choose(CLIPS, "c1", {"c2"})


def test_public_videos_are_quoted_sparsely_or_not_at_all():
    for row in load_manifest("faceclips"):
        found = rights(f"videos/{row.file}")
        if row.licence in FREE:
            assert found.frames(32) == tuple(range(4, 10))  # six frames, the tenth is the last
        else:
            assert found.most == 0, row.licence
    assert len(rights("videos/0001_celebvtext_1.mp4").frames(32)) == 0


def test_weights_may_be_used_as_the_videos_they_were_trained_on():
    by_licence = {row.licence: row.file for row in load_manifest("faceclips")}

    def licence(*sources: str, kind: str = "faces") -> str:
        rows = pd.DataFrame(
            {"split": ["train"] * len(sources) + ["test"], "source": [*sources, ""]}
        )
        rows.loc[len(sources), "source"] = by_licence[
            "CC-BY-NC"
        ]  # of the test split: not trained on
        dataset = SimpleNamespace(meta=SimpleNamespace(kind=kind), index=rows)
        return training_licence(cast(Dataset, dataset), "MIT (code)")

    free, other = by_licence["MIT"], by_licence["CC-BY-NC"]
    assert licence("my.mp4", "other.mp4") == "as the videos it was trained on: the user's own"
    assert licence(free, "my.mp4") == "as the training videos (their licences: MIT)"
    assert licence(free, other).startswith("research use")
    assert "CC-BY-NC, MIT" in licence(free, other)
    assert licence(other, kind="demo") == "MIT (code)"


def test_own_videos_are_shown_whole_and_short_ones_too():
    assert rights("holiday.mp4").frames(32) == tuple(range(32))
    assert Rights(licence="MIT", most=QUOTED).frames(4) == (0, 1, 2, 3)


@given(low=st.floats(-1e4, 1e4), span=st.floats(1e-3, 1e4))
def test_ticks_are_few_even_and_inside(low, span):
    found = ticks(low, low + span)
    assert 1 <= len(found) <= 6
    assert all(low - span * 1e-6 <= t <= low + span * (1 + 1e-6) for t in found)
    if len(found) > 2:
        steps = np.diff(found)
        assert np.allclose(steps, steps[0], rtol=1e-6)


def test_a_range_has_air_and_survives_one_value_or_none():
    assert padded([2.0, 4.0])[0] < 2.0
    assert padded([3.0])[0] < 3.0 < padded([3.0])[1]
    assert padded([float("nan")]) == (0.0, 1.0)
