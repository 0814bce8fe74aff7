"""Paired tests, effect sizes and sample sizes against formulas, scipy and published tables."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fvsr_bench.statistics import (
    bootstrap_mean,
    bootstrap_ratio,
    clips_needed,
    cohen_dz,
    design_effect,
    holm,
    rank_biserial,
    wilcoxon,
)


def test_interval_is_that_of_scipys_percentile_bootstrap():
    x = np.random.default_rng(1).gamma(2.0, 1.0, 40)
    ours = bootstrap_mean(x)
    theirs = stats.bootstrap(
        (x,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert ours.low == pytest.approx(theirs.low, abs=0.02)
    assert ours.high == pytest.approx(theirs.high, abs=0.02)


def test_a_stricter_level_gives_a_wider_interval():
    x = np.random.default_rng(1).normal(0, 1, 30)
    wide, narrow = bootstrap_mean(x, level=0.999), bootstrap_mean(x)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_intervals_of_clustered_clips_cover_only_when_subjects_are_resampled():
    """12 subjects of 4 clips: half of the variance is between subjects (100 simulated sets)."""
    rng = np.random.default_rng(4)
    people = np.repeat([f"s{k}" for k in range(12)], 4).tolist()
    hits = {"subjects": 0, "clips": 0}
    for _ in range(100):
        x = np.repeat(rng.normal(0, 1, 12), 4) + rng.normal(0, 1, 48)
        for name, clusters in (("subjects", people), ("clips", None)):
            e = bootstrap_mean(x, clusters)
            hits[name] += e.low <= 0 <= e.high
    assert 84 <= hits["subjects"] <= 99
    assert hits["clips"] < hits["subjects"] - 5


def test_ratio_is_the_relative_difference_and_has_its_interval():
    rng = np.random.default_rng(0)
    worse = rng.normal(0.2, 0.02, 45)
    better = worse * 0.98
    e = bootstrap_ratio(100 * (worse - better), worse)
    assert (e.mean, e.low, e.high) == pytest.approx((2.0, 2.0, 2.0))


def test_wilcoxon_of_six_wins_is_two_in_sixty_four():
    assert wilcoxon(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])) == pytest.approx(2 / 2**6)
    assert wilcoxon(np.array([0.1, np.nan, 0.2, 0.3, 0.4, 0.5])) == pytest.approx(2 / 2**5)
    assert wilcoxon(np.zeros(5)) == 1


def test_holm_by_hand():
    # sorted .005 .01 .03 .04 -> x4 .02, x3 .03, x2 .06, x1 .04 -> kept from falling: .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(p):
    corrected = holm(p)
    for raw, ours in zip(p, corrected, strict=True):
        assert raw <= ours <= min(1.0, max(len(p) * q for q in p if q <= raw)) + 1e-12
    order = np.argsort(p, kind="stable")
    assert np.all(np.diff(np.array(corrected)[order]) >= 0)


def test_effect_sizes_by_hand():
    d = np.array([1.0, 2.0, -0.5, 3.0])
    assert cohen_dz(d) == pytest.approx(1.375 / np.std(d, ddof=1))
    assert rank_biserial(d) == pytest.approx((2 + 3 + 4 - 1) / 10)  # ranks of |d|: 2 3 1 4
    assert rank_biserial(-d) == pytest.approx(-rank_biserial(d))
    assert (cohen_dz(np.zeros(3)), rank_biserial(np.zeros(3))) == (0, 0)
    assert cohen_dz(np.full(3, 0.2)) == math.inf


@pytest.mark.parametrize(("dz", "clips"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_clips_needed_is_gpowers_table(dz, clips):
    """Paired t-test, two-sided 5 %, power 80 %: the values G*Power prints for Cohen's d_z."""
    assert clips_needed(dz, 1.0) == clips
    assert clips_needed(-dz * 3.7, 3.7) == clips


def test_clips_needed_gives_the_power_it_promises():
    rng = np.random.default_rng(11)
    n = clips_needed(0.31, 0.6)
    p = stats.ttest_1samp(rng.normal(0.31, 0.6, (2000, n)), 0, axis=1).pvalue
    assert (p < 0.05).mean() == pytest.approx(0.8, abs=0.03)


def test_a_margin_of_nothing_cannot_be_planned_for():
    with pytest.raises(ValueError, match="not 0"):
        clips_needed(0.0, 1.0)
    assert clips_needed(1.0, 0.0) == 2


def test_design_effect_of_copies_and_of_strangers():
    d = np.random.default_rng(0).normal(0, 1, 30)
    assert design_effect(d, [str(k) for k in range(30)]) == pytest.approx(1)
    copies = design_effect(np.repeat(d, 3), np.repeat(np.arange(30).astype(str), 3).tolist())
    assert copies == pytest.approx(3, rel=0.03)  # three copies of a clip are one clip
