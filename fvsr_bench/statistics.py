"""What a mean over clips is worth: bootstrap intervals, paired tests, effects, sample sizes."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
FEWEST = 6  # subjects, or clips: of 5 that agree by chance in sign there are 2 / 2^5 = 6 %
BLOCK = 1_000  # of them drawn at once, so that many clips do not need much memory
SEED = 20220521  # any fixed number: the same records always give the same interval


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over clips with its 95 % bootstrap interval.

    NaN where there are no values, and as the interval of a single subject, which says nothing of
    others.
    """

    mean: float
    low: float
    high: float
    clips: int
    subjects: int | None = None  # that were resampled; None = not by resampling

    @property
    def half_width(self) -> float:
        """Half the interval's length: the number behind the ± of a table."""
        return (self.high - self.low) / 2

    @property
    def bounded(self) -> bool:
        """Whether there is an interval."""
        return math.isfinite(self.low)

    @property
    def conclusive(self) -> bool:
        """Whether the interval may decide anything: that of few subjects is only their range."""
        return self.bounded and (self.subjects is None or self.subjects >= FEWEST)

    @property
    def excludes_zero(self) -> bool:
        """True when the whole interval lies on one side of zero, and is not that of a few."""
        return self.conclusive and (self.low > 0 or self.high < 0)


def resample_counts(clusters: Sequence[str], *, seed: int = SEED) -> Iterator[np.ndarray]:
    """Draw how often each clip occurs in each of RESAMPLES resamples: blocks [BLOCK, clips].

    Whole clusters are drawn with replacement (a cluster is a subject; every clip its own cluster
    gives the ordinary bootstrap), because clips of one face are not independent.
    """
    names, member = np.unique(np.asarray(clusters), return_inverse=True)
    rng, count = np.random.default_rng(seed), len(names)
    for _ in range(RESAMPLES // BLOCK):
        draws = rng.integers(0, count, (BLOCK, count)) + count * np.arange(BLOCK)[:, None]
        drawn = np.bincount(draws.ravel(), minlength=BLOCK * count).reshape(BLOCK, count)
        yield drawn[:, member].astype(np.float64)  # products of floats are fast


def bootstrap_mean(
    values: np.ndarray,
    clusters: Sequence[str] | None = None,
    *,
    level: float = 0.95,
    seed: int = SEED,
) -> Estimate:
    """Estimate the mean of one value per clip with its percentile bootstrap interval.

    `values` is [clips]; NaN marks a clip without a value. `clusters` names the subject of each
    clip; None resamples clips. `level` is the interval's coverage.
    """
    values = np.asarray(values, dtype=np.float64)
    return bootstrap_ratio(values, np.ones_like(values), clusters, level=level, seed=seed)


def bootstrap_ratio(
    top: np.ndarray,
    bottom: np.ndarray,
    clusters: Sequence[str] | None = None,
    *,
    level: float = 0.95,
    seed: int = SEED,
) -> Estimate:
    """Estimate mean(top) / mean(bottom) over the clips that have both, with its interval."""
    top, bottom = np.asarray(top, dtype=np.float64), np.asarray(bottom, dtype=np.float64)
    keep = np.isfinite(top) & np.isfinite(bottom)
    clips = int(keep.sum())
    if clips == 0:
        return Estimate(mean=np.nan, low=np.nan, high=np.nan, clips=0)
    names = [str(i) for i in range(len(top))] if clusters is None else list(clusters)
    names = [name for name, kept in zip(names, keep, strict=True) if kept]
    top, bottom = top[keep], bottom[keep]
    ratios = np.concatenate([(n @ top) / (n @ bottom) for n in resample_counts(names, seed=seed)])
    tail = 50 * (1 - level)
    subjects = len(set(names))
    low, high = np.percentile(ratios, [tail, 100 - tail]) if subjects > 1 else [np.nan] * 2
    mean = float(top.mean() / bottom.mean())
    return Estimate(mean=mean, low=float(low), high=float(high), clips=clips, subjects=subjects)


def paired_difference(
    a: np.ndarray,
    b: np.ndarray,
    clusters: Sequence[str] | None = None,
    *,
    level: float = 0.95,
    seed: int = SEED,
) -> Estimate:
    """Estimate mean(a - b) over the clips that both have, with its bootstrap interval.

    Clips differ by several dB among themselves; pairing takes that out, which is why a difference
    of a tenth of a dB can be resolved with 45 clips.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"paired values must have one shape, not {a.shape} and {b.shape}")
    return bootstrap_mean(a - b, clusters, level=level, seed=seed)


def wilcoxon(differences: np.ndarray) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test; 1 if no difference is not zero.

    Exact up to 50 differences without ties, else the normal approximation (scipy's choice).
    """
    from scipy import stats  # takes half a second to import, and tables do not need it

    d = _finite(differences)
    if not d.any():
        return 1.0
    return float(stats.wilcoxon(d).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for being several (Holm 1979): the chance of any false one stays at alpha.

    The k-th smallest of m is multiplied by m - k + 1, and none may fall below the one before it.
    """
    order = np.argsort(np.asarray(p_values, dtype=np.float64), kind="stable")
    corrected, floor = [0.0] * len(order), 0.0
    for rank, index in enumerate(order):
        floor = max(floor, (len(order) - rank) * float(p_values[index]))
        corrected[index] = min(1.0, floor)
    return corrected


def cohen_dz(differences: np.ndarray) -> float:
    """Return mean / standard deviation of paired differences (Cohen's d_z); NaN below 2 clips."""
    d = _finite(differences)
    if len(d) < 2:
        return math.nan
    deviation = float(d.std(ddof=1))
    if deviation <= 1e-12 * abs(float(d.mean())):  # equal but for rounding
        return math.copysign(math.inf, d.mean()) if d.any() else 0.0
    return float(d.mean()) / deviation


def rank_biserial(differences: np.ndarray) -> float:
    """Return the matched-pairs rank-biserial correlation: (W+ - W-) / (W+ + W-), in -1..1.

    W+ and W- are the rank sums of Wilcoxon's test: +1 when every clip favours the first.
    """
    from scipy import stats

    d = _finite(differences)
    d = d[d != 0]
    if not len(d):
        return 0.0
    ranks = stats.rankdata(np.abs(d))
    return float((ranks[d > 0].sum() - ranks[d < 0].sum()) / ranks.sum())


def clips_needed(margin: float, deviation: float, *, power: float = 0.8) -> int:
    """Return the clips with which a paired t-test (two-sided 5 %) finds `margin` with `power`.

    `deviation` is the standard deviation of the paired differences. Noncentral t, as G*Power; at
    least 2.
    """
    from scipy import stats

    if margin == 0 or not (math.isfinite(margin) and math.isfinite(deviation)):
        raise ValueError("a margin and a deviation that are numbers, and a margin that is not 0")
    effect = abs(margin) / deviation if deviation > 0 else math.inf

    def enough(n: int) -> bool:
        limit = stats.t.ppf(0.975, n - 1)
        return bool(stats.nct.sf(limit, n - 1, effect * math.sqrt(n)) >= power)

    if effect > 20:  # 2 clips do: nct is of no use there
        return 2
    high = 2
    while not enough(high) and high < 10**8:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return max(2, high)


def design_effect(differences: np.ndarray, clusters: Sequence[str]) -> float:
    """Return by how much subjects with several clips widen the mean's variance; 1 = not at all.

    Variance of the mean by clusters over its variance by clips (Kish); the former is that of the
    ratio estimator, sum over subjects of (sum of residuals)^2 with Bessel's correction.
    """
    d = np.asarray(differences, dtype=np.float64)
    keep = np.isfinite(d)
    _, member = np.unique(np.asarray(clusters)[keep], return_inverse=True)
    residual = d[keep] - d[keep].mean()
    groups = int(member.max()) + 1 if len(member) else 0
    naive = len(residual) / max(1, len(residual) - 1) * float((residual**2).sum())
    if groups < 2 or naive == 0:
        return 1.0
    sums = np.bincount(member, weights=residual)
    return groups / (groups - 1) * float((sums**2).sum()) / naive


def _finite(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    return values[np.isfinite(values)]
