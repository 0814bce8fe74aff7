"""Laws of the bootstrap: what an interval must do whatever the numbers are."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fvsr_bench.statistics import bootstrap_mean, paired_difference

values = st.lists(st.floats(-50, 50), min_size=2, max_size=30).map(np.array)


@settings(max_examples=20, deadline=None)
@given(values, st.floats(-100, 100))
def test_shifting_all_clips_shifts_the_interval(x, shift):
    a, b = bootstrap_mean(x), bootstrap_mean(x + shift)
    moved = (a.mean + shift, a.low + shift, a.high + shift)
    np.testing.assert_allclose((b.mean, b.low, b.high), moved, atol=1e-9)
    assert a.low - 1e-9 <= a.mean <= a.high + 1e-9


@settings(max_examples=20, deadline=None)
@given(values, st.integers(2, 4))
def test_copies_of_a_clip_in_one_cluster_add_no_certainty(x, copies):
    names = [str(i) for i in range(len(x))]
    alone = bootstrap_mean(x, names)
    repeated = bootstrap_mean(np.tile(x, copies), names * copies)
    np.testing.assert_allclose((alone.low, alone.high), (repeated.low, repeated.high), atol=1e-9)


def test_width_is_that_of_the_normal_approximation_for_many_clips():
    x = np.random.default_rng(7).normal(30, 2.8, 400)
    estimate = bootstrap_mean(x)
    assert estimate.half_width == pytest.approx(1.96 * x.std() / math.sqrt(400), rel=0.05)


def test_the_interval_covers_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(3)
    hits = sum(
        e.low <= 0 <= e.high for e in (bootstrap_mean(rng.normal(0, 1, 45)) for _ in range(100))
    )
    assert 88 <= hits <= 99


def test_pairing_takes_out_what_clips_have_in_common():
    rng = np.random.default_rng(5)
    hard = rng.normal(30, 2.8, 45)  # dB; clips differ a lot
    better = hard + 0.3 + rng.normal(0, 0.3, 45)
    assert paired_difference(better, hard).excludes_zero
    assert bootstrap_mean(better).low < bootstrap_mean(hard).high  # unpaired: they overlap


def test_clips_without_a_value_are_left_out_and_counted():
    estimate = bootstrap_mean(np.array([1.0, np.nan, 3.0]), ["a", "a", "b"])
    assert (estimate.mean, estimate.clips) == (2.0, 2)
    empty = bootstrap_mean(np.array([np.nan]))
    assert empty.clips == 0
    assert math.isnan(empty.mean)


def test_one_subject_has_no_interval_and_resolves_nothing():
    for clips in (1, 5):
        estimate = bootstrap_mean(np.arange(1.0, clips + 1), ["a"] * clips)
        assert estimate.mean == (clips + 1) / 2
        assert math.isnan(estimate.low)
        assert math.isnan(estimate.half_width)
        assert not estimate.excludes_zero
        assert not estimate.bounded


def test_few_subjects_have_an_interval_that_decides_nothing():
    """Of 5 subjects that agree by chance, the interval excludes zero 2 times in 32."""
    for subjects, decides in ((2, False), (5, False), (6, True)):
        names = [str(k) for k in range(subjects) for _ in range(3)]
        estimate = bootstrap_mean(np.arange(1.0, len(names) + 1), names)
        assert estimate.bounded
        assert estimate.low > 0
        assert estimate.subjects == subjects
        assert estimate.excludes_zero is decides


def test_a_method_does_not_differ_from_itself():
    x = np.array([1.0, 2.0, 4.0])
    none = paired_difference(x, x)
    assert (none.mean, none.low, none.high) == (0, 0, 0)
    assert not none.excludes_zero


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        paired_difference(np.zeros(3), np.zeros(4))
