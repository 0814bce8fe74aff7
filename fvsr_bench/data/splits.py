"""Divides clips into train, val and test: by subject (no one in two splits) or at random."""

import hashlib
from collections.abc import Mapping, Sequence

from fvsr_bench.errors import DataError

PAPER_COUNTS = (340, 15, 45)  # clips for train, val, test: the paper's Table 1
_ORDER = ("test", "val", "train")  # the order in which splits are filled


def assign(
    clips: Mapping[str, Sequence[str]], counts: tuple[int, int, int], seed: int, by: str
) -> dict[str, str]:
    """Return clip -> split for as many clips as `counts` = (train, val, test) ask for.

    `clips` maps subject -> its clips in order. By "subject", the subjects are ordered by a hash of
    (seed, subject) and fill test, then val, then train; test and val take as few clips per subject
    as the material allows, so that they show as many people as possible. By "sequence", single
    clips are dealt out and people may appear in two splits. With less material than asked for, the
    proportions are kept; a single subject goes to test, two make test and train. Clips that are not
    needed have no entry. Raises DataError without clips.
    """
    groups = dict(clips) if by == "subject" else {c: [c] for own in clips.values() for c in own}
    groups = {name: own for name, own in groups.items() if own}
    if not groups:
        raise DataError("there are no clips to divide into splits.")
    order = sorted(groups, key=lambda name: _rank(seed, name))
    if len(order) == 1:  # one subject cannot be divided
        return dict.fromkeys(groups[order[0]][: sum(counts)], "test")
    if len(order) == 2:
        counts = (counts[0], 0, counts[2])
    available = sum(len(own) for own in groups.values())
    for total in range(min(sum(counts), available), 0, -1):
        wanted = _scale(counts, total)
        for cap in range(1, max(len(own) for own in groups.values()) + 1):
            splits = _fill(groups, order, wanted, cap)
            if splits is not None:
                return splits
    raise DataError("the clips cannot be divided; give larger --counts.")


def _rank(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()


def _scale(counts: tuple[int, int, int], total: int) -> dict[str, int]:
    """Share out `total` in the proportions of `counts`, by largest remainder; no split is empty
    that was asked for while there are clips for it."""
    names = ("train", "val", "test")
    exact = [total * count / sum(counts) for count in counts]
    share = [int(value) for value in exact]
    by_rest = sorted(range(3), key=lambda i: (share[i] - exact[i], i))
    for i in by_rest[: total - sum(share)]:
        share[i] += 1
    for i in (2, 1):
        if counts[i] and not share[i] and share[0] > 1:
            share[i], share[0] = 1, share[0] - 1
    return dict(zip(names, share, strict=True))


def _fill(
    groups: Mapping[str, Sequence[str]], order: Sequence[str], wanted: Mapping[str, int], cap: int
) -> dict[str, str] | None:
    """Fill the splits with whole subjects in order; None if they do not suffice."""
    splits: dict[str, str] = {}
    waiting = iter(order)
    for split in _ORDER:
        need = wanted[split]
        while need > 0:
            name = next(waiting, None)
            if name is None:
                return None
            most = len(groups[name]) if split == "train" else cap
            taken = groups[name][: min(need, most)]
            splits.update(dict.fromkeys(taken, split))
            need -= len(taken)
    return splits
