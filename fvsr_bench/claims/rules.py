"""What "reproduced" means for each kind of claim: the one place where a measurement is judged.

Positive differences point in the claimed direction. Intervals are 95 % bootstrap intervals over
clips, whole subjects resampled. Absolute values belong to the data they were measured on: on any
data but the paper's own they are neither reproduced nor contradicted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from fvsr_bench.claims.ledger import Claim, Kind, Mean, Paired
from fvsr_bench.statistics import Estimate


class Verdict(StrEnum):
    """What the stored records say about a claim."""

    REPRODUCED = "reproduced"
    CONTRADICTED = "contradicted"
    NOT_RESOLVED = "not resolved by this data"
    OTHER_DATA = "not comparable: other data"
    NOT_TESTED = "not tested here"


@dataclass(frozen=True, kw_only=True)
class Item:
    """One estimate that a claim rests on."""

    label: str  # e.g. "FAPN - SOF-VSR"
    estimate: Estimate
    strict: Estimate  # the same at 1 - 5 % / number of items: for "any of them is the other way"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was looked up in the records for one claim."""

    items: tuple[Item, ...] = ()
    missing: tuple[str, ...] = ()  # methods without numbers, each with the reason
    runs: tuple[str, ...] = field(default=())  # run ids of the records

    @property
    def weakest(self) -> Item | None:
        """The item whose lower bound is lowest."""
        return min(self.items, key=lambda item: item.estimate.low, default=None)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How a kind of claim is judged, in words and in code."""

    words: str
    judge: Callable[[Claim, Evidence, bool], Verdict]  # (claim, evidence, the paper's own data?)


def judge_measured(claim: Claim, evidence: Evidence, same_data: bool) -> Verdict:
    """Judge one claim by its evidence."""
    if not evidence.items:
        return Verdict.NOT_TESTED
    if not all(item.estimate.conclusive for item in evidence.items):  # too few subjects
        absolute = claim.kind in ("cell", "level") and not same_data
        return Verdict.OTHER_DATA if absolute else Verdict.NOT_RESOLVED
    return RULES[claim.kind].judge(claim, evidence, same_data)


def _cell(claim: Claim, evidence: Evidence, same_data: bool) -> Verdict:
    if not same_data:
        return Verdict.OTHER_DATA
    e, printed, half = evidence.items[0].estimate, float(claim.value), half_unit(claim)
    inside = e.low - half <= printed <= e.high + half
    return Verdict.REPRODUCED if inside else Verdict.CONTRADICTED


def _level(claim: Claim, evidence: Evidence, same_data: bool) -> Verdict:
    if not same_data:
        return Verdict.OTHER_DATA
    e, value = evidence.items[0].estimate, float(claim.value)
    spread = float(claim.measured.within or 0) if isinstance(claim.measured, Mean) else 0.0
    above = isinstance(claim.measured, Mean) and claim.measured.above
    low, high = (value, float("inf")) if above else (value - spread, value + spread)
    if low <= e.low and e.high <= high:
        return Verdict.REPRODUCED
    return Verdict.CONTRADICTED if e.high < low or e.low > high else Verdict.NOT_RESOLVED


def _ranking(claim: Claim, evidence: Evidence, same_data: bool) -> Verdict:
    if any(item.strict.high < 0 for item in evidence.items):
        return Verdict.CONTRADICTED
    if evidence.missing:
        return Verdict.NOT_TESTED
    if all(item.estimate.low > 0 for item in evidence.items):
        return Verdict.REPRODUCED
    return Verdict.NOT_RESOLVED


def _difference(claim: Claim, evidence: Evidence, same_data: bool) -> Verdict:
    e, claimed, half = evidence.items[0].estimate, float(claim.value), half_unit(claim)
    if claimed == 0:  # "the same": equivalence within one unit of the last printed digit
        inside = -2 * half <= e.low and e.high <= 2 * half
        apart = e.low > 2 * half or e.high < -2 * half
        if inside or apart:
            return Verdict.REPRODUCED if inside else Verdict.CONTRADICTED
        return Verdict.NOT_RESOLVED
    if e.high < 0:
        return Verdict.CONTRADICTED
    at_least = isinstance(claim.measured, Paired) and claim.measured.at_least
    reaches = claimed <= e.high + half and (at_least or e.low - half <= claimed)
    if e.low > 0 and reaches:
        return Verdict.REPRODUCED
    if same_data and not reaches:
        return Verdict.CONTRADICTED
    return Verdict.NOT_RESOLVED


def _arithmetic(claim: Claim, evidence: Evidence, same_data: bool) -> Verdict:
    return Verdict.NOT_TESTED


def half_unit(claim: Claim) -> float:
    """Return half of the last printed digit: what rounding may have hidden."""
    return 0.5 * 10.0**-claim.decimals


RULES: Mapping[Kind, Rule] = {
    "cell": Rule(
        words="reproduced when the interval of our mean holds the printed number (give or take "
        "its rounding), contradicted when it does not; on other data than the paper's: not "
        "comparable.",
        judge=_cell,
    ),
    "level": Rule(
        words="reproduced when the whole interval satisfies the statement, contradicted when none "
        "of it does; on other data than the paper's: not comparable.",
        judge=_level,
    ),
    "ranking": Rule(
        words="reproduced when the paired interval of every pair excludes zero in the claimed "
        "direction; contradicted when that of any pair excludes it in the other direction at 5 % "
        "divided by the number of pairs.",
        judge=_ranking,
    ),
    "difference": Rule(
        words="reproduced when the paired interval excludes zero in the claimed direction and "
        "holds the printed amount (or lies above it, for 'over'); contradicted when it excludes "
        "zero in the other direction, or, on the paper's data only, excludes the amount; on other "
        "data a right direction with another amount is not resolved. 'The same' is reproduced "
        "when the interval lies within one unit of the last printed digit.",
        judge=_difference,
    ),
    "arithmetic": Rule(
        words="a statement about the paper's own numbers: there is nothing to measure.",
        judge=_arithmetic,
    ),
}
