"""Law: splits are disjoint by subject, as large as asked for when possible, and never move."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fvsr_bench.data.splits import assign
from fvsr_bench.errors import DataError

subjects = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=4), st.integers(1, 7), min_size=1, max_size=25
)
wanted = st.tuples(st.integers(1, 30), st.integers(0, 5), st.integers(1, 9))


def material(sizes):
    return {name: [f"{name}_{i}" for i in range(n)] for name, n in sizes.items()}


def sizes_of(splits):
    return tuple(sum(s == split for s in splits.values()) for split in ("train", "val", "test"))


@given(subjects, wanted, st.integers(0, 9))
def test_no_subject_is_in_two_splits(sizes, counts, seed):
    splits = assign(material(sizes), counts, seed, "subject")
    homes = {}
    for clip, split in splits.items():
        homes.setdefault(clip.rsplit("_", 1)[0], set()).add(split)
    assert all(len(home) == 1 for home in homes.values())
    assert splits
    assert all(made <= most for made, most in zip(sizes_of(splits), counts, strict=True)) or (
        len(homes) == 1
    )


@given(subjects, wanted, st.integers(0, 9))
def test_the_order_of_the_videos_does_not_matter(sizes, counts, seed):
    backwards = dict(reversed(list(material(sizes).items())))
    assert assign(material(sizes), counts, seed, "subject") == assign(
        backwards, counts, seed, "subject"
    )


@given(st.integers(60, 120), st.integers(0, 5))
def test_enough_material_gives_the_counts(people, seed):
    splits = assign(material({f"p{i}": 4 for i in range(people)}), (100, 8, 20), seed, "subject")
    assert sizes_of(splits) == (100, 8, 20)
    tested = [clip for clip, split in splits.items() if split == "test"]
    assert len({clip.rsplit("_", 1)[0] for clip in tested}) == 20  # one clip each: all different


@given(st.integers(3, 39))
def test_less_material_keeps_the_proportions(people):
    splits = assign({f"p{i}": [f"p{i}"] for i in range(people)}, (340, 15, 45), 0, "subject")
    train, val, test = sizes_of(splits)
    assert train + val + test == people
    assert abs(train - people * 0.85) <= 2
    assert val >= 1
    assert test >= 1


def test_by_sequence_one_subject_is_divided():
    clips = {"p": [f"p_{i}" for i in range(40)]}
    assert sizes_of(assign(clips, (34, 2, 4), 0, "sequence")) == (34, 2, 4)
    assert assign(clips, (34, 2, 4), 0, "sequence") != assign(clips, (34, 2, 4), 1, "sequence")


def test_one_subject_goes_to_test_as_a_whole():
    assert sizes_of(assign({"p": ["a", "b"]}, (340, 15, 45), 0, "subject")) == (0, 0, 2)


def test_no_clips_is_an_error():
    with pytest.raises(DataError, match="no clips"):
        assign({"p": []}, (340, 15, 45), 0, "subject")
