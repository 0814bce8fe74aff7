"""Which clips a page shows: the hardest, the middle, the easiest, some between, or named ones."""

from collections.abc import Collection

from fvsr_bench.errors import UsageError, did_you_mean
from fvsr_bench.records import clip_values
from fvsr_bench.report.results import Results
from fvsr_bench.spec import EvalProtocol

DEFAULT = "worst,median,best"


def ranking(results: Results, protocol: EvalProtocol) -> list[str]:
    """Order the clips by PSNR averaged over all measured methods, worst first."""
    if results.records.empty:
        return []
    mean = clip_values(results.records, "psnr", protocol).mean(axis=1)
    return [str(clip) for clip in mean.sort_values(kind="stable").index]


def choose(ranked: list[str], words: str, allowed: Collection[str] | None = None) -> list[str]:
    """Turn `worst,median,best,N` (or clip names, all, none) into clips, worst first.

    N is a number of clips spread evenly over the ranking. `allowed` limits the choice. Raises
    UsageError for an unknown word or a clip that may not be shown.
    """
    able = [clip for clip in ranked if allowed is None or clip in allowed]
    found: set[str] = set()
    for word in (word.strip() for word in words.split(",")):
        found |= set(_clips(word, ranked, able))
    return [clip for clip in ranked if clip in found]


def _clips(word: str, ranked: list[str], able: list[str]) -> list[str]:
    if word in ("", "none") or (not able and word in ("worst", "median", "best", "all")):
        return []
    places = {"worst": 0, "median": (len(able) - 1) // 2, "best": len(able) - 1}
    if word in places:
        return [able[places[word]]]
    if word == "all":
        return able
    if word.isdecimal():
        count = min(int(word), len(able))
        return [able[round(i * (len(able) - 1) / max(1, count - 1))] for i in range(count)]
    if word in able:
        return [word]
    if word in ranked:
        raise UsageError(
            f"--clips: the licence of clip '{word}' does not allow showing it; to look at it "
            "yourself: --private"
        )
    hint = did_you_mean(word, ["worst", "median", "best", "all", "none", *ranked])
    raise UsageError(f"--clips: unknown clip '{word}'; expected worst, median, best, N.{hint}")


def describe_rank(clip: str, ranked: list[str]) -> str:
    """Say where a clip stands: "hardest of 45", "12th hardest of 45", "easiest of 45"."""
    place, count = ranked.index(clip) + 1, len(ranked)
    if place == 1:
        return f"hardest of {count}"
    if place == count:
        return f"easiest of {count}"
    if place == (count + 1) // 2:
        return f"median of {count}"
    ending = "th" if place % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(place % 10)
    return f"{place}{ending or 'th'} hardest of {count}"
