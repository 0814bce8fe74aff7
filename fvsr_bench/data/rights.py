"""What may be shown of a clip: frames of public videos are quoted sparsely, or not at all."""

import functools
from dataclasses import dataclass
from pathlib import PurePosixPath

from fvsr_bench.data.sources import SOURCES, load_manifest
from fvsr_bench.data.store import Dataset

FREE = ("MIT", "Apache-2.0", "BSD", "CC0/Unlicense")
QUOTED = 6  # frames: as many as the paper prints of a clip in its Figures 1 and 7
LAST = 10  # the quoted frames end with the tenth: the one that the paper's Figure 6 shows


@dataclass(frozen=True, kw_only=True)
class Rights:
    """How much of a clip a page may show."""

    licence: str = (
        ""  # of the repository that the video comes from; "" = not a public video of ours
    )
    most: int | None = None  # frames; None = all
    private: bool = False  # the user looks at it alone, whatever the licence

    def frames(self, total: int) -> tuple[int, ...]:
        """Return the 0-based frames that may be shown: all, or a few consecutive ones."""
        if self.most is None:
            return tuple(range(total))
        last = min(LAST, total)
        return tuple(range(max(0, last - self.most), last))


@functools.cache
def _licences() -> dict[str, str]:
    return {row.file: row.licence for name in SOURCES for row in load_manifest(name)}


def rights(source: str) -> Rights:
    """Look up what may be shown of a clip by its video (`source` of index.csv).

    A video of the pinned public sets may be quoted with a few frames under a free licence and not
    at all under another. Anything else is the user's own, who decides.
    """
    licence = _licences().get(PurePosixPath(source.replace("\\", "/")).name)
    if licence is None:
        return Rights()
    return Rights(licence=licence, most=QUOTED if licence in FREE else 0)


def training_licence(dataset: Dataset, default: str) -> str:
    """Return what a network trained on a dataset's "train" split may be used for, for its card.

    `default` is that of the method's code, for data that are no videos (the demo set).
    """
    if dataset.meta.kind != "faces":
        return default
    rows = dataset.index[dataset.index["split"] == "train"]
    known = {rights(source).licence for source in rows["source"].astype(str)} - {""}
    named = f"their licences: {', '.join(sorted(known))}"
    if known - set(FREE):
        return f"research use: some of the training videos allow no other ({named})"
    if known:
        return f"as the training videos ({named})"
    return "as the videos it was trained on: the user's own"
